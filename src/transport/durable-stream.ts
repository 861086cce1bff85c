import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type CloseReason, type ControlMessage, eventText } from '../event.ts'
import { CLOSES } from '../hub/connection.ts'
import type { Registration } from '../hub/hub.ts'
import type { Codec, Sink } from '../hub/sink.ts'
import { destroyLater } from './socket.ts'
import { beginEventStream, HEARTBEAT } from './sse.ts'
import type { StreamCursor } from './stream-cursor.ts'
import { formatOffset } from './stream-offset.ts'

/**
 * The live reads of the Durable Streams protocol, version 1.0 (github.com/durable-streams, PROTOCOL.md §5.6 and §5.7).
 *
 * The codec's frames are not sent as they are: a control message with the next offset must follow each message with data, and
 * only the connection knows whether more data follows. So a frame has the cursor of its last event on the first line, then
 * the events as JSON, separated by commas.
 */
const durableCodec: Codec = {
  encode(ids, bodies) {
    const texts = bodies.map((body, i) => eventText(ids[i] ?? '', body))
    return `${ids.at(-1)}\n${texts.join(',')}`
  },
}

/** Events that a reader has not received yet, and its position after them. */
interface Given {
  /** JSON objects separated by commas; empty if there are none. */
  readonly events: string
  /** Undefined until the stream has begun. */
  readonly cursor: string | undefined
}

/**
 * Collects what the hub writes in one turn of the event loop, for example a page of the log, and passes it on at its end. The
 * hub cuts pages into chunks; without this each chunk would become a message, or even a request, of its own.
 */
abstract class CollectingSink implements Sink {
  readonly transport = 'durable-stream'
  readonly codec = durableCodec
  #events: string[] = []
  #length = 0
  #cursor: string | undefined
  #flushing = false

  get collected(): number {
    return this.#length
  }

  abstract get unsent(): number
  abstract get sent(): number
  abstract heartbeat(): boolean
  abstract close(reason: CloseReason, retryMs: number): void
  abstract destroy(): void
  /** Called at the end of each turn in which something was written or the stream began. */
  protected abstract give(given: Given): void
  /** Called for a reset: events before the next position may be lost to the reader. */
  protected abstract lost(): void

  write(frames: string): void {
    const end = frames.indexOf('\n')
    this.#cursor = frames.slice(0, end)
    this.#events.push(frames.slice(end + 1))
    this.#length += Buffer.byteLength(frames)
    this.#flushSoon()
  }

  control(message: ControlMessage): void {
    if (message.type === 'stream.open') {
      this.#cursor = message.data.cursor
      this.#flushSoon()
    } else if (message.type === 'stream.reset') this.lost()
  }

  /** Returns and clears what was collected. */
  protected take(): Given {
    const given = { events: this.#events.join(','), cursor: this.#cursor }
    this.#events = []
    this.#length = 0
    return given
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      this.give(this.take())
    })
  }
}

/** Whether the client must not reconnect: else it would come back at once and replace the connection that replaced it. */
function isFinal(reason: CloseReason): boolean {
  return !CLOSES[reason].reconnect
}

/** How a wait for events ended. */
export type Waited =
  | {
      readonly outcome: 'events'
      readonly events: string
      readonly cursor: string
      readonly isUpToDate: boolean
    }
  | { readonly outcome: 'nothing'; readonly cursor: string | undefined; readonly isFinal: boolean }
  | { readonly outcome: 'lost' }

/**
 * A long poll (§5.6): waits for events after the registration's position, for one heartbeat at most. It counts as a connection
 * for limits, presence, the drain and the end of the token.
 */
export function waitForEvents(response: ServerResponse, registration: Registration): Promise<Waited> {
  return new Promise((resolve) => {
    const { connection } = registration
    // The server's timeout for idle connections would end the wait.
    response.socket?.setTimeout(0)
    const answer = (waited: Waited) => {
      connection.gone()
      resolve(waited)
    }
    const sink = new LongPollSink(answer, connection)
    response.once('close', () => sink.destroy())
    if (response.req.socket.destroyed) sink.destroy()
    else registration.begin(sink)
  })
}

class LongPollSink extends CollectingSink {
  readonly sent = 0
  readonly #answer: (waited: Waited) => void
  readonly #connection: Registration['connection']
  #cursor: string | undefined

  constructor(answer: (waited: Waited) => void, connection: Registration['connection']) {
    super()
    this.#answer = answer
    this.#connection = connection
  }

  get unsent(): number {
    return this.collected
  }

  /** Ends the wait after one heartbeat: `false` ends the connection. */
  heartbeat(): boolean {
    this.#nothing(false)
    return false
  }

  close(reason: CloseReason): void {
    this.#nothing(isFinal(reason))
  }

  destroy(): void {
    this.#nothing(false)
  }

  protected give({ events, cursor }: Given): void {
    this.#cursor = cursor
    if (events === '' || cursor === undefined) return
    this.#answer({ outcome: 'events', events, cursor, isUpToDate: !this.#connection.behind })
  }

  protected lost(): void {
    this.#answer({ outcome: 'lost' })
  }

  #nothing(isLast: boolean): void {
    this.#answer({ outcome: 'nothing', cursor: this.#cursor, isFinal: isLast })
  }
}

/** Begins Server-Sent Events as §5.7 has them: `data` with an array of events, and `control` with the next offset. */
export function beginDurableSse(
  response: ServerResponse,
  registration: Registration,
  headers: OutgoingHttpHeaders,
  streamCursor: StreamCursor,
): void {
  beginEventStream(response, registration, {
    headers: { 'Content-Type': 'text/event-stream', ...headers },
    first: '',
    sinkOn: (socket) => new DurableSseSink(socket, registration.connection, streamCursor),
  })
}

class DurableSseSink extends CollectingSink {
  readonly #socket: Socket
  readonly #connection: Registration['connection']
  readonly #streamCursor: StreamCursor

  constructor(socket: Socket, connection: Registration['connection'], streamCursor: StreamCursor) {
    super()
    this.#socket = socket
    this.#connection = connection
    this.#streamCursor = streamCursor
  }

  get unsent(): number {
    return this.#socket.writableLength + this.collected
  }

  get sent(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength
  }

  heartbeat(): boolean {
    this.#socket.write(HEARTBEAT)
    return true
  }

  close(reason: CloseReason): void {
    const given = this.take()
    const end = isFinal(reason) ? { streamClosed: true } : { streamCursor: this.#streamCursor.value }
    this.#socket.end(given.cursor === undefined ? '' : messages(given, end))
    destroyLater(this.#socket)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  protected give(given: Given): void {
    const { behind, isOpen } = this.#connection
    // Only the beginning of the stream: the data that follows brings its offset.
    if (!isOpen || (given.events === '' && behind)) return
    const upToDate = behind ? {} : { upToDate: true }
    this.#socket.write(messages(given, { streamCursor: this.#streamCursor.value, ...upToDate }))
  }

  /** The protocol has no message for a reset: the stream ends, the client reconnects with its offset, and gets 410. */
  protected lost(): void {
    // First, because the hub continues after a reset, and that must not be written after the end.
    this.#connection.gone()
    this.#socket.end()
    destroyLater(this.#socket)
  }
}

function messages({ events, cursor = '' }: Given, more: Record<string, unknown>): string {
  const data = events === '' ? '' : `event: data\ndata:[${events}]\n\n`
  const control = JSON.stringify({ streamNextOffset: formatOffset(cursor), ...more })
  return `${data}event: control\ndata:${control}\n\n`
}

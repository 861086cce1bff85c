import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type CloseReason, type ControlMessage, eventText, eventTypeOf } from '../event.ts'
import { CLOSES } from '../hub/connection.ts'
import type { Registration } from '../hub/hub.ts'
import type { Codec, Sink } from '../hub/sink.ts'
import { byteString, endSocket, writeBytes } from './socket.ts'

/** Frames of a Server-Sent Events stream (WHATWG HTML §9.2.5): `id`, `event` and one line of `data`. */
export const sseCodec: Codec = {
  encode(ids, bodies) {
    let frames = ''
    for (const [i, body] of bodies.entries()) {
      const id = ids[i] ?? ''
      frames += `id: ${id}\nevent: ${eventTypeOf(body)}\ndata: ${eventText(id, body)}\n\n`
    }
    return byteString(frames)
  },
}

/**
 * A control message as a frame. `stream.open` and `stream.reset` carry their cursor as `id`, so that an EventSource resumes
 * there. `stream.read` does not: its cursor is another position.
 */
export function sseControl(message: ControlMessage): string {
  const isPlace = message.type === 'stream.open' || message.type === 'stream.reset'
  const id = isPlace ? `id: ${message.data.cursor}\n` : ''
  return `${id}event: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`
}

/** How long an EventSource waits before it reconnects, ms. */
const RETRY_MS = 2000

export const HEARTBEAT = Buffer.from(':\n\n')

/** Begins the stream of `GET /events`. */
export function beginSse(
  response: ServerResponse,
  registration: Registration,
  headers: OutgoingHttpHeaders,
): void {
  beginEventStream(response, registration, {
    headers: { 'Content-Type': 'text/event-stream; charset=utf-8', ...headers },
    first: `retry: ${RETRY_MS}\n\n`,
    sinkOn: (socket) => new SseSink(socket),
  })
}

/**
 * Begins an event stream on a response that nothing was written to yet.
 *
 * After the headers, frames are written straight to the socket: one shared string each, without chunked encoding. So the end
 * of the connection ends the body (RFC 9112 §6.3), and we handle back-pressure and the end.
 *
 * @param options.first what goes out before the first message
 */
export function beginEventStream(
  response: ServerResponse,
  registration: Registration,
  { headers, first, sinkOn }: EventStream,
): void {
  const { socket } = response
  if (socket === null || socket.destroyed) {
    registration.connection.gone()
    return
  }
  response.useChunkedEncodingByDefault = false
  response.shouldKeepAlive = false
  // Headers and first messages in one packet: three writes were a tenth of the cost of a connection.
  socket.cork()
  response.writeHead(200, {
    'Cache-Control': 'no-cache, no-transform',
    // nginx buffers a response unless it is told not to.
    'X-Accel-Buffering': 'no',
    'X-Content-Type-Options': 'nosniff',
    // The URL may hold a token.
    'Referrer-Policy': 'no-referrer',
    // Last: for fields after a spread V8 makes new hidden classes each time, for 6 µs.
    ...headers,
  })
  response.flushHeaders()
  // The timeout for idle connections must not end a quiet stream.
  socket.setTimeout(0)
  if (first !== '') socket.write(first)
  listen(socket, registration)
  registration.begin(sinkOn(socket))
  socket.uncork()
  // An unread request body would stop reading from the socket, and its end would not be noticed.
  if (!response.req.complete) response.req.resume()
  forget(response.req)
}

interface EventStream {
  readonly headers: OutgoingHttpHeaders
  readonly first: string
  readonly sinkOn: (socket: Socket) => Sink
}

/** A function of its own: listeners keep all variables around them in memory while the stream lasts. */
function listen(socket: Socket, { connection, drained }: Registration): void {
  socket.on('close', () => connection.gone())
  socket.on('drain', drained)
}

const NO_HEADERS = Object.freeze({})

/** Drops the request, which Node keeps until its connection ends: it may have a token in its URL, and takes memory. */
function forget(request: IncomingMessage): void {
  request.url = ''
  request.headers = NO_HEADERS
  request.rawHeaders = []
}

class SseSink implements Sink {
  readonly transport = 'sse'
  readonly codec = sseCodec
  readonly #socket: Socket

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get unsent(): number {
    return this.#socket.writableLength
  }

  get sent(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength
  }

  write(frames: string): void {
    writeBytes(this.#socket, frames)
  }

  control(message: ControlMessage): void {
    this.#socket.write(sseControl(message))
  }

  heartbeat(): boolean {
    this.#socket.write(HEARTBEAT)
    return true
  }

  close(reason: CloseReason, retryMs: number): void {
    const { reconnect } = CLOSES[reason]
    const message = sseControl({ type: 'stream.close', data: { reason, reconnect, retry_ms: retryMs } })
    // EventSource cannot be told to stay away, only to wait: a day, so that a replaced tab does not replace its successor.
    endSocket(this.#socket, `retry: ${retryMs}\n${message}`)
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import { type CloseReason, type ControlMessage, eventText } from '../event.ts'
import { CLOSES } from '../hub/connection.ts'
import type { Registration } from '../hub/hub.ts'
import type { Codec, Sink } from '../hub/sink.ts'
import { type Bucket, Rate } from '../limits/rate.ts'
import { destroyLater, LINGER_MS } from './socket.ts'

/** Status codes of the close frame (RFC 6455 §7.4; 4000 and up are the application's). */
export const CLOSE_CODES: Readonly<Record<CloseReason, number>> = {
  draining: 1001,
  overloaded: 1013,
  unavailable: 1013,
  token_expired: 4001,
  stalled: 4002,
  replaced: 4500,
  // For the client the same: somebody meant it, and coming back would undo it.
  closed: 4500,
}
const POLICY_VIOLATION = 1008

/** One unmasked, unfragmented text frame a message (RFC 6455 §5.2), all in one Buffer. */
export const websocketCodec: Codec = {
  encode(_first, ids, bodies) {
    const texts = bodies.map((body, i) => eventText(ids[i] ?? '', body))
    const lengths = texts.map((text) => Buffer.byteLength(text))
    const frames = Buffer.allocUnsafe(
      lengths.reduce((total, length) => total + headerLength(length) + length, 0),
    )
    let offset = 0
    texts.forEach((text, i) => {
      offset = writeHeader(frames, offset, lengths[i] ?? 0)
      offset += frames.write(text, offset)
    })
    return frames
  },
}

function headerLength(length: number): number {
  if (length < 126) return 2
  return length < 65_536 ? 4 : 10
}

/** FIN and opcode 1, then the length in 7 bits, 16 or 64. */
function writeHeader(frames: Buffer, offset: number, length: number): number {
  frames[offset] = 0x81
  if (length < 126) {
    frames[offset + 1] = length
  } else if (length < 65_536) {
    frames[offset + 1] = 126
    frames.writeUInt16BE(length, offset + 2)
  } else {
    frames[offset + 1] = 127
    frames.writeBigUInt64BE(BigInt(length), offset + 2)
  }
  return offset + headerLength(length)
}

/** What a client may send, and how much of it; any other message is ignored. */
export interface ClientMessages {
  /** Beyond it: close code 1009. The only message there is carries a token. */
  readonly messageMaxBytes: number
  /** Messages, pings and unasked-for pongs; beyond it: close code 1008. */
  readonly messagesPerMinute: number
  readonly onLimited: () => void
  /** Verifies a fresh token: its user and when it ends, or undefined where it is no good. */
  readonly verify: (
    token: string,
  ) => Promise<{ readonly user: string; readonly expiresAt: number } | undefined>
}

/** Upgrades requests to WebSocket and joins them to their places. */
export class WebSocketTransport {
  readonly #messages: ClientMessages
  readonly #rate: Rate
  readonly #server: WebSocketServer

  constructor(messages: ClientMessages) {
    this.#messages = messages
    this.#rate = new Rate(messages.messagesPerMinute)
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      // Compression would copy and deflate each small event once per socket.
      perMessageDeflate: false,
      maxPayload: messages.messageMaxBytes,
      // Whoever closes first, and for whichever reason: the default lets a peer hold its socket for half a minute.
      closeTimeout: LINGER_MS,
    }
    this.#server = new WebSocketServer(options)
  }

  /** @param answersPings whether the client asked for answers to its `{"type":"ping"}` */
  begin(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    registration: Registration,
    answersPings: boolean,
  ): void {
    // The handshake can still fail (a bad Sec-WebSocket-Key): then ws answers 400 and closes the socket.
    const { connection } = registration
    onClose(socket, connection)
    if (socket.destroyed) {
      connection.gone()
      return
    }
    // The handshake and the first words leave in one packet: each write is a tenth of what a connection costs.
    socket.cork()
    this.#server.handleUpgrade(request, socket, head, (websocket) => {
      const sink = new WebSocketSink(websocket, socket, answersPings)
      this.#listen(websocket, socket, sink, registration)
      registration.begin(sink)
    })
    socket.uncork()
  }

  /** Apart from the rest: a listener keeps all variables around it for as long as the connection lasts. */
  #listen(
    websocket: WebSocket,
    socket: Socket,
    sink: WebSocketSink,
    { connection, renew, drained }: Registration,
  ): void {
    // A protocol error closes the connection with its code (RFC 6455 §7.1.7); without a listener it would throw.
    websocket.on('error', ignore)
    // ws limits the size of messages, not their number: pings alone could keep us busy.
    const received = { emptyAt: 0 }
    const mayGoOn = () => this.#mayGoOn(received, websocket, socket)
    websocket.on('ping', mayGoOn)
    websocket.on('pong', () => {
      if (!sink.answered()) mayGoOn()
    })
    websocket.on('message', (data, isBinary) => {
      if (mayGoOn() && !isBinary) void this.#received(String(data), { connection, renew }, websocket, sink)
    })
    socket.on('drain', drained)
  }

  #mayGoOn(received: Bucket, websocket: WebSocket, socket: Socket): boolean {
    if (websocket.readyState !== websocket.OPEN) return false
    if (this.#rate.take(received, performance.now()) === 0) return true
    this.#messages.onLimited()
    websocket.close(POLICY_VIOLATION, 'too many messages')
    destroyLater(socket)
    return false
  }

  async #received(
    text: string,
    registration: Pick<Registration, 'connection' | 'renew'>,
    websocket: WebSocket,
    sink: WebSocketSink,
  ): Promise<void> {
    const message = parseMessage(text)
    if (message?.type === 'ping') sink.pong()
    if (message?.type !== 'auth' || typeof message.token !== 'string') return
    const { token } = message
    const identity = await this.#messages.verify(token)
    if (identity === undefined) return
    if (identity.user === registration.connection.user) registration.renew(identity.expiresAt)
    else websocket.close(POLICY_VIOLATION, 'a token of another user')
  }
}

function ignore(): void {}

function onClose(socket: Socket, connection: Registration['connection']): void {
  socket.on('close', () => connection.gone())
}

/** What a client sent, as far as it is an object in JSON. */
function parseMessage(text: string): { readonly type?: unknown; readonly token?: unknown } | undefined {
  try {
    const message: unknown = JSON.parse(text)
    return typeof message === 'object' && message !== null ? message : undefined
  } catch {
    return undefined
  }
}

/** Pings left unanswered after which a peer counts as gone. */
const MAX_UNANSWERED_PINGS = 2
/** What a living peer will have read by then. */
const READ_BY_THEN_BYTES = 65_536

class WebSocketSink implements Sink {
  readonly transport = 'websocket'
  readonly codec = websocketCodec
  readonly #websocket: WebSocket
  readonly #socket: Socket
  readonly #answersPings: boolean
  #unansweredPings = 0
  #sentAtPong = 0

  constructor(websocket: WebSocket, socket: Socket, answersPings: boolean) {
    this.#websocket = websocket
    this.#socket = socket
    this.#answersPings = answersPings
  }

  get unsent(): number {
    return this.#socket.writableLength
  }

  get sent(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength
  }

  /** Straight to the socket: ws would make a header for each message and socket. Whole frames, so its own may stand between. */
  write(frames: Buffer): void {
    if (this.#websocket.readyState === this.#websocket.OPEN) this.#socket.write(frames)
  }

  control(message: ControlMessage): void {
    this.#websocket.send(JSON.stringify(message))
  }

  /** Only while nothing waits to be read: answers to one who asks and never reads would pile up. */
  pong(): void {
    if (this.#answersPings && this.unsent === 0) this.control({ type: 'stream.pong', data: {} })
  }

  /** A pong came. @returns whether a ping of ours was waiting for it */
  answered(): boolean {
    const asked = this.#unansweredPings > 0
    this.#unansweredPings = 0
    this.#sentAtPong = this.sent
    return asked
  }

  heartbeat(): boolean {
    if (this.#unansweredPings >= MAX_UNANSWERED_PINGS && this.#hasRead) return false
    this.#unansweredPings++
    this.#websocket.ping()
    return true
  }

  /**
   * Whether a living peer has come to our pings: its pongs are stuck behind what it was sent and has not read, and that may
   * be megabytes, in the kernels of both sides. One that reads no more at all stalls, or TCP gives it up.
   */
  get #hasRead(): boolean {
    return this.sent - this.#sentAtPong <= READ_BY_THEN_BYTES
  }

  close(reason: CloseReason, retryMs: number): void {
    const { reconnect } = CLOSES[reason]
    this.control({ type: 'stream.close', data: { reason, reconnect, retry_ms: retryMs } })
    this.#websocket.close(CLOSE_CODES[reason], reason)
    // ws has a timer of its own, but none where the peer has closed its side before.
    destroyLater(this.#socket)
  }

  destroy(): void {
    this.#websocket.terminate()
  }
}

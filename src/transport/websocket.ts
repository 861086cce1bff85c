import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import { type CloseReason, type ControlMessage, eventText } from '../event.ts'
import { CLOSES } from '../hub/connection.ts'
import type { Registration } from '../hub/hub.ts'
import type { Codec, Sink } from '../hub/sink.ts'
import { type Bucket, Rate } from '../limits/rate.ts'
import { byteString, destroyLater, LINGER_MS, writeBytes } from './socket.ts'

/** Status codes of the close frame (RFC 6455 §7.4; 4000 and up are the application's). */
export const CLOSE_CODES: Readonly<Record<CloseReason, number>> = {
  draining: 1001,
  overloaded: 1013,
  unavailable: 1013,
  token_expired: 4001,
  stalled: 4002,
  replaced: 4500,
  // The same for the client: it must not reconnect, because that would undo what somebody wanted.
  closed: 4500,
}
const POLICY_VIOLATION = 1008

/** One unmasked, unfragmented text frame a message (RFC 6455 §5.2). */
export const websocketCodec: Codec = {
  encode(ids, bodies) {
    let frames = ''
    for (const [i, body] of bodies.entries()) {
      const text = byteString(eventText(ids[i] ?? '', body))
      frames += textHeader(text.length) + text
    }
    return frames
  },
}

/** FIN and opcode 1, then the length in 7 bits, 16 or 64, a byte a character. */
function textHeader(length: number): string {
  if (length < 126) return `\x81${String.fromCharCode(length)}`
  if (length < 65_536) return `\x81\x7e${String.fromCharCode(length >> 8, length & 255)}`
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(length))
  return `\x81\x7f${bytes.toString('latin1')}`
}

/** Limits of messages from the client. Only `auth` and `ping` have an effect. */
export interface ClientMessages {
  /** A larger message closes with code 1009. The largest useful one carries a token. */
  readonly messageMaxBytes: number
  /** Messages, pings and unsolicited pongs; more close with code 1008. */
  readonly messagesPerMinute: number
  readonly onLimited: () => void
  /** Verifies a new token. @returns its user and when it expires; undefined if it is not valid */
  readonly verify: (
    token: string,
  ) => Promise<{ readonly user: string; readonly expiresAt: number } | undefined>
}

/** Upgrades requests to WebSockets and attaches them to their registrations. */
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
      // For every close, ours or the peer's: the default lets a peer keep its socket for half a minute.
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
    // The handshake and the first messages in one packet: each write is a tenth of the cost of a connection.
    socket.cork()
    this.#server.handleUpgrade(request, socket, head, (websocket) => {
      const sink = new WebSocketSink(websocket, socket, answersPings)
      this.#listen(websocket, socket, sink, registration)
      registration.begin(sink)
    })
    socket.uncork()
  }

  /** A function of its own: listeners keep all variables around them in memory while the connection lasts. */
  #listen(
    websocket: WebSocket,
    socket: Socket,
    sink: WebSocketSink,
    { connection, renew, drained }: Registration,
  ): void {
    // A protocol error closes the connection with its code (RFC 6455 §7.1.7); without a listener it would throw.
    websocket.on('error', ignore)
    // ws limits the size of messages but not their number: a flood of pings could keep us busy.
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

/** The message, if it is a JSON object. */
function parseMessage(text: string): { readonly type?: unknown; readonly token?: unknown } | undefined {
  try {
    const message: unknown = JSON.parse(text)
    return typeof message === 'object' && message !== null ? message : undefined
  } catch {
    return undefined
  }
}

/** After this many unanswered pings the client counts as gone. */
const MAX_UNANSWERED_PINGS = 2
/** A live client has read this much by then. */
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

  /** Writes straight to the socket, because ws would make a header for each socket. Whole frames, so that frames of ws may come between. */
  write(frames: string): void {
    if (this.#websocket.readyState === this.#websocket.OPEN) writeBytes(this.#socket, frames)
  }

  control(message: ControlMessage): void {
    this.#websocket.send(JSON.stringify(message))
  }

  /** Answers only while nothing is unsent: answers to a client that never reads would fill the memory. */
  pong(): void {
    if (this.#answersPings && this.unsent === 0) this.control({ type: 'stream.pong', data: {} })
  }

  /** Notes a pong. @returns whether it answers a ping of ours */
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
   * Whether a live client must have reached our pings. Pings wait behind unread data, which may be megabytes in the kernels of
   * both sides. A client that reads nothing at all is closed as stalled, or by TCP.
   */
  get #hasRead(): boolean {
    return this.sent - this.#sentAtPong <= READ_BY_THEN_BYTES
  }

  close(reason: CloseReason, retryMs: number): void {
    const { reconnect } = CLOSES[reason]
    this.control({ type: 'stream.close', data: { reason, reconnect, retry_ms: retryMs } })
    this.#websocket.close(CLOSE_CODES[reason], reason)
    // ws has its own timer, but not if the peer has closed its side before.
    destroyLater(this.#socket)
  }

  destroy(): void {
    this.#websocket.terminate()
  }
}

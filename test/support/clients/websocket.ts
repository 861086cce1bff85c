import { type ClientOptions, WebSocket } from 'ws'
import { type OpenOptions, Rejected, TestStream } from './stream.ts'

/** WebSocket over the `ws` package. */
export class WsStream extends TestStream {
  readonly socket: WebSocket
  pings = 0

  constructor(socket: WebSocket) {
    super()
    this.socket = socket
    socket
      .on('message', (data, isBinary) => this.receive(isBinary ? 'a binary frame' : String(data)))
      .on('ping', () => {
        this.pings += 1
      })
      .on('error', () => {}) // a cut connection; `close` follows
      .on('close', (code, reason) => this.ended({ code, reason: String(reason) }))
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  /** Stops reading from the socket: the kernel's buffers fill, then the server's. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  override close(): void {
    this.socket.close()
  }

  override cut(): void {
    this.socket.terminate()
  }
}

export async function openWebSocket(
  options: OpenOptions & ClientOptions & { ticket?: string; pings?: boolean },
): Promise<WsStream> {
  const { url, token, ticket, pings, lastEventId, headers, ...wsOptions } = options
  const address = webSocketUrl(url, lastEventId)
  if (ticket !== undefined) address.searchParams.set('ticket', ticket)
  if (pings === true) address.searchParams.set('pings', 'on')
  const socket = new WebSocket(address, {
    ...wsOptions,
    headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers },
  })
  // The stream listens from the start: the first message may come in the same packet as the handshake.
  const stream = new WsStream(socket)
  await new Promise<void>((resolve, reject) => {
    socket.on('open', resolve).on('error', reject)
    socket.on('unexpected-response', (_request, response) => {
      Rejected.from(response).then(reject, reject)
    })
  })
  return stream.started()
}

export function webSocketUrl(url: string, lastEventId?: string, token?: string): URL {
  const address = new URL('/ws', url.replace(/^http/, 'ws'))
  if (lastEventId !== undefined) address.searchParams.set('last_event_id', lastEventId)
  if (token !== undefined) address.searchParams.set('token', token)
  return address
}

import { WebSocket } from 'undici'
import { type OpenOptions, TestStream } from './stream.ts'
import { webSocketUrl } from './websocket.ts'

/** The WebSocket of browsers, as undici builds it. */
export class UndiciWebSocketStream extends TestStream {
  readonly socket: WebSocket

  constructor(socket: WebSocket) {
    super()
    this.socket = socket
    socket.addEventListener('message', ({ data }) => this.receive(String(data)))
    socket.addEventListener('close', ({ code, reason }) => this.ended({ code, reason }))
  }

  override close(): void {
    this.socket.close()
  }

  override cut(): void {
    this.close()
  }
}

/** As in a browser, nothing but the URL can carry the token and the cursor. */
export function openUndiciWebSocket({
  url,
  token,
  lastEventId,
}: OpenOptions): Promise<UndiciWebSocketStream> {
  return new UndiciWebSocketStream(new WebSocket(webSocketUrl(url, lastEventId, token))).started()
}

import { connect, type Socket } from 'node:net'

/** How a visit ends. `opening` leaves while the stream is being opened, `connected` without having asked for one. */
const ENDINGS = ['clean', 'abrupt', 'opening', 'connected'] as const
const VISIT_TIMEOUT_MS = 10_000

interface Visit {
  readonly url: URL
  readonly transport: 'sse' | 'ws'
  readonly ending: (typeof ENDINGS)[number]
  readonly token: string
}

/**
 * Connects and leaves so many times, `atOnce` at a time, by both transports and in every way there is.
 *
 * @returns how many visits did not get the stream they waited for
 */
export async function churn(
  url: URL,
  tokens: readonly string[],
  times: number,
  atOnce: number,
): Promise<number> {
  let begun = 0
  let failed = 0
  const work = async () => {
    while (begun < times) {
      const nth = begun++
      const ending = ENDINGS[(nth >> 1) % ENDINGS.length] ?? 'clean'
      const token = tokens[nth % tokens.length] ?? ''
      if (!(await visit({ url, transport: nth % 2 === 0 ? 'sse' : 'ws', ending, token }))) failed++
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return failed
}

/** Raw sockets: an agent or a WebSocket library would not let go in the middle of a handshake. */
function visit({ url, transport, ending, token }: Visit): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(url.port), url.hostname)
    let text = ''
    let opened = false
    const timer = setTimeout(() => socket.resetAndDestroy(), VISIT_TIMEOUT_MS)
    socket
      .on('error', () => {})
      .on('close', () => {
        clearTimeout(timer)
        resolve(opened || ending === 'opening' || ending === 'connected')
      })
    socket.on('connect', () => {
      if (ending === 'connected') socket.resetAndDestroy()
      else
        socket.write(request(transport, url, token), () => ending === 'opening' && socket.resetAndDestroy())
    })
    socket.on('data', (bytes) => {
      if (opened) return
      text += bytes.toString('latin1')
      if (!text.includes('stream.open')) return
      opened = true
      if (ending === 'abrupt') socket.resetAndDestroy()
      else leave(transport, socket)
    })
  })
}

/** A masked close frame with code 1000 (RFC 6455 §5.5.1), its masking key all zero. */
const CLOSE_FRAME = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])

function leave(transport: Visit['transport'], socket: Socket): void {
  if (transport === 'ws') socket.write(CLOSE_FRAME)
  else socket.end()
}

function request(transport: Visit['transport'], { host }: URL, token: string): string {
  const lines = [
    `GET ${transport === 'sse' ? '/events' : '/ws'} HTTP/1.1`,
    `Host: ${host}`,
    `Authorization: Bearer ${token}`,
    ...(transport === 'sse'
      ? ['Accept: text/event-stream']
      : [
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ]),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

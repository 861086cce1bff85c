import { connect, type Socket } from 'node:net'

export type Transport = 'sse' | 'ws'

/** An empty pong, masked with zeros (RFC 6455 §5.5.3: it may come without a ping). */
export const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])

const OPENED = Buffer.from('stream.open')
const OPEN_TIMEOUT_MS = 20_000

/** libuv reads and calls back in one go, so one buffer serves every socket of the process: no allocation per read. */
const shared = Buffer.alloc(65_536)

/**
 * Opens one stream by hand: the request, then raw bytes. Resolves once `stream.open` has come, which is when events
 * must arrive; every read is handed to `onBytes`, whose buffer is reused after it returns.
 */
export function openStream(
  url: string,
  transport: Transport,
  token: string,
  onBytes: (bytes: Buffer) => void,
): Promise<Socket> {
  const { hostname, port, host } = new URL(url)
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0)
    let open = false
    const socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length) => {
          const bytes = shared.subarray(0, length)
          if (open) onBytes(bytes)
          else opening(bytes)
          return true
        },
      },
    })
    const timer = setTimeout(() => fail('no stream.open in time'), OPEN_TIMEOUT_MS)
    const fail = (why: string) => {
      clearTimeout(timer)
      socket.destroy()
      reject(new Error(`${transport} stream: ${why}`))
    }
    const opening = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes])
      const status = head.toString('latin1', 9, 12)
      if (head.length >= 12 && status !== '200' && status !== '101') fail(head.toString('latin1', 0, 300))
      if (!head.includes(OPENED)) return
      clearTimeout(timer)
      open = true
      onBytes(head)
      head = Buffer.alloc(0)
      resolve(socket)
    }
    socket.once('error', (error) => fail(error.message))
    socket.once('close', () => fail('closed before stream.open'))
    socket.write(transport === 'sse' ? sseRequest(host, token) : upgradeRequest(host, token))
  })
}

function sseRequest(host: string, token: string): string {
  return `GET /events?token=${token} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n\r\n`
}

/** RFC 6455 §4.1. The key is a constant: nobody between here and the loopback caches. */
function upgradeRequest(host: string, token: string): string {
  return `GET /ws?token=${token} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`
}

import { connect, type Socket } from 'node:net'
import type { Handshake } from './protocols.ts'

const OPEN_TIMEOUT_MS = 30_000

/** libuv reads and calls back in one go, so one buffer serves every socket of the process: no allocation per read. */
const shared = Buffer.alloc(65_536)

/**
 * Opens one stream by hand: the request, then raw bytes. Resolves once the handshake's `opened` has come, which is when
 * events must arrive; every read from then on is handed to `onBytes`, whose buffer is reused after it returns.
 */
export function openStream(
  url: string,
  { request, opened, reply }: Handshake,
  onBytes: (bytes: Buffer) => void,
): Promise<Socket> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0)
    let open = false
    let replied = false
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
    const timer = setTimeout(() => fail('was not opened in time'), OPEN_TIMEOUT_MS)
    const fail = (why: string) => {
      clearTimeout(timer)
      socket.destroy()
      reject(new Error(`a stream ${why}`))
    }
    const opening = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes])
      const status = head.toString('latin1', 9, 12)
      if (head.length >= 12 && status !== '200' && status !== '101')
        return fail(`was refused: ${head.toString('latin1', 0, 300)}`)
      if (reply !== undefined && !replied && head.includes(reply.after)) {
        replied = true
        socket.write(reply.bytes)
      }
      if (!head.includes(opened)) return
      clearTimeout(timer)
      open = true
      onBytes(head)
      head = Buffer.alloc(0)
      resolve(socket)
    }
    socket.once('error', (error) => fail(`failed: ${error.message}`))
    socket.once('close', () => fail('was closed before it was open'))
    socket.write(request)
  })
}

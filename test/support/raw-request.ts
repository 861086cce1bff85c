import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'

/**
 * What `read` makes of a request whose head is exactly `lines` (a request line and header lines), sent through a real
 * socket and Node's own parser.
 */
export async function readRequest<T>(
  lines: readonly string[],
  read: (request: IncomingMessage) => T,
): Promise<T> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  try {
    return await new Promise<T>((resolve, reject) => {
      server.once('request', (request) => {
        try {
          resolve(read(request))
        } catch (error) {
          reject(error)
        }
      })
      server.once('clientError', reject)
      socket.once('error', reject)
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    })
  } finally {
    socket.destroy()
    server.close()
  }
}

import type { Server, Socket } from 'node:net'
import { networkOf } from './address.ts'
import { Quota } from './quota.ts'

export interface SocketLimits {
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  readonly trustProxy: number
}

/**
 * Bounds how many sockets stand open, asked anything or not, and how many of them are one address's, so that nobody
 * alone can take all. Room is left above the streams, so that who opens one too many of those is told why; past it a
 * socket is closed without a word. Behind a proxy all sockets are the proxy's, and counting them is its business.
 */
export function limitSockets(
  server: Server,
  { maxConnections, maxConnectionsPerAddress, trustProxy }: SocketLimits,
  onRefused: () => void,
): void {
  server.maxConnections = Math.ceil(maxConnections * 1.1) + 1000
  if (trustProxy > 0) return
  const quota = new Quota(2 * maxConnectionsPerAddress + 100)
  server.on('connection', (socket: Socket) => {
    // Gone again before anybody looked.
    if (socket.remoteAddress === undefined) return
    const network = networkOf(socket.remoteAddress)
    if (!quota.take(network)) {
      onRefused()
      socket.destroy()
      return
    }
    socket.on('close', () => quota.release(network))
  })
}

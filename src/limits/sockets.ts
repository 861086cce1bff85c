import { readFileSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import type { Logger } from '../observability/log.ts'
import { networkOf } from './address.ts'
import { Quota } from './quota.ts'

export interface SocketLimits {
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  readonly trustProxy: number
}

/** Descriptors kept for Postgres, key sets, the log and Node itself; where there are few at all, a half of them. */
const RESERVED_DESCRIPTORS = 128

/** How many sockets may stand open where the process may have so many descriptors. */
export function socketsWithin(descriptors: number): number {
  return descriptors - Math.min(RESERVED_DESCRIPTORS, Math.floor(descriptors / 2))
}

/** What `ulimit -n` says; infinity where the system doesn't tell. */
export function descriptorLimit(): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/**
 * Bounds how many sockets stand open, asked anything or not, and how many of them are one address's, so that nobody
 * alone can take all, and none is left without a descriptor that the service itself needs: without one it could neither
 * reach Postgres nor open a file. Room is left above the streams, so that who opens one too many of those is told why;
 * past it a socket is closed without a word. Behind a proxy all sockets are the proxy's, and counting them is its
 * business.
 */
export function limitSockets(
  server: Server,
  { maxConnections, maxConnectionsPerAddress, trustProxy }: SocketLimits,
  log: Logger,
  onRefused: (limit: 'sockets' | 'address_sockets') => void,
): void {
  const most = Math.min(Math.ceil(maxConnections * 1.1) + 1000, socketsWithin(descriptorLimit()))
  server.maxConnections = most
  let full = false
  server.on('drop', () => {
    onRefused('sockets')
    if (!full) log.warn({ sockets: most }, 'the limit of open sockets is reached: new ones are closed')
    full = true
  })
  // An accept that fails, for want of descriptors or memory, would end the process.
  server.on('error', (err) => log.warn({ err }, 'a connection could not be accepted'))
  const quota = new Quota(2 * maxConnectionsPerAddress + 100)
  server.on('connection', (socket: Socket) => {
    if (full) {
      full = false
      log.info('new sockets are accepted again')
    }
    // Gone again before anybody looked.
    if (trustProxy > 0 || socket.remoteAddress === undefined) return
    const network = networkOf(socket.remoteAddress)
    if (!quota.take(network)) {
      onRefused('address_sockets')
      socket.destroy()
      return
    }
    socket.on('close', () => quota.release(network))
  })
}

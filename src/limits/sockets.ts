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

/** File descriptors reserved for Postgres, key sets, the log and Node; half of all if there are few. */
const RESERVED_DESCRIPTORS = 128

/** The most open sockets, given the limit of file descriptors. */
export function socketsWithin(descriptors: number): number {
  return descriptors - Math.min(RESERVED_DESCRIPTORS, Math.floor(descriptors / 2))
}

/**
 * The limit of `ulimit -n`; infinity if the system does not report it.
 *
 * @param file where Linux lists the limits of this process
 */
export function descriptorLimit(file = '/proc/self/limits'): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync(file, 'utf8')) ?? []
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/**
 * Bounds the open sockets, idle ones included, in all and per address. So nobody alone can take them all, and the service
 * keeps the file descriptors that it needs to reach Postgres and to open files. The bound is higher than that of streams, so
 * that one stream too many still gets an answer; past it, sockets are closed without one. Behind a trusted proxy all sockets
 * are the proxy's, so they are not counted per address.
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
  // Without a listener, an accept that fails for lack of descriptors or memory would end the process. Whoever starts
  // a server reports that it cannot listen.
  server.on('error', (err) => {
    if (server.listening) log.warn({ err }, 'a connection could not be accepted')
  })
  const quota = new Quota(2 * maxConnectionsPerAddress + 100)
  server.on('connection', (socket: Socket) => {
    if (full) {
      full = false
      log.info('new sockets are accepted again')
    }
    // The address is undefined if the peer has disconnected already.
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

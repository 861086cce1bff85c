import { connect, type OnReadOpts, type Socket } from 'node:net'

/** Where the driver wants to connect: the hosts of the URL with their ports, or a Unix socket's path. */
export interface Destination {
  readonly host: readonly string[]
  readonly port: readonly number[]
  readonly path: string | false
  /** Whatever is neither false nor missing: the driver puts TLS around the socket. */
  readonly ssl?: unknown
}

/** As much as Node reads at a time. */
const CHUNK_BYTES = 65_536

/**
 * Makes the driver's sockets, so that two things are ours: a socket can be destroyed whatever its peer does, and a
 * server that accepts and closes without a word is an error. The driver takes that for nothing at all, tries again at
 * once and for ever, and never answers the query. Several hosts are tried in turn, one at each call.
 *
 * The socket is returned while it connects: its first bytes wait in it, and its failure reaches the driver as an event.
 * A promise that rejects would leave the driver's connection object waiting for ever.
 *
 * @param onSocket hears of each socket made
 * @param read takes the bytes of a socket without TLS in the driver's stead, out of memory that is used again after it
 *   returns; it may hand on what it leaves to the driver with `socket.push`
 */
export function socketFactory(onSocket: (socket: Socket) => void = () => {}, read?: (chunk: Buffer) => void) {
  let attempt = 0
  return ({ host, port, path, ssl }: Destination): Socket => {
    const nth = attempt++ % host.length
    const address = { host: host[nth] ?? 'localhost', port: port[nth] ?? 5432 }
    const onread = ssl ? undefined : read && ownReading(read)
    const socket = connect({ ...(path ? { path } : address), onread })
    socket.once('end', () => socket.destroy(new Error('the server closed the connection')))
    socket.setNoDelay(true)
    onSocket(socket)
    // The driver reads the name to verify a certificate against from its socket.
    return Object.assign(socket, address)
  }
}

function ownReading(read: (chunk: Buffer) => void): OnReadOpts {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  const callback = (bytes: number) => {
    read(buffer.subarray(0, bytes))
    return true
  }
  return { buffer, callback }
}

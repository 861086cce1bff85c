import { connect, type OnReadOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions, Endpoint } from './connection-url.ts'
import { type Encryption, tlsFor } from './tls.ts'

/** As much as Node reads at a time. */
const CHUNK_BYTES = 65_536

/** Node gives each of a name's addresses this long before it tries the next; its own 250 ms are too short for a far server. */
const ADDRESS_TIMEOUT_MS = 1000

/** PostgreSQL, Message Formats: SSLRequest. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const OFFERED = 0x53
const REFUSED = 0x4e

/** What carries a connection. */
export interface OpenSocket {
  /** Connected, encrypted where that was agreed on, and listened to for errors from its first moment. */
  readonly socket: Socket
  readonly encrypted: boolean
}

export interface OpenOptions {
  readonly connection: ConnectionOptions
  readonly endpoint: Endpoint
  readonly encryption: Encryption
  readonly timeoutMs: number
  /**
   * Takes the bytes of a socket without TLS in the driver's stead, out of memory that is used again after it returns; it
   * may hand on what it leaves to the driver with `socket.push`.
   */
  readonly read?: ((chunk: Buffer, socket: Socket) => void) | undefined
}

/**
 * Opens a socket to Postgres. Both drivers are given sockets that are open: neither connects, looks at errors before it
 * listens for them, or negotiates TLS by itself.
 *
 * @throws the socket's own error; ConnectionError `TLS` where the server cannot encrypt or its certificate is refused,
 *   `TIMEOUT` where the endpoint is silent
 */
export async function openSocket(options: OpenOptions): Promise<OpenSocket> {
  const { connection, endpoint, encryption, timeoutMs, read } = options
  // The name service, TCP and TLS together may take no longer.
  const deadline = performance.now() + timeoutMs
  const left = () => Math.max(1, deadline - performance.now())
  // A socket that reads for itself cannot be wrapped in TLS later.
  const own = encryption === 'none' ? read : undefined
  const socket = await openTcp(endpoint, left(), own)
  socket.setNoDelay(true)
  if (connection.keepAliveMs > 0) socket.setKeepAlive(true, connection.keepAliveMs)
  if (encryption === 'none') return { socket: watched(socket), encrypted: false }
  try {
    const offered = connection.tls.direct || (await offersTls(socket, left()))
    if (offered)
      return { socket: watched(await secure(socket, connection, endpoint, left())), encrypted: true }
    if (encryption === 'always')
      throw new ConnectionError('TLS', 'the server does not offer TLS, which sslmode asks for')
    if (read === undefined) return { socket: watched(socket), encrypted: false }
  } catch (error) {
    socket.destroy()
    throw error
  }
  socket.destroy()
  return openSocket({ ...options, encryption: 'none', timeoutMs: left() })
}

/** A server that closes without a word is an error; the driver takes it for nothing at all and never answers. */
function watched(socket: Socket): Socket {
  socket.on('error', () => {})
  socket.once('end', () => socket.destroy(new ConnectionError('CLOSED', 'the server closed the connection')))
  return socket
}

function openTcp(
  { host, address, port, path }: Endpoint,
  timeoutMs: number,
  read: OpenOptions['read'],
): Promise<Socket> {
  const socket: Socket = connect({
    ...(path === undefined
      ? { host: address ?? host, port, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS }
      : { path }),
    onread: read && ownReading((chunk) => read(chunk, socket)),
  })
  return settled(socket, 'connect', timeoutMs).then(() => socket)
}

function ownReading(read: (chunk: Buffer) => void): OnReadOpts {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  const callback = (bytes: number) => {
    read(buffer.subarray(0, bytes))
    return true
  }
  return { buffer, callback }
}

async function offersTls(socket: Socket, timeoutMs: number): Promise<boolean> {
  let answer: Buffer | undefined
  socket.once('data', (bytes: Buffer) => {
    answer = bytes
  })
  socket.write(SSL_REQUEST)
  await settled(socket, 'data', timeoutMs)
  // More than a byte would be what somebody in between wants to be taken for encrypted (CVE-2021-23222).
  if (answer?.length === 1 && answer[0] === OFFERED) return true
  if (answer?.length === 1 && answer[0] === REFUSED) return false
  throw new ConnectionError('TLS', 'the server did not say whether it offers TLS')
}

async function secure(
  socket: Socket,
  connection: ConnectionOptions,
  endpoint: Endpoint,
  timeoutMs: number,
): Promise<Socket> {
  const secured = connectTls({ ...(await tlsFor(connection.tls, endpoint.host)), socket })
  // Destroying the one leaves the other open where the peer does not answer.
  secured.once('close', () => socket.destroy())
  try {
    await settled(secured, 'secureConnect', timeoutMs)
    return secured
  } catch (error) {
    secured.destroy()
    if (error instanceof ConnectionError && error.code !== 'CLOSED') throw error
    const reason = (error as Error).message || (error as NodeJS.ErrnoException).code
    throw new ConnectionError('TLS', `no TLS with the server: ${reason}`, error)
  }
}

/**
 * Waits for one event, an error, or the end. The listener for errors stays: an error that comes when nobody listens ends
 * the process, and sockets fail at any moment.
 */
function settled(socket: Socket, event: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => socket.destroy(new ConnectionError('TIMEOUT', 'the server does not answer')),
      timeoutMs,
    )
    const closed = () =>
      reject(socket.errored ?? new ConnectionError('CLOSED', 'the server closed the connection'))
    socket.on('error', reject)
    socket.once('close', closed).once('end', closed)
    socket.once(event, () => {
      clearTimeout(timer)
      socket.off('close', closed).off('end', closed)
      resolve()
    })
    socket.once('close', () => clearTimeout(timer))
  })
}

import { connect, type OnReadOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions, Endpoint } from './connection-url.ts'
import { type Encryption, tlsFor } from './tls.ts'

/** Node's own chunk size. */
const CHUNK_BYTES = 65_536

/** How long Node tries each address of a host. Its default, 250 ms, is too short for a distant server. */
const ADDRESS_TIMEOUT_MS = 1000

/** PostgreSQL, Message Formats: SSLRequest. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const OFFERED = 0x53
const REFUSED = 0x4e

/** An open socket to a server. */
export interface OpenSocket {
  /** Connected, encrypted if both sides agreed, and with an error listener from its first moment. */
  readonly socket: Socket
  readonly encrypted: boolean
}

export type ReadChunk = (chunk: Buffer, socket: Socket) => boolean

export interface OpenOptions {
  readonly connection: ConnectionOptions
  readonly endpoint: Endpoint
  readonly encryption: Encryption
  readonly timeoutMs: number
  /**
   * Reads the bytes of a socket without TLS before the driver does. The chunk's memory is reused after it returns. It passes
   * bytes on to the driver by `socket.push`. If it returns false, nothing more is read until `socket.resume()`.
   */
  readonly read?: ReadChunk | undefined
}

/**
 * Opens a socket to Postgres. Both drivers get open sockets, so that neither connects or negotiates TLS itself, and no socket
 * error comes before there is a listener.
 *
 * @throws the socket's error; ConnectionError `TLS` if the server cannot encrypt or its certificate is refused, `TIMEOUT` if
 *   the endpoint is silent
 */
export async function openSocket(options: OpenOptions): Promise<OpenSocket> {
  const { connection, endpoint, encryption, timeoutMs, read } = options
  // One timeout for name lookup, TCP and TLS together.
  const deadline = performance.now() + timeoutMs
  const left = () => Math.max(1, deadline - performance.now())
  // A socket with `onread` cannot be wrapped in TLS later.
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

/** Makes the close of the server an error: the driver ignores it and never answers its statements. */
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

function ownReading(read: (chunk: Buffer) => boolean): OnReadOpts {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  // If the buffer is full, the kernel has more.
  const callback = (bytes: number) => read(buffer.subarray(0, bytes)) || bytes === CHUNK_BYTES
  return { buffer, callback }
}

async function offersTls(socket: Socket, timeoutMs: number): Promise<boolean> {
  let answer: Buffer | undefined
  socket.once('data', (bytes: Buffer) => {
    answer = bytes
  })
  socket.write(SSL_REQUEST)
  await settled(socket, 'data', timeoutMs)
  // A man in the middle may have injected further bytes, which would count as encrypted (CVE-2021-23222).
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
  // Destroying one socket leaves the other open if the server does not answer.
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
 * Waits for one event, an error, or the end. The error listener stays, because sockets fail at any moment and an error
 * without a listener ends the process.
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

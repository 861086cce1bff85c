import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions, Endpoint } from './connection-url.ts'
import { type OpenOptions, type OpenSocket, openSocket } from './socket.ts'
import { encryptionsOf } from './tls.ts'

/** The default timeout of one attempt, from name lookup to the first answer. */
const ATTEMPT_TIMEOUT_MS = 3000

/** The endpoint that worked last is tried first: if the first host is silent, each connection would take seconds. */
const lastGood = new WeakMap<ConnectionOptions, Endpoint>()

/** `no pg_hba.conf entry …, no encryption`, or the opposite. */
const NOT_LET_IN = '28000'

/**
 * Makes a connection to the first endpoint that takes one, encrypted as `sslmode` says.
 *
 * @param begin speaks the protocol over the socket; where it rejects, or takes too long, the socket is destroyed and the
 *   next way is tried
 * @param timeoutMs for each attempt, where the URL does not say
 * @throws what the server said, else the last attempt's error
 */
export async function connectFirst<Result>(
  connection: ConnectionOptions,
  begin: (opened: OpenSocket, endpoint: Endpoint) => Promise<Result>,
  { timeoutMs = ATTEMPT_TIMEOUT_MS, read }: { timeoutMs?: number; read?: OpenOptions['read'] } = {},
): Promise<Result> {
  let failure: unknown
  for (const endpoint of inOrder(connection)) {
    // A Unix socket is never encrypted.
    const encryptions = endpoint.path === undefined ? encryptionsOf(connection.tls.mode) : (['none'] as const)
    for (const encryption of encryptions) {
      try {
        const result = await attempt(begin, {
          connection,
          endpoint,
          encryption,
          read,
          timeoutMs: connection.connectTimeoutMs ?? timeoutMs,
        })
        lastGood.set(connection, endpoint)
        return result
      } catch (error) {
        if (!saidByServer(failure)) failure = error
        if (!isAboutEncryption(error)) break
      }
    }
  }
  throw failure
}

async function attempt<Result>(
  begin: (opened: OpenSocket, endpoint: Endpoint) => Promise<Result>,
  options: OpenOptions,
): Promise<Result> {
  const deadline = performance.now() + options.timeoutMs
  const opened = await openSocket(options)
  const { socket } = opened
  let timer: NodeJS.Timeout | undefined
  // The driver does not notice a socket that closed before it had it, and never answers its first statement.
  const failed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const silent = new ConnectionError('TIMEOUT', 'the server does not answer')
      reject(silent)
      socket.destroy(silent)
    }, deadline - performance.now())
    // Later than what the server said before it closed, which the driver rejects with.
    const closed = () =>
      setImmediate(reject, new ConnectionError('CLOSED', 'the server closed the connection'))
    if (socket.destroyed) closed()
    else socket.once('close', closed)
  })
  try {
    return await Promise.race([begin(opened, options.endpoint), failed])
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

function inOrder(connection: ConnectionOptions): readonly Endpoint[] {
  const first = lastGood.get(connection)
  if (first === undefined) return connection.endpoints
  return [first, ...connection.endpoints.filter((endpoint) => endpoint !== first)]
}

function saidByServer(error: unknown): boolean {
  return /^[0-9A-Z]{5}$/.test((error as { code?: string } | undefined)?.code ?? '') && !isErrno(error)
}

/** `EPIPE` is as long as a SQLSTATE. */
function isErrno(error: unknown): boolean {
  return (error as { syscall?: string }).syscall !== undefined
}

function isAboutEncryption(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === NOT_LET_IN || (error instanceof ConnectionError && code === 'TLS')
}

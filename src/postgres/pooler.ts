import { withTimeout } from '../limits/with-timeout.ts'
import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions } from './connection-url.ts'
import { SingleSession } from './single-session.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** A pooler without free server connections does not answer. */
const LOOK_TIMEOUT_MS = 5000
/** Several looks, because other clients share the pooler: one look may happen to find a server process for each session. */
const ROUNDS = 5

/**
 * Whether a transaction pooler is in between: one server process answered two open sessions, or two processes answered one
 * session. Neither happens over a direct connection or a session pooler. A pooler that pins clients to server processes is
 * not found.
 *
 * @throws the error of the connection, or the signal's reason where it was aborted
 */
export async function isTransactionPooled(
  connection: ConnectionOptions,
  signal?: AbortSignal,
): Promise<boolean> {
  const sessions: SingleSession[] = []
  const open = async () => {
    const options = { connection, purpose: 'probe', connectTimeoutMs: CONNECT_TIMEOUT_MS }
    const session = await SingleSession.open(options, signal)
    sessions.push(session)
    return session
  }
  try {
    const pair = [await open(), await open()] as const
    return await withTimeout(
      LOOK_TIMEOUT_MS,
      look(pair),
      () => new ConnectionError('TIMEOUT', `no answer within ${LOOK_TIMEOUT_MS} ms`),
    )
  } finally {
    for (const session of sessions) session.end()
  }
}

async function look([first, second]: readonly [SingleSession, SingleSession]): Promise<boolean> {
  const seen = { first: new Set<number>(), second: new Set<number>() }
  for (let round = 0; round < ROUNDS; round++) {
    seen.first.add(await serverProcess(first))
    seen.second.add(await serverProcess(second))
    const shared = [...seen.first].some((pid) => seen.second.has(pid))
    if (shared || seen.first.size > 1 || seen.second.size > 1) return true
  }
  return false
}

async function serverProcess(session: SingleSession): Promise<number> {
  const [row] = await session.query<{ pid: number }>('select pg_backend_pid() as pid')
  return row?.pid ?? 0
}

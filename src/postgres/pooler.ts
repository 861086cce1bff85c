import { withTimeout } from '../limits/with-timeout.ts'
import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions } from './connection-url.ts'
import { SingleSession } from './single-session.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** A pooler whose server connections are all taken answers nothing. */
const LOOK_TIMEOUT_MS = 5000
/** Others who use the pooler take turns with us: one look may happen to see two server processes that look like ours. */
const ROUNDS = 5

/**
 * Whether a transaction pooler is in between: two sessions that are open at once were answered by one server process, or
 * one session by two. Neither can happen over a direct connection or a session pooler, whatever the pooler is called.
 * One that pins a client to a server process is not found.
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

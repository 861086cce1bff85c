import type { Socket } from 'node:net'
import postgres from 'postgres'
import { ARRAYS } from './array-types.ts'
import { type Destination, socketFactory } from './socket.ts'

/** What statements are sent through: the driver's tagged template, for statements and for fragments of them. */
export type Pool = Statement & { end(options?: { timeout?: number }): Promise<void> }

type Statement = <Rows extends readonly (object | undefined)[] = postgres.Row[]>(
  strings: TemplateStringsArray,
  ...values: readonly postgres.ParameterOrFragment<never>[]
) => postgres.PendingQuery<Rows>

/**
 * The most connections that an instance opens, for each of its purposes. `write` is one for each kind of batch, `isolated`
 * those that wait for a lock; `listen` is the bus's.
 */
export const CONNECTIONS = { read: 6, write: 3, isolated: 7, edit: 3, presence: 1, listen: 1 } as const

const CONNECT_TIMEOUT_SECONDS = 3
/** While Postgres is away a write waits for two before it on its connection: each is refused after this, at the latest. */
const MAX_BACKOFF_SECONDS = 0.5
/** How long statements in flight may still take in a pool that was replaced, in seconds; a poisoned one takes that long. */
const RETIRE_SECONDS = 1

/** An option of the driver that its types leave out. */
interface PoolOptions extends postgres.Options<{ arrays: typeof ARRAYS }> {
  readonly socket: (destination: Destination) => Socket
}

/**
 * A pool of connections for statements. No session state is relied on and no setting is sent at start-up, so that it
 * works through a transaction pooler too. Nothing is connected before the first statement.
 *
 * A connection object of the driver that has closed is never used again: one that closes while a write waits for its
 * turn of the event loop sends nothing any more, and every statement that it is given ends in a connect timeout. So when
 * one closes, the driver's whole pool is replaced; what is in flight on its other connections can finish.
 *
 * @param max the most connections open at once
 */
export function createPool(url: string, max: number, name: string): Pool {
  let current: postgres.Sql | undefined
  const retired = new Set<Promise<void>>()
  let ended = false

  const open = (): postgres.Sql => {
    // Until it has reached the server the driver's own backoff is good: an outage must not cost a pool for each attempt.
    let reached = false
    const options: PoolOptions = {
      max,
      // At each connect the driver would ask for all types and await the answer nowhere: a reset in that moment would be
      // an unhandled rejection, which ends the process.
      fetch_types: false,
      types: { arrays: ARRAYS },
      connect_timeout: CONNECT_TIMEOUT_SECONDS,
      // The driver's own backoff grows to 20 s: once Postgres is back, everything would wait for that.
      backoff: (retries) => Math.min(0.05 * 2 ** retries, MAX_BACKOFF_SECONDS),
      connection: { application_name: name },
      onnotice: () => {},
      onparameter: () => {
        reached = true
      },
      onclose: () => {
        if (reached && current === opened) retire()
      },
      socket: socketFactory(),
    }
    const opened = postgres(url, options)
    return opened
  }
  const retire = () => {
    if (current === undefined || ended) return
    const gone = current
      .end({ timeout: RETIRE_SECONDS })
      .catch(() => {})
      .finally(() => retired.delete(gone))
    retired.add(gone)
    current = undefined
  }

  const statement: Statement = (strings, ...values) => {
    current ??= open()
    return current(strings, ...values)
  }
  return Object.assign(statement, {
    async end({ timeout = 5 } = {}) {
      ended = true
      // Stays, or is made, so that whatever is asked later is refused rather than connected for.
      current ??= open()
      await Promise.race([
        Promise.all([current.end({ timeout }), ...retired]),
        // The driver lets go of its connections just then.
        new Promise((resolve) => setTimeout(resolve, timeout * 1000 + 10).unref()),
      ])
    },
  })
}

import { type ConnectionOptions, parseConnectionUrl } from './connection-url.ts'
import { Lazy, type Statement } from './statement.ts'
import { type PoolOptions, type PoolUsage, StatementQueue } from './statement-queue.ts'

/** What statements are sent through. */
export type Pool = Statement & { end(options?: { timeout?: number }): Promise<void> }

/** A pool that can also give statements less time, or more, than it gives them by itself. */
export type TimedPool = Pool & {
  /** All statements of the work together may take so long. */
  within<Result>(milliseconds: number, work: (sql: Pool) => Promise<Result>): Promise<Result>
  /** Closes the idle connections that nobody has heard of since then, on the clock of performance.now(). */
  doubt(since: number): void
  /** What the pool is at, for metrics. */
  readonly usage: PoolUsage
}

/**
 * A pool of connections for statements. Nothing is connected before the first statement.
 *
 * @param purpose what the connections are for, as their names in pg_stat_activity end
 */
export function openPool(connection: ConnectionOptions, purpose: string, options: PoolOptions): TimedPool {
  const queue = new StatementQueue(connection, purpose, options)
  const end = ({ timeout = 5 } = {}) => queue.end(timeout * 1000)
  const statement = (deadlineMs: number, leftMs: () => number) =>
    ((strings: TemplateStringsArray, ...values: readonly unknown[]) =>
      new Lazy(strings, values, () =>
        queue.run(strings, values, leftMs(), deadlineMs),
      )) as unknown as Statement
  const pool = Object.assign(
    statement(queue.deadlineMs, () => queue.deadlineMs),
    {
      end,
      doubt: (since: number) => queue.doubt(since),
      within<Result>(milliseconds: number, work: (sql: Pool) => Promise<Result>): Promise<Result> {
        const deadline = performance.now() + milliseconds
        const leftMs = () => Math.max(0, deadline - performance.now())
        return work(Object.assign(statement(milliseconds, leftMs), { end }))
      },
    },
  )
  return Object.defineProperty(pool, 'usage', { get: () => queue.usage }) as TimedPool
}

/** A pool for a URL that nothing has parsed yet. */
export function createPool(url: string, max: number, purpose: string): TimedPool {
  return openPool(parseConnectionUrl(url), purpose, { max })
}

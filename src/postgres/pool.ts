import { type ConnectionOptions, parseConnectionUrl } from './connection-url.ts'
import { Lazy, type Statement } from './statement.ts'
import { type PoolOptions, type PoolUsage, StatementQueue } from './statement-queue.ts'

/** Sends statements. */
export type Pool = Statement & { end(options?: { timeout?: number }): Promise<void> }

/** A pool whose statements can also have another deadline than its own. */
export type TimedPool = Pool & {
  /** Runs work whose statements share one deadline. */
  within<Result>(milliseconds: number, work: (sql: Pool) => Promise<Result>): Promise<Result>
  /** Closes connections that have been idle since before this time (performance.now()). */
  doubt(since: number): void
  /** For metrics. */
  readonly usage: PoolUsage
}

/**
 * A pool of connections for statements. Nothing is connected before the first statement.
 *
 * @param purpose the end of the connections' application_name
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

/** Like openPool(), for a URL. */
export function createPool(url: string, max: number, purpose: string): TimedPool {
  return openPool(parseConnectionUrl(url), purpose, { max })
}

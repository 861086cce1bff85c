import { withTimeout } from '../limits/with-timeout.ts'
import { cancel } from './cancel.ts'
import type { Pool } from './pool.ts'

/**
 * Connections for statements that must not hang: a lock on a whole table is waited for before any timeout that the
 * statement sets, and a peer that fell silent answers nothing at all.
 */
export class TimedPool {
  readonly #open: () => Pool
  #pool: Pool

  constructor(open: () => Pool) {
    this.#open = open
    this.#pool = open()
  }

  /** Rejects as the work does, or after `milliseconds`: then its statements are cancelled and the pool replaced. */
  async within<Result>(milliseconds: number, work: (sql: Pool) => Promise<Result>): Promise<Result> {
    const pool = this.#pool
    const statements: PromiseLike<unknown>[] = []
    const recording = ((strings, ...values) => {
      const statement = pool(strings, ...values)
      statements.push(statement)
      return statement
    }) as Pool
    return withTimeout(milliseconds, work(recording), () => {
      // Left alone, a backend that waits for a lock would not notice that its client is gone.
      for (const statement of statements) cancel(statement)
      if (this.#pool === pool) this.#pool = this.#open()
      void pool.end({ timeout: 1 })
      return new Error(`no answer within ${milliseconds} ms`)
    })
  }

  /** @param options `timeout`: how long statements in flight may still take, in seconds */
  end({ timeout = 1 } = {}): Promise<void> {
    return this.#pool.end({ timeout })
  }
}

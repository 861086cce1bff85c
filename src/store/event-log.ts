import type { StreamHead } from '../event.ts'
import { asGlimpseError } from '../postgres/failure.ts'
import type { Pool } from '../postgres/pool.ts'
import { BatchLoader } from './batch-loader.ts'
import { readHeads, readPages, type StreamPage } from './streams.ts'

export const PAGE_EVENTS = 200

/**
 * Where some thousand connections open a second, four of them fell into a statement; the driver and Postgres pay for a
 * statement what ten rows cost them.
 */
const HEADS_PAUSE_MS = 2

/**
 * Reads streams, for all who ask at once. Every read rejects with a GlimpseError. How many statements run at a time
 * is bounded, so that ten thousand clients that resume at once don't take the database from the writers.
 */
export class EventLog {
  readonly #sql: Pool
  readonly #heads: BatchLoader<string, StreamHead>
  readonly #pages: BatchLoader<{ user: string; after: number; limit: number }, StreamPage>

  constructor(sql: Pool) {
    this.#sql = sql
    this.#heads = new BatchLoader((users) => readHeads(sql, users).catch(rejectAsGlimpseError), {
      maxRequests: 1000,
      concurrency: 2,
      pauseMs: HEADS_PAUSE_MS,
    })
    this.#pages = new BatchLoader((requests) => readPages(sql, requests), { maxRequests: 50, concurrency: 2 })
  }

  /** Reads that wait for their statement to be sent. */
  get waiting(): { readonly head: number; readonly page: number } {
    return { head: this.#heads.waiting, page: this.#pages.waiting }
  }

  head(user: string): Promise<StreamHead> {
    return this.#heads.ask(user)
  }

  heads(users: readonly string[]): Promise<StreamHead[]> {
    return readHeads(this.#sql, users).catch(rejectAsGlimpseError)
  }

  /** At most `limit` events after the seq `after`. */
  page(user: string, after: number, limit: number = PAGE_EVENTS): Promise<StreamPage> {
    return this.#pages.ask({ user, after, limit }).catch(rejectAsGlimpseError)
  }
}

function rejectAsGlimpseError(error: unknown): never {
  throw asGlimpseError(error)
}

import postgres from 'postgres'
import type { StreamHead, StreamPage } from '../event.ts'
import { asGlimpseError, failureKind } from '../postgres/failure.ts'
import type { Pool } from '../postgres/pool.ts'
import { BatchLoader } from './batch-loader.ts'
import { type AskedHead, type HeadRequest, type PageRequest, readHeads, readPages } from './streams.ts'

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
  readonly #onUnreadable: (error: unknown) => void
  readonly #heads: BatchLoader<HeadRequest, AskedHead>
  readonly #pages: BatchLoader<PageRequest, StreamPage>

  /** @param onUnreadable hears why the events of a stream cannot be read, though the server can */
  constructor(sql: Pool, onUnreadable: (error: unknown) => void = () => {}) {
    this.#sql = sql
    this.#onUnreadable = onUnreadable
    this.#heads = new BatchLoader((requests) => readHeads(sql, requests), {
      maxRequests: 1000,
      concurrency: 2,
      pauseMs: HEADS_PAUSE_MS,
      isolation: { concernsOne: saysSomethingOfTheRows, answer: (_, error) => Promise.reject(error) },
    })
    this.#pages = new BatchLoader((requests) => readPages(sql, requests), {
      maxRequests: 50,
      concurrency: 2,
      isolation: {
        concernsOne: saysSomethingOfTheRows,
        answer: async ({ user }, error) => {
          onUnreadable(error)
          const [head] = await readHeads(sql, [{ user, seq: -1 }])
          if (head === undefined) throw error
          return { ...head, seqs: [], times: [], bodies: [], complete: true }
        },
      },
    })
  }

  /** Reads that wait for their statement to be sent. */
  get waiting(): { readonly head: number; readonly page: number } {
    return { head: this.#heads.waiting, page: this.#pages.waiting }
  }

  /** @param seq the number whose event's time is asked for too; -1 for none */
  head(user: string, seq = -1): Promise<AskedHead> {
    return this.#heads.ask({ user, seq }).catch(rejectAsGlimpseError)
  }

  /** In order; undefined where that one stream cannot be read. */
  async heads(users: readonly string[]): Promise<(StreamHead | undefined)[]> {
    const requests = users.map((user) => ({ user, seq: -1 }))
    try {
      return await readHeads(this.#sql, requests)
    } catch (error) {
      if (!saysSomethingOfTheRows(error)) throw asGlimpseError(error)
      if (users.length === 1) {
        this.#onUnreadable(error)
        return [undefined]
      }
      const middle = users.length >> 1
      return [...(await this.heads(users.slice(0, middle))), ...(await this.heads(users.slice(middle)))]
    }
  }

  /**
   * The event at the seq `after` and at most `limit` after it, and at most 1 MiB of them. A stream that cannot be read,
   * because rows of it are damaged, comes as one that has lost all its events: that can be told, standing still can't.
   */
  page(user: string, after: number, limit: number = PAGE_EVENTS): Promise<StreamPage> {
    return this.#pages.ask({ user, after, limit }).catch(rejectAsGlimpseError)
  }
}

/** Damaged or impossible rows (SQLSTATE 22, 54, XX), as opposed to a server that can't serve now. */
function saysSomethingOfTheRows(error: unknown): boolean {
  if (!(error instanceof postgres.PostgresError)) return false
  return failureKind(error) === 'row' || /^(54|XX)/.test(error.code)
}

function rejectAsGlimpseError(error: unknown): never {
  throw asGlimpseError(error)
}

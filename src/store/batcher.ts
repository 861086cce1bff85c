import { GlimpseError } from '../errors.ts'
import { asGlimpseError } from './failure.ts'
import { type Entry, Lane } from './lane.ts'

export interface BatchOptions<Row, Result> {
  /** Rows of one key never stand twice in one statement. */
  readonly keyOf: (row: Row) => string
  /** Rows of one scope wait for the same locks: where one is blocked, the others are too. */
  readonly scopeOf: (row: Row) => string
  /** Whether two rows of one key ask for the very same thing, so that one write answers both. */
  readonly same: (a: Row, b: Row) => boolean
  /** What a caller is told whose row was written for somebody else's identical request a moment ago. */
  readonly repeated: (result: Result) => Result
  /**
   * Writes all rows in one committed statement, waiting for each lock no longer than `lockTimeoutMs`. One result a
   * row, in order; undefined where a concurrent writer came in between and the row is to be tried again.
   */
  readonly write: (rows: readonly Row[], lockTimeoutMs: number) => Promise<readonly (Result | undefined)[]>
  readonly maxRows?: number
  readonly maxWaiting?: number
  /** How long the statement that everybody shares waits for a lock. */
  readonly lockTimeoutMs?: number
  /** How long a blocked scope waits, apart from the others, before its callers are told to try again. */
  readonly blockedTimeoutMs?: number
  /** The most blocked scopes that wait inside Postgres at once, each on a connection of its own. */
  readonly maxBlockedScopes?: number
}

const DEFAULTS = {
  maxRows: 500,
  maxWaiting: 20_000,
  lockTimeoutMs: 100,
  blockedTimeoutMs: 2000,
  maxBlockedScopes: 4,
}

/**
 * Turns many small writes into few statements: what arrives while a statement is in flight goes together in the next
 * one. There is no tick: a lone request is written at once, and a crowd shares the commit and the NOTIFY lock that all
 * commits share.
 *
 * One row can neither fail nor hold its neighbours: a failing batch is split until the culprit stands alone, and rows
 * whose lock is held elsewhere move to a lane of their own, for a bounded time.
 */
export class Batcher<Row, Result> {
  readonly #options: Required<BatchOptions<Row, Result>>
  readonly #main: Lane<Row, Result>
  readonly #blocked = new Map<string, Lane<Row, Result>>()
  /** The newest entry of each key that is still unanswered, with its row: an identical request joins it. */
  readonly #unsettled = new Map<
    string,
    { readonly row: Row; readonly join: (caller: Caller<Result>) => void }
  >()
  #waiting = 0

  constructor(options: BatchOptions<Row, Result>) {
    this.#options = { ...DEFAULTS, ...options }
    const { write, maxRows, lockTimeoutMs } = this.#options
    this.#main = new Lane({
      write: (rows) => write(rows, lockTimeoutMs),
      maxRows,
      splitWhenBlocked: true,
      divert: (entry) => this.#divert(entry),
      onBlocked: (entries) => {
        for (const entry of entries) this.#setAside(entry)
      },
    })
  }

  /** Callers that wait for an answer. */
  get waiting(): number {
    return this.#waiting
  }

  /**
   * @returns the row's result, after its commit
   * @throws GlimpseError `overloaded` where too many wait, `busy` where the row stayed locked, `unavailable` where
   *   Postgres is; after `unavailable` the row may or may not be stored, and writing it again is harmless
   */
  submit(row: Row): Promise<Result> {
    if (this.#waiting >= this.#options.maxWaiting) {
      return Promise.reject(
        new GlimpseError('overloaded', { detail: 'Too many writes are waiting; try again.', retryAfter: 1 }),
      )
    }
    this.#waiting++
    return new Promise((resolve, reject) => {
      const caller: Caller<Result> = (outcome) => {
        this.#waiting--
        if ('result' in outcome) resolve(outcome.result)
        else reject(outcome.error)
      }
      const key = this.#options.keyOf(row)
      const twin = this.#unsettled.get(key)
      if (twin !== undefined && this.#options.same(twin.row, row)) twin.join(caller)
      else this.#enqueue(key, row, caller)
    })
  }

  #enqueue(key: string, row: Row, first: Caller<Result>): void {
    const joined: Caller<Result>[] = []
    const unsettled = { row, join: (caller: Caller<Result>) => void joined.push(caller) }
    this.#unsettled.set(key, unsettled)
    const entry: Entry<Row, Result> = {
      row,
      key,
      settle: (outcome) => {
        if (this.#unsettled.get(key) === unsettled) this.#unsettled.delete(key)
        first(outcome)
        if (joined.length === 0) return
        const shared = 'result' in outcome ? { result: this.#options.repeated(outcome.result) } : outcome
        for (const caller of joined) caller(shared)
      },
    }
    if (!this.#divert(entry)) this.#main.push(entry)
  }

  #divert(entry: Entry<Row, Result>): boolean {
    const lane = this.#blocked.get(this.#options.scopeOf(entry.row))
    lane?.push(entry)
    return lane !== undefined
  }

  #setAside(entry: Entry<Row, Result>): void {
    if (this.#divert(entry)) return
    if (this.#blocked.size >= this.#options.maxBlockedScopes) {
      entry.settle({ error: new GlimpseError('busy', { retryAfter: 1 }) })
      return
    }
    const { write, maxRows, blockedTimeoutMs, scopeOf } = this.#options
    const scope = scopeOf(entry.row)
    const lane = new Lane<Row, Result>({
      write: (rows) => write(rows, blockedTimeoutMs),
      maxRows,
      splitWhenBlocked: false,
      onBlocked: (entries, error) => {
        for (const blocked of entries) blocked.settle({ error: asGlimpseError(error) })
      },
      onIdle: () => this.#blocked.delete(scope),
    })
    this.#blocked.set(scope, lane)
    lane.push(entry)
  }
}

type Caller<Result> = (outcome: { readonly result: Result } | { readonly error: GlimpseError }) => void

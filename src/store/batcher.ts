import { GlimpseError } from '../errors.ts'
import { asGlimpseError } from './failure.ts'
import type { LockPolicy } from './held.ts'
import { type Entry, Lane, type Written } from './lane.ts'

export interface BatchOptions<Row, Result> {
  /** Rows of one key never stand twice in one statement. */
  readonly keyOf: (row: Row) => string
  /** Whether two rows of one key ask for the very same thing, so that one write answers both. */
  readonly same: (a: Row, b: Row) => boolean
  /** What a caller is told whose row was written for somebody else's identical request a moment ago. */
  readonly repeated: (result: Result) => Result
  /**
   * Writes rows in one statement that is committed when this resolves; one outcome a row, in order. The signal says
   * that nobody waits for it any more, so that its connection is worth having back.
   */
  readonly write: (
    rows: readonly Row[],
    locks: LockPolicy,
    givenUp: AbortSignal,
  ) => Promise<readonly Written<Result>[]>
  readonly maxRows?: number
  readonly maxWaiting?: number
  /** A row was refused because so many wait. */
  readonly onOverload?: () => void
  /** How long the statement that everybody shares waits for a lock. */
  readonly lockTimeoutMs?: number
  /** How long rows wait for a lock apart from the others before their callers are told to try again. */
  readonly blockedTimeoutMs?: number
  /** The most scopes that wait inside Postgres at once, each on a connection of its own. */
  readonly maxBlockedScopes?: number
  /** The most rows that wait for one of them: a locked author's crowd must not use up everybody's places. */
  readonly maxBlockedRows?: number
  /** After this a statement is given up: whoever still waits is told that the row may or may not be stored. */
  readonly statementTimeoutMs?: number
}

const DEFAULTS = {
  maxRows: 500,
  maxWaiting: 20_000,
  onOverload: () => {},
  lockTimeoutMs: 30,
  blockedTimeoutMs: 2000,
  maxBlockedScopes: 4,
  maxBlockedRows: 1000,
  statementTimeoutMs: 10_000,
}

/** After meeting a lock, how long statements look for held ones before they write, instead of waiting for them. */
const WARY_MS = 5000

type Caller<Result> = (outcome: { readonly result: Result } | { readonly error: GlimpseError }) => void

/**
 * Turns many small writes into few statements: what arrives while a statement is in flight goes together in the next
 * one. There is no tick: a lone request is written at once, and a crowd shares the commit and the NOTIFY lock that all
 * commits share.
 *
 * One row can neither fail nor hold its neighbours. A batch that fails is split until the culprit stands alone. A batch
 * that waits in vain for a lock is tried again, passing over the rows whose author's stream is held; those wait in a
 * lane of their own, for a bounded time, and until nothing is held any more no shared statement waits for such a lock.
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
  #waryUntil = 0

  constructor(options: BatchOptions<Row, Result>) {
    this.#options = { ...DEFAULTS, ...options }
    const { maxRows, lockTimeoutMs, blockedTimeoutMs } = this.#options
    this.#main = new Lane({
      write: (rows) => this.#write(rows, { timeoutMs: lockTimeoutMs, passHeld: this.#wary }),
      maxRows,
      maxAgeMs: 2 * blockedTimeoutMs,
      splitWhenBlocked: true,
      onContention: () => {
        const first = !this.#wary
        this.#beWary()
        return first
      },
      onHeld: (entry, scope) => {
        this.#beWary()
        return this.#setAside(entry, scope)
      },
      // Not the author's stream but something of the row's own is held, such as the same view in an open transaction.
      onBlocked: (entries, error) => {
        for (const entry of entries) {
          if (!this.#setAside(entry, entry.key)) entry.settle({ error: asGlimpseError(error) })
        }
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
      this.#options.onOverload()
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
      else this.#main.push(this.#entry(key, row, caller))
    })
  }

  #entry(key: string, row: Row, first: Caller<Result>): Entry<Row, Result> {
    const joined: Caller<Result>[] = []
    const unsettled = { row, join: (caller: Caller<Result>) => void joined.push(caller) }
    this.#unsettled.set(key, unsettled)
    return {
      row,
      key,
      queuedAt: performance.now(),
      settle: (outcome) => {
        if (this.#unsettled.get(key) === unsettled) this.#unsettled.delete(key)
        first(outcome)
        if (joined.length === 0) return
        const shared = 'result' in outcome ? { result: this.#options.repeated(outcome.result) } : outcome
        for (const caller of joined) caller(shared)
      },
    }
  }

  get #wary(): boolean {
    return performance.now() < this.#waryUntil
  }

  #beWary(): void {
    this.#waryUntil = performance.now() + WARY_MS
  }

  /**
   * The statement, or `unavailable` when it takes too long. A lock on a whole table is waited for while the statement is
   * planned, before any timeout it sets, and a connection to a silent peer answers nothing at all.
   */
  #write(rows: readonly Row[], locks: LockPolicy): Promise<readonly Written<Result>[]> {
    const { write, statementTimeoutMs } = this.#options
    const givenUp = new AbortController()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        givenUp.abort()
        reject(new Error(`the statement was given up after ${statementTimeoutMs} ms`))
      }, statementTimeoutMs)
      write(rows, locks, givenUp.signal)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer))
    })
  }

  /** Moves an entry to its scope's lane. Where too many scopes wait, it stays with the others until its time is up. */
  #setAside(entry: Entry<Row, Result>, scope: string): boolean {
    const { blockedTimeoutMs, maxBlockedScopes, maxBlockedRows } = this.#options
    const lane =
      this.#blocked.get(scope) ?? (this.#blocked.size < maxBlockedScopes ? this.#openLane(scope) : undefined)
    if (lane !== undefined && lane.waiting < maxBlockedRows) {
      lane.push(entry)
      return true
    }
    if (lane === undefined && performance.now() - entry.queuedAt < blockedTimeoutMs) return false
    entry.settle({ error: new GlimpseError('busy', { retryAfter: 1 }) })
    return true
  }

  #openLane(scope: string): Lane<Row, Result> {
    const { maxRows, blockedTimeoutMs } = this.#options
    const lane = new Lane<Row, Result>({
      write: (rows) => this.#write(rows, { timeoutMs: blockedTimeoutMs, passHeld: false }),
      maxRows,
      maxAgeMs: 2 * blockedTimeoutMs,
      splitWhenBlocked: false,
      onBlocked: (entries, error) => {
        for (const entry of entries) entry.settle({ error: asGlimpseError(error) })
      },
      onIdle: () => this.#blocked.delete(scope),
    })
    this.#blocked.set(scope, lane)
    return lane
  }
}

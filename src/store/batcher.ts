import { GlimpseError } from '../errors.ts'
import { asGlimpseError } from '../postgres/failure.ts'
import type { LockPolicy } from '../postgres/lock-timeout.ts'
import { type Caller, type Entry, type Outcome, WriteQueue, type Written } from './write-queue.ts'

export interface BatchOptions<Row, Result> {
  /** Rows of one key never stand twice in one statement. */
  readonly keyOf: (row: Row) => string
  /** Whether two rows of one key ask for the very same thing, so that one write answers both. */
  readonly same: (a: Row, b: Row) => boolean
  /** What a caller is told whose row was written for somebody else's identical request a moment ago. */
  readonly repeated: (result: Result) => Result
  /**
   * Writes rows in one statement that is committed when this resolves; one outcome a row, in order. It must end at some
   * time: a lock on a whole table is waited for before any timeout that the statement sets, and a connection to a
   * silent peer answers nothing at all. Statements that are not `isolated` follow each other on one connection.
   */
  readonly write: (rows: readonly Row[], locks: LockPolicy) => Promise<readonly Written<Result>[]>
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
}

const DEFAULTS = {
  maxRows: 500,
  maxWaiting: 20_000,
  onOverload: () => {},
  lockTimeoutMs: 30,
  blockedTimeoutMs: 2000,
  maxBlockedScopes: 4,
  maxBlockedRows: 1000,
}

/** After meeting a lock, how long statements look for held ones before they write, instead of waiting for them. */
const SKIP_LOCKED_MS = 5000

/**
 * Turns many small writes into few statements: what arrives while a statement is in flight goes together in the next
 * one. There is no tick: a lone request is written at once, and a crowd shares the commit and the NOTIFY lock that all
 * commits share.
 *
 * One row can neither fail nor hold its neighbours. A batch that fails is split until the culprit stands alone. A batch
 * that waits in vain for a lock is tried again, passing over the rows whose author's stream is held; those wait in a
 * queue of their own, for a bounded time, and until nothing is held any more no shared statement waits for such a lock.
 */
export class Batcher<Row, Result> {
  readonly #options: Required<BatchOptions<Row, Result>>
  readonly #main: WriteQueue<Row, Result>
  readonly #blocked = new Map<string, WriteQueue<Row, Result>>()
  /** The newest entry of each key that is still unanswered: an identical request joins it. */
  readonly #unsettled = new Map<string, Entry<Row, Result>>()
  #waiting = 0
  #skipLockedUntil = 0

  constructor(options: BatchOptions<Row, Result>) {
    this.#options = { ...DEFAULTS, ...options }
    const { write, maxRows, lockTimeoutMs, blockedTimeoutMs } = this.#options
    this.#main = new WriteQueue({
      write: (rows) =>
        write(rows, { timeoutMs: lockTimeoutMs, skipLocked: this.#skipsLocked, isolated: false }),
      settle: (entry, outcome) => this.#settle(entry, outcome),
      pipelined: true,
      maxRows,
      maxAgeMs: 2 * blockedTimeoutMs,
      splitWhenBlocked: true,
      onContention: () => {
        const first = !this.#skipsLocked
        this.#skipLocked()
        return first
      },
      onHeld: (entry, scope) => {
        this.#skipLocked()
        return this.#isolate(entry, scope)
      },
      // Not the author's stream but something of the row's own is held, such as the same view in an open transaction.
      onBlocked: (entries, error) => {
        for (const entry of entries) {
          if (!this.#isolate(entry, entry.key)) this.#settle(entry, { error: asGlimpseError(error) })
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
      const caller: Caller<Result> = { resolve, reject }
      const key = this.#options.keyOf(row)
      const twin = this.#unsettled.get(key)
      if (twin !== undefined && this.#options.same(twin.row, row)) {
        twin.callers.push(caller)
        return
      }
      const entry: Entry<Row, Result> = { row, key, queuedAt: performance.now(), callers: [caller] }
      this.#unsettled.set(key, entry)
      this.#main.push(entry)
    })
  }

  /** The first caller's write it was; the others asked for the same meanwhile. */
  #settle(entry: Entry<Row, Result>, outcome: Outcome<Result>): void {
    const { key, callers } = entry
    if (this.#unsettled.get(key) === entry) this.#unsettled.delete(key)
    this.#waiting -= callers.length
    callers.forEach((caller, i) => {
      if ('error' in outcome) caller.reject(outcome.error)
      else caller.resolve(i === 0 ? outcome.result : this.#options.repeated(outcome.result))
    })
  }

  get #skipsLocked(): boolean {
    return performance.now() < this.#skipLockedUntil
  }

  #skipLocked(): void {
    this.#skipLockedUntil = performance.now() + SKIP_LOCKED_MS
  }

  /** Moves an entry to its scope's queue. Where too many scopes wait, it stays with the others until its time is up. */
  #isolate(entry: Entry<Row, Result>, scope: string): boolean {
    const { blockedTimeoutMs, maxBlockedScopes, maxBlockedRows } = this.#options
    const queue =
      this.#blocked.get(scope) ?? (this.#blocked.size < maxBlockedScopes ? this.#openQueue(scope) : undefined)
    if (queue !== undefined && queue.waiting < maxBlockedRows) {
      queue.push(entry)
      return true
    }
    if (queue === undefined && performance.now() - entry.queuedAt < blockedTimeoutMs) return false
    this.#settle(entry, { error: new GlimpseError('busy', { retryAfter: 1 }) })
    return true
  }

  #openQueue(scope: string): WriteQueue<Row, Result> {
    const { write, maxRows, blockedTimeoutMs } = this.#options
    const queue = new WriteQueue<Row, Result>({
      write: (rows) => write(rows, { timeoutMs: blockedTimeoutMs, skipLocked: false, isolated: true }),
      settle: (entry, outcome) => this.#settle(entry, outcome),
      pipelined: false,
      maxRows,
      maxAgeMs: 2 * blockedTimeoutMs,
      splitWhenBlocked: false,
      onBlocked: (entries, error) => {
        for (const entry of entries) this.#settle(entry, { error: asGlimpseError(error) })
      },
      onIdle: () => this.#blocked.delete(scope),
    })
    this.#blocked.set(scope, queue)
    return queue
  }
}

import { GlimpseError } from '../errors.ts'
import { asGlimpseError } from '../postgres/failure.ts'
import type { LockPolicy } from '../postgres/lock-timeout.ts'
import { type Caller, type Entry, type Outcome, WriteQueue, type Written } from './write-queue.ts'

export interface BatchOptions<Row, Result> {
  /** A statement has at most one row of each key. */
  readonly keyOf: (row: Row) => string
  /** Whether two rows of one key are the same request, so that one write answers both. */
  readonly same: (a: Row, b: Row) => boolean
  /** The result for a caller whose identical request was written by another caller a moment ago. */
  readonly repeated: (result: Result) => Result
  /**
   * Writes rows in one statement that is committed when this resolves; one outcome per row, in order. It needs a deadline
   * of its own: the statement's lock timeout does not bound a wait for a table lock or a silent connection. Statements that
   * are not `isolated` follow each other on one connection.
   */
  readonly write: (rows: readonly Row[], locks: LockPolicy) => Promise<readonly Written<Result>[]>
  readonly maxRows?: number
  readonly maxWaiting?: number
  /** Called when a row is refused because too many wait. */
  readonly onOverload?: () => void
  /** How long a shared statement waits for a lock. */
  readonly lockTimeoutMs?: number
  /** How long isolated rows wait for a lock before their callers get `busy`. */
  readonly blockedTimeoutMs?: number
  /** How long a row may take in all, before its callers are told that it may or may not be stored. */
  readonly maxWaitMs?: number
  /** The most scopes that are isolated at once, each on a connection of its own. */
  readonly maxBlockedScopes?: number
  /** The most rows that wait for one scope, so that the views of one locked author do not fill the whole queue. */
  readonly maxBlockedRows?: number
}

const DEFAULTS = {
  maxRows: 500,
  maxWaiting: 20_000,
  onOverload: () => {},
  lockTimeoutMs: 30,
  blockedTimeoutMs: 2000,
  maxWaitMs: 10_000,
  maxBlockedScopes: 4,
  maxBlockedRows: 1000,
}

/** How long skip-locked mode lasts after the last lock: statements pass over held rows instead of waiting for them. */
const SKIP_LOCKED_MS = 5000

/**
 * Turns many small writes into few statements: requests that arrive while a statement is in flight share the next one.
 * There is no tick: a lone request is written at once, and a crowd shares one commit and the NOTIFY lock of all commits.
 *
 * One row neither fails nor delays the others. A batch that fails is halved until the bad row is alone. A batch that cannot
 * get a lock is repeated in skip-locked mode, which passes over the rows whose author's stream is locked. Those rows are
 * isolated: they wait for a bounded time in a queue of their own, one per scope (the author, or the row's key).
 */
export class Batcher<Row, Result> {
  readonly #options: Required<BatchOptions<Row, Result>>
  readonly #main: WriteQueue<Row, Result>
  readonly #blocked = new Map<string, WriteQueue<Row, Result>>()
  /** The newest unanswered entry of each key: an identical request joins it. */
  readonly #unsettled = new Map<string, Entry<Row, Result>>()
  #waiting = 0
  #skipLockedUntil = 0

  constructor(options: BatchOptions<Row, Result>) {
    this.#options = { ...DEFAULTS, ...options }
    const { write, maxRows, lockTimeoutMs, blockedTimeoutMs, maxWaitMs } = this.#options
    this.#main = new WriteQueue({
      write: (rows) =>
        write(rows, { timeoutMs: lockTimeoutMs, skipLocked: this.#skipsLocked, isolated: false }),
      settle: (entry, outcome) => this.#settle(entry, outcome),
      pipelined: true,
      maxRows,
      maxAgeMs: 2 * blockedTimeoutMs,
      maxWaitMs,
      late: () =>
        new GlimpseError('unavailable', {
          detail: 'The database did not answer in time; send it again.',
          retryAfter: 1,
        }),
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
      // The lock is not on the author's stream but on the row itself, such as the same view in an open transaction.
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
   * @throws GlimpseError `overloaded` if too many wait, `busy` if the row stayed locked, `unavailable` if Postgres is not
   *   available; then the row may or may not be stored, and writing it again is harmless
   */
  submit(row: Row): Promise<Result> {
    const key = this.#options.keyOf(row)
    return this.join(row, key) ?? this.#wait((caller) => this.#push(row, key, caller))
  }

  /**
   * Waits for an identical request of another caller that is not answered yet.
   *
   * @returns as `submit`; undefined where there is no such request
   */
  join(row: Row, key = this.#options.keyOf(row)): Promise<Result> | undefined {
    const twin = this.#unsettled.get(key)
    if (twin === undefined || !this.#options.same(twin.row, row)) return undefined
    return this.#wait((caller) => void twin.callers.push(caller))
  }

  #wait(begin: (caller: Caller<Result>) => void): Promise<Result> {
    if (this.#waiting >= this.#options.maxWaiting) {
      this.#options.onOverload()
      return Promise.reject(
        new GlimpseError('overloaded', { detail: 'Too many writes are waiting; try again.', retryAfter: 1 }),
      )
    }
    this.#waiting++
    return new Promise((resolve, reject) => begin({ resolve, reject }))
  }

  #push(row: Row, key: string, caller: Caller<Result>): void {
    const entry: Entry<Row, Result> = {
      row,
      key,
      queuedAt: performance.now(),
      callers: [caller],
      settled: false,
    }
    this.#unsettled.set(key, entry)
    this.#main.push(entry)
  }

  /** The first caller gets the result; the others, who asked for the same meanwhile, get it as repeated. */
  #settle(entry: Entry<Row, Result>, outcome: Outcome<Result>): void {
    if (entry.settled) return
    entry.settled = true
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

  /** Moves an entry to its scope's queue. @returns false if too many scopes wait: it stays in the main queue until its time is up */
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
    const { write, maxRows, blockedTimeoutMs, maxWaitMs } = this.#options
    const queue = new WriteQueue<Row, Result>({
      write: (rows) => write(rows, { timeoutMs: blockedTimeoutMs, skipLocked: false, isolated: true }),
      settle: (entry, outcome) => this.#settle(entry, outcome),
      pipelined: false,
      maxRows,
      maxAgeMs: 2 * blockedTimeoutMs,
      maxWaitMs: Math.min(2 * blockedTimeoutMs, maxWaitMs),
      late: () => new GlimpseError('busy', { retryAfter: 1 }),
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

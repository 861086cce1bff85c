import { setTimeout as sleep } from 'node:timers/promises'
import { GlimpseError } from '../errors.ts'
import { asGlimpseError, failureKind } from '../postgres/failure.ts'

/** One row that waits to be written, with its callers. */
export interface Entry<Row, Result> {
  readonly row: Row
  readonly key: string
  /** On the clock of performance.now(). */
  readonly queuedAt: number
  readonly callers: Caller<Result>[]
  /** Whether its callers have been told. */
  settled: boolean
}

export interface Caller<Result> {
  readonly resolve: (result: Result) => void
  readonly reject: (error: GlimpseError) => void
}

export type Outcome<Result> = { readonly result: Result } | { readonly error: GlimpseError }

/**
 * The outcome of a row in a committed statement: its result; `again` if a concurrent writer came in between; or held: it
 * was passed over, because somebody holds a lock that it needs, on this scope.
 */
export type Written<Result> = { readonly result: Result } | 'again' | { readonly heldScope: string }

export interface WriteQueueOptions<Row, Result> {
  /** Writes rows in one statement that is committed when this resolves; one outcome a row, in order. */
  readonly write: (rows: readonly Row[]) => Promise<readonly Written<Result>[]>
  /** Answers an entry's callers. */
  readonly settle: (entry: Entry<Row, Result>, outcome: Outcome<Result>) => void
  readonly maxRows: number
  /** Whether a second statement may follow the one in flight, on the same connection, where they cannot block each other. */
  readonly pipelined: boolean
  /** A statement could not get a lock. @returns true to try the same batch again at once */
  readonly onContention?: () => boolean
  /** Takes over an entry whose scope is locked. @returns false if it cannot; then the entry waits here */
  readonly onHeld?: (entry: Entry<Row, Result>, scope: string) => boolean
  /** Takes over entries that could not get a lock in time. */
  readonly onBlocked: (entries: readonly Entry<Row, Result>[], error: unknown) => void
  /** Whether a batch that could not get a lock is halved until the blocked row is alone, so that the others are written. */
  readonly splitWhenBlocked: boolean
  /** Rows older than this get `busy` instead of a try in a smaller batch. */
  readonly maxAgeMs: number
  /**
   * Rows older than this are answered `late`, whether they wait or are in flight: waiting behind a statement that takes its
   * whole time, and then being in one, would take twice that. So it is with a lock: a statement that waits for a row in turn
   * behind another waits twice, each time for its whole lock timeout.
   */
  readonly maxWaitMs: number
  readonly late: () => GlimpseError
  readonly onIdle?: () => void
}

/** Pause after a statement that settled nothing: the lock that it met will not be gone at once. */
const PAUSE_MS = 10

/** One that Postgres carries out and one that it finds waiting when that is done: a third would only be smaller. */
const MAX_IN_FLIGHT = 2
/** How often a batch is tried again because a story was deleted under it; each time the next statement sees it gone. */
const VANISHED_TRIES = 3
/** How often the queue looks for rows that have waited too long. */
const EXPIRE_INTERVAL_MS = 500

/**
 * Rows that wait to be written, and the statements that write them. What arrives while a statement is in flight goes
 * together in the next one.
 *
 * ```
 *        push                     as many wait as are in flight (pipelined only)
 * idle ────────▶ one in flight ───────────────────────────────────────────────▶ two in flight
 *   ◀──────────────┘       ◀──────────────────────────────────────────────────────┘
 *     nothing waits                  one ended, fewer wait
 * ```
 *
 * A row:
 *
 * ```
 * waiting ─▶ in flight ─┬─ written ────────────────────────────────────▶ settled: its result
 *    ▲                  ├─ again: another writer came in between ──────▶ waiting
 *    │                  ├─ held: somebody has a lock that it needs ────▶ onHeld takes it, or waiting
 *    │                  └─ the statement failed:
 *    │                       vanished ────────────▶ the same batch, three times at most, then as row
 *    │                       contention ──────────▶ the same batch, if onContention says so; else halved;
 *    │                                              what is not halved any more goes to onBlocked
 *    │                       row ─────────────────▶ halved; the row that fails alone is settled: its error
 *    │                       unavailable, fault ──▶ all of the batch settled: the error
 *    └ where nothing was settled: after a pause
 * ```
 *
 * A row that is not settled in time is settled then, wherever it is: late. What its statement finds out later is told
 * to nobody.
 */
export class WriteQueue<Row, Result> {
  readonly #options: WriteQueueOptions<Row, Result>
  #queue: Entry<Row, Result>[] = []
  #inFlight = 0
  /** Keys of the rows in flight: rows of one key are written one after the other, in order. */
  readonly #keys = new Set<string>()
  readonly #batches = new Set<readonly Entry<Row, Result>[]>()
  #watches = false

  constructor(options: WriteQueueOptions<Row, Result>) {
    this.#options = options
  }

  /** Rows that wait for the next statement. */
  get waiting(): number {
    return this.#queue.length
  }

  push(entry: Entry<Row, Result>): void {
    this.#queue.push(entry)
    if (!this.#isWorthAnother(this.#inFlight)) return
    this.#inFlight++
    this.#watch()
    // Other requests of this turn of the event loop are still being parsed: they join.
    setImmediate(() => void this.#loop())
  }

  /**
   * Whether to send another statement while `inFlight` are in flight. A second one needs as many rows as are in flight: then
   * few callers never wait for an answer's way to this process, and statements under load stay large, as small ones cost
   * more per row than the pause of Postgres between two.
   */
  #isWorthAnother(inFlight: number): boolean {
    if (inFlight === 0) return this.#queue.length > 0
    if (!this.#options.pipelined || inFlight >= MAX_IN_FLIGHT) return false
    // No key is in flight while a loop is about to take its rows, and while it pauses.
    return this.#keys.size > 0 && this.#queue.length >= this.#keys.size
  }

  async #loop(): Promise<void> {
    let batch = this.#take()
    // It is empty if all waiting rows have a key in flight: the loop of that statement takes them.
    while (batch.length > 0) {
      this.#batches.add(batch)
      const progress = await this.#run(batch)
      this.#batches.delete(batch)
      for (const { key } of batch) this.#keys.delete(key)
      if (!progress) await sleep(PAUSE_MS)
      batch = this.#isWorthAnother(this.#inFlight - 1) ? this.#take() : []
    }
    this.#inFlight--
    if (this.#inFlight === 0) this.#options.onIdle?.()
  }

  #watch(): void {
    if (this.#watches || this.#inFlight === 0) return
    this.#watches = true
    setTimeout(() => {
      this.#watches = false
      this.#expire()
      this.#watch()
    }, EXPIRE_INTERVAL_MS).unref()
  }

  #expire(): void {
    const oldest = performance.now() - this.#options.maxWaitMs
    for (const entry of [...this.#queue, ...[...this.#batches].flat()]) {
      if (entry.queuedAt < oldest && !entry.settled)
        this.#options.settle(entry, { error: this.#options.late() })
    }
    this.#queue = this.#queue.filter(({ settled }) => !settled)
  }

  /** At most `maxRows`, each key once (a key twice in one DO UPDATE is error 21000); the rest keeps its order. */
  #take(): Entry<Row, Result>[] {
    const batch: Entry<Row, Result>[] = []
    const later: Entry<Row, Result>[] = []
    for (const entry of this.#queue) {
      if (batch.length >= this.#options.maxRows || this.#keys.has(entry.key)) {
        later.push(entry)
        continue
      }
      this.#keys.add(entry.key)
      batch.push(entry)
    }
    this.#queue = later
    return batch
  }

  /** @returns whether any entry left the queue */
  async #run(batch: readonly Entry<Row, Result>[], triesLeft = VANISHED_TRIES): Promise<boolean> {
    const { write, settle, splitWhenBlocked, onBlocked, onContention } = this.#options
    try {
      const written = await write(batch.map((entry) => entry.row))
      const waiting = batch.filter((entry, i) => !this.#finish(entry, written[i] ?? 'again'))
      this.#queue.push(...waiting)
      return waiting.length < batch.length
    } catch (error) {
      const kind = failureKind(error)
      const alone = batch.length === 1
      if (kind === 'contention' && onContention?.() === true) return this.#run(batch)
      if (kind === 'vanished' && triesLeft > 0) return this.#run(batch, triesLeft - 1)
      if (kind === 'contention' && (alone || !splitWhenBlocked)) {
        onBlocked(batch, error)
        return true
      }
      if (kind === 'unavailable' || kind === 'fault' || alone) {
        for (const entry of batch) settle(entry, { error: asGlimpseError(error) })
        return true
      }
      const middle = batch.length >> 1
      const first = await this.#runInTime(batch.slice(0, middle))
      const second = await this.#runInTime(batch.slice(middle))
      return first || second
    }
  }

  /** If every row of a batch is blocked, halving takes one lock timeout per row: rows that are too old get `busy`. */
  async #runInTime(batch: readonly Entry<Row, Result>[]): Promise<boolean> {
    const oldest = performance.now() - this.#options.maxAgeMs
    const young = batch.filter((entry) => entry.queuedAt >= oldest)
    for (const entry of batch) {
      if (entry.queuedAt < oldest)
        this.#options.settle(entry, { error: new GlimpseError('busy', { retryAfter: 1 }) })
    }
    const progress = young.length > 0 && (await this.#run(young))
    return progress || young.length < batch.length
  }

  #finish(entry: Entry<Row, Result>, written: Written<Result>): boolean {
    if (entry.settled) return true
    if (written === 'again') return false
    if ('heldScope' in written) return this.#options.onHeld?.(entry, written.heldScope) ?? false
    this.#options.settle(entry, written)
    return true
  }
}

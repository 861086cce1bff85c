import { setTimeout as sleep } from 'node:timers/promises'
import { GlimpseError } from '../errors.ts'
import { asGlimpseError, failureKind } from './failure.ts'

/** One row that waits to be written, and how everybody who waits for it is told. */
export interface Entry<Row, Result> {
  readonly row: Row
  readonly key: string
  /** On the clock of performance.now(). */
  readonly queuedAt: number
  readonly settle: (outcome: { readonly result: Result } | { readonly error: GlimpseError }) => void
}

/**
 * What became of a row in a statement that was committed: its result; `again` where a concurrent writer came in
 * between; or passed over, because a lock that it needs is held, by which scope.
 */
export type Written<Result> = { readonly result: Result } | 'again' | { readonly heldScope: string }

export interface LaneOptions<Row, Result> {
  /** Writes rows in one statement that is committed when this resolves; one outcome a row, in order. */
  readonly write: (rows: readonly Row[]) => Promise<readonly Written<Result>[]>
  readonly maxRows: number
  /** A statement met a lock. True: the same batch is worth another try at once. */
  readonly onContention?: () => boolean
  /** Takes over an entry whose scope's lock is held; false where it can't, and the entry waits here. */
  readonly onHeld?: (entry: Entry<Row, Result>, scope: string) => boolean
  /** The entries waited for a lock in vain. */
  readonly onBlocked: (entries: readonly Entry<Row, Result>[], error: unknown) => void
  /** Whether a batch that met a lock is halved until the blocked row stands alone, to let the others go. */
  readonly splitWhenBlocked: boolean
  /** Rows older than this are answered busy rather than tried in a smaller batch. */
  readonly maxAgeMs: number
  readonly onIdle?: () => void
}

/** After a statement that settled nothing: what holds its rows up won't be gone within a loop's turn. */
const PAUSE_MS = 10

/** A queue with one statement in flight: what arrives meanwhile goes together in the next. */
export class Lane<Row, Result> {
  readonly #options: LaneOptions<Row, Result>
  #queue: Entry<Row, Result>[] = []
  #running = false

  constructor(options: LaneOptions<Row, Result>) {
    this.#options = options
  }

  /** Rows that wait for the next statement. */
  get waiting(): number {
    return this.#queue.length
  }

  push(entry: Entry<Row, Result>): void {
    this.#queue.push(entry)
    if (this.#running) return
    this.#running = true
    // Requests that came in the same turn of the event loop are still being parsed: let them join.
    setImmediate(() => void this.#loop())
  }

  async #loop(): Promise<void> {
    while (this.#queue.length > 0) {
      const progress = await this.#run(this.#take())
      if (!progress) await sleep(PAUSE_MS)
    }
    this.#running = false
    this.#options.onIdle?.()
  }

  /** At most `maxRows`, each key once (a key twice in one DO UPDATE is error 21000); the rest keeps its order. */
  #take(): Entry<Row, Result>[] {
    const batch = new Map<string, Entry<Row, Result>>()
    const later: Entry<Row, Result>[] = []
    for (const entry of this.#queue) {
      if (batch.size >= this.#options.maxRows || batch.has(entry.key)) later.push(entry)
      else batch.set(entry.key, entry)
    }
    this.#queue = later
    return [...batch.values()]
  }

  /** @returns whether any entry left the lane */
  async #run(batch: readonly Entry<Row, Result>[]): Promise<boolean> {
    const { write, splitWhenBlocked, onBlocked, onContention } = this.#options
    try {
      const written = await write(batch.map((entry) => entry.row))
      const waiting = batch.filter((entry, i) => !this.#finish(entry, written[i] ?? 'again'))
      this.#queue.push(...waiting)
      return waiting.length < batch.length
    } catch (error) {
      const kind = failureKind(error)
      const alone = batch.length === 1
      if (kind === 'contention' && onContention?.() === true) return this.#run(batch)
      if (kind === 'contention' && (alone || !splitWhenBlocked)) {
        onBlocked(batch, error)
        return true
      }
      if (kind === 'server' || alone) {
        for (const entry of batch) entry.settle({ error: asGlimpseError(error) })
        return true
      }
      const middle = batch.length >> 1
      const first = await this.#runInTime(batch.slice(0, middle))
      const second = await this.#runInTime(batch.slice(middle))
      return first || second
    }
  }

  /** Where every row of a batch has a lock of its own, halving would take a lock timeout for each. */
  async #runInTime(batch: readonly Entry<Row, Result>[]): Promise<boolean> {
    const oldest = performance.now() - this.#options.maxAgeMs
    const inTime = batch.filter((entry) => entry.queuedAt >= oldest)
    for (const entry of batch) {
      if (entry.queuedAt < oldest) entry.settle({ error: new GlimpseError('busy', { retryAfter: 1 }) })
    }
    const progress = inTime.length > 0 && (await this.#run(inTime))
    return progress || inTime.length < batch.length
  }

  #finish(entry: Entry<Row, Result>, written: Written<Result>): boolean {
    if (written === 'again') return false
    if ('heldScope' in written) return this.#options.onHeld?.(entry, written.heldScope) ?? false
    entry.settle(written)
    return true
  }
}

import type { GlimpseError } from '../errors.ts'
import { asGlimpseError, failureKind } from './failure.ts'

/** One row that waits to be written, and everybody who is to hear of it. */
export interface Entry<Row, Result> {
  readonly row: Row
  readonly key: string
  readonly settle: (outcome: { readonly result: Result } | { readonly error: GlimpseError }) => void
}

export interface LaneOptions<Row, Result> {
  /** One committed statement; one result a row, in order, undefined where the row is to be tried again. */
  readonly write: (rows: readonly Row[]) => Promise<readonly (Result | undefined)[]>
  readonly maxRows: number
  /** Asked before each statement: true where the entry was taken over by another lane. */
  readonly divert?: (entry: Entry<Row, Result>) => boolean
  /** Rows that waited in vain for a lock. Absent in `split`: a batch is halved until the blocked row stands alone. */
  readonly onBlocked: (entries: readonly Entry<Row, Result>[], error: unknown) => void
  /** Whether a batch that met a lock is halved, to let those go that hold nothing up. */
  readonly splitWhenBlocked: boolean
  readonly onIdle?: () => void
}

/** A queue with one statement in flight: what arrives meanwhile goes together in the next. */
export class Lane<Row, Result> {
  readonly #options: LaneOptions<Row, Result>
  #queue: Entry<Row, Result>[] = []
  #running = false

  constructor(options: LaneOptions<Row, Result>) {
    this.#options = options
  }

  push(entry: Entry<Row, Result>): void {
    this.#queue.push(entry)
    if (this.#running) return
    this.#running = true
    // Requests that came in the same turn of the event loop are still being parsed: let them join.
    setImmediate(() => void this.#loop())
  }

  async #loop(): Promise<void> {
    while (this.#queue.length > 0) await this.#run(this.#take())
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

  async #run(taken: readonly Entry<Row, Result>[]): Promise<void> {
    const { divert, write, splitWhenBlocked, onBlocked } = this.#options
    const batch = divert === undefined ? taken : taken.filter((entry) => !divert(entry))
    if (batch.length === 0) return
    try {
      const results = await write(batch.map((entry) => entry.row))
      batch.forEach((entry, i) => {
        const result = results[i]
        if (result === undefined) this.#queue.push(entry)
        else entry.settle({ result })
      })
    } catch (error) {
      const kind = failureKind(error)
      const alone = batch.length === 1
      if (kind === 'contention' && (alone || !splitWhenBlocked)) onBlocked(batch, error)
      else if (kind === 'server' || alone)
        for (const entry of batch) entry.settle({ error: asGlimpseError(error) })
      else {
        const middle = batch.length >> 1
        await this.#run(batch.slice(0, middle))
        await this.#run(batch.slice(middle))
      }
    }
  }
}

/** Intervals are counted from here, as the protocol proposes (Durable Streams §8.1). */
const FIRST_INTERVAL_AT = Date.UTC(2024, 9, 9)
const INTERVAL_MS = 20_000
/** An hour of intervals. */
const MAX_JITTER = 180

/**
 * `Stream-Cursor` (Durable Streams §8.1): a number that never decreases, neither over time nor below the client's own. Clients
 * echo it, so that no cache gives the same answer twice to a client that waits at one offset.
 */
export class StreamCursor {
  readonly #least: number
  readonly #now: () => number

  /** @param echoed `?cursor=` of the request; ignored if it is no number */
  constructor(echoed: string | null, now: () => number = Date.now, random: () => number = Math.random) {
    this.#now = now
    const theirs = /^\d{1,15}$/.test(echoed ?? '') ? Number(echoed) : -1
    const isBehind = theirs < this.#interval
    this.#least = isBehind ? this.#interval : theirs + 1 + Math.floor(random() * MAX_JITTER)
  }

  get value(): string {
    return String(Math.max(this.#least, this.#interval))
  }

  get #interval(): number {
    return Math.floor((this.#now() - FIRST_INTERVAL_AT) / INTERVAL_MS)
  }
}

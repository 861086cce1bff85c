/** What a rate keeps of whom it counts: when all that came so far will have been worked off. */
export interface Bucket {
  emptyAt: number
}

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** How much may come at once after a quiet time: this long a time's worth. */
const BURST_MS = 10_000

/**
 * So many per minute in the long run, ten seconds' worth at once; or so many per day, all of them at once. A leaky bucket in one number (the "generic cell rate
 * algorithm"): no timer, no promise, nothing to sweep.
 */
export class Rate {
  readonly #intervalMs: number
  readonly #roomMs: number

  constructor(most: number, per: 'minute' | 'day' = 'minute') {
    this.#intervalMs = (per === 'minute' ? MINUTE_MS : DAY_MS) / most
    // However slow the rate, a lone attempt after a quiet time is within it.
    this.#roomMs = Math.max((per === 'minute' ? BURST_MS : DAY_MS) - this.#intervalMs, 0)
  }

  /**
   * Counts one attempt.
   *
   * @param now milliseconds on a clock that only goes forward
   * @returns 0 where it may go on, else the milliseconds until one may; that one is not counted
   */
  take(bucket: Bucket, now: number): number {
    const filledMs = bucket.emptyAt - now
    if (filledMs > this.#roomMs) return filledMs - this.#roomMs
    bucket.emptyAt = Math.max(bucket.emptyAt, now) + this.#intervalMs
    return 0
  }

  /** An attempt that was counted came to nothing. */
  giveBack(bucket: Bucket): void {
    bucket.emptyAt -= this.#intervalMs
  }
}

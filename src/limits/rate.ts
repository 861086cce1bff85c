/** State of one key: the time at which its bucket will be empty. */
export interface Bucket {
  emptyAt: number
}

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** After a quiet time, attempts worth this long may come at once. */
const BURST_MS = 10_000

/**
 * A rate per minute with a burst of ten seconds' worth, or a rate per day with a burst of the whole day's. A leaky bucket
 * in one number (the generic cell rate algorithm): it needs no timer and no cleaning up.
 */
export class Rate {
  readonly #intervalMs: number
  readonly #roomMs: number

  constructor(most: number, per: 'minute' | 'day' = 'minute') {
    this.#intervalMs = (per === 'minute' ? MINUTE_MS : DAY_MS) / most
    // Never negative: even at a slow rate, one attempt after a quiet time is allowed.
    this.#roomMs = Math.max((per === 'minute' ? BURST_MS : DAY_MS) - this.#intervalMs, 0)
  }

  /**
   * Counts one attempt.
   *
   * @param now milliseconds on a clock that only goes forward
   * @returns 0 if it is allowed; else the milliseconds until the next is, and it is not counted
   */
  take(bucket: Bucket, now: number): number {
    const filledMs = bucket.emptyAt - now
    if (filledMs > this.#roomMs) return filledMs - this.#roomMs
    bucket.emptyAt = Math.max(bucket.emptyAt, now) + this.#intervalMs
    return 0
  }

  /** Takes back one counted attempt that had no effect. */
  giveBack(bucket: Bucket): void {
    bucket.emptyAt -= this.#intervalMs
  }
}

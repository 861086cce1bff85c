export interface RateLimitOptions {
  readonly perMinute: number
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number
  /** How many keys are remembered at most. */
  readonly maxKeys?: number
}

/** How much may come at once after a quiet time: this long a time's worth. */
const BURST_MS = 10_000
const MAX_KEYS = 100_000

/**
 * Counts attempts by key, such as a user or an address: `perMinute` in the long run, ten seconds' worth at once.
 *
 * A leaky bucket in one number a key, the time at which it will be empty (the "generic cell rate algorithm"): no timer,
 * no promise, no sweep. Two halves instead of a linked list: keys are written to, and when used moved to, the young half;
 * a full young half becomes the old one, and what was old and not used since is forgotten. So a flood from ever new
 * addresses costs bounded memory, and can at worst make the limit forget addresses that did not come back meanwhile.
 */
export class RateLimit {
  readonly #intervalMs: number
  readonly #now: () => number
  readonly #half: number
  #young = new Map<string, Bucket>()
  #old = new Map<string, Bucket>()

  constructor({ perMinute, now, maxKeys = MAX_KEYS }: RateLimitOptions) {
    this.#intervalMs = 60_000 / perMinute
    this.#now = now
    this.#half = Math.max(1, Math.floor(maxKeys / 2))
  }

  /** Keys remembered. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** Counts one attempt. @returns 0 where it may go on, else the milliseconds until one may; that one is not counted */
  take(key: string): number {
    const now = this.#now()
    const bucket = this.#bucketOf(key, now)
    const filledMs = bucket.emptyAt - now
    // However slow the rate, a lone attempt after a quiet time is within it.
    const roomMs = Math.max(BURST_MS - this.#intervalMs, 0)
    if (filledMs > roomMs) return filledMs - roomMs
    bucket.emptyAt = Math.max(bucket.emptyAt, now) + this.#intervalMs
    return 0
  }

  #bucketOf(key: string, now: number): Bucket {
    let bucket = this.#young.get(key)
    if (bucket !== undefined) return bucket
    bucket = this.#old.get(key) ?? { emptyAt: now }
    this.#old.delete(key)
    if (this.#young.size >= this.#half) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, bucket)
    return bucket
  }
}

interface Bucket {
  emptyAt: number
}

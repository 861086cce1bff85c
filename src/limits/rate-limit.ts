import QuickLRU from 'quick-lru'
import { type Bucket, Rate } from './rate.ts'

export interface RateLimitOptions {
  readonly most: number
  readonly per?: 'minute' | 'day'
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number
  /** How many keys are remembered at most. */
  readonly maxKeys?: number
}

const MAX_KEYS = 100_000

/**
 * A rate for each key, such as a user or an address. The keys used least recently are forgotten past the bound. So a flood
 * from ever new addresses costs bounded memory, and can at worst make the limit forget addresses that did not come back
 * meanwhile.
 */
export class RateLimit {
  readonly #rate: Rate
  readonly #now: () => number
  readonly #buckets: QuickLRU<string, Bucket>

  constructor({ most, per = 'minute', now, maxKeys = MAX_KEYS }: RateLimitOptions) {
    this.#rate = new Rate(most, per)
    this.#now = now
    // It keeps up to twice its size.
    this.#buckets = new QuickLRU({ maxSize: Math.max(1, Math.floor(maxKeys / 2)) })
  }

  /** Counts one attempt. @returns 0 where it may go on, else the milliseconds until one may; that one is not counted */
  take(key: string): number {
    return this.#rate.take(this.#bucketOf(key), this.#now())
  }

  /** An attempt that was counted came to nothing. */
  giveBack(key: string): void {
    this.#rate.giveBack(this.#bucketOf(key))
  }

  #bucketOf(key: string): Bucket {
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      bucket = { emptyAt: 0 }
      this.#buckets.set(key, bucket)
    }
    return bucket
  }
}

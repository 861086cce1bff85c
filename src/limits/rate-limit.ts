import QuickLRU from 'quick-lru'
import { type Bucket, Rate } from './rate.ts'

export interface RateLimitOptions {
  readonly most: number
  readonly per?: 'minute' | 'day'
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number
  /** The most keys that are remembered. */
  readonly maxKeys?: number
}

const MAX_KEYS = 100_000

/**
 * A rate for each key, such as a user or an address. Past `maxKeys` the least recently used keys are forgotten. So a flood
 * from ever new addresses uses bounded memory; at worst the limit forgets addresses that have been quiet meanwhile.
 */
export class RateLimit {
  readonly #rate: Rate
  readonly #now: () => number
  readonly #buckets: QuickLRU<string, Bucket>

  constructor({ most, per = 'minute', now, maxKeys = MAX_KEYS }: RateLimitOptions) {
    this.#rate = new Rate(most, per)
    this.#now = now
    // QuickLRU keeps up to twice its maxSize.
    this.#buckets = new QuickLRU({ maxSize: Math.max(1, Math.floor(maxKeys / 2)) })
  }

  /** Counts one attempt. @returns 0 if it is allowed; else the milliseconds until the next is, and it is not counted */
  take(key: string): number {
    return this.#rate.take(this.#bucketOf(key), this.#now())
  }

  /** Takes back one counted attempt that had no effect. */
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

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
 * A rate for each key, such as a user or an address.
 *
 * Two halves instead of a linked list: keys are written to, and when used moved to, the young half; a full young half
 * becomes the old one, and what was old and not used since is forgotten. So a flood from ever new addresses costs bounded
 * memory, and can at worst make the limit forget addresses that did not come back meanwhile.
 */
export class RateLimit {
  readonly #rate: Rate
  readonly #now: () => number
  readonly #half: number
  #young = new Map<string, Bucket>()
  #old = new Map<string, Bucket>()

  constructor({ most, per = 'minute', now, maxKeys = MAX_KEYS }: RateLimitOptions) {
    this.#rate = new Rate(most, per)
    this.#now = now
    this.#half = Math.max(1, Math.floor(maxKeys / 2))
  }

  /** Keys remembered. */
  get size(): number {
    return this.#young.size + this.#old.size
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
    let bucket = this.#young.get(key)
    if (bucket !== undefined) return bucket
    bucket = this.#old.get(key) ?? { emptyAt: 0 }
    this.#old.delete(key)
    if (this.#young.size >= this.#half) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, bucket)
    return bucket
  }
}

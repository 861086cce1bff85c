import { GlimpseError } from '../errors.ts'

/**
 * Bounds the number of callers that wait for the same resource. Further callers are refused at once: a pool's queue has no
 * bound of its own, and behind a long queue every answer would be late.
 */
export class Gate {
  readonly #most: number
  readonly #onRefused: () => void
  #waiting = 0

  constructor(most: number, onRefused: () => void) {
    this.#most = most
    this.#onRefused = onRefused
  }

  get waiting(): number {
    return this.#waiting
  }

  /** @throws GlimpseError `overloaded` where too many wait already */
  async pass<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#waiting >= this.#most) {
      this.#onRefused()
      throw new GlimpseError('overloaded', {
        detail: 'Too many requests are waiting; try again.',
        retryAfter: 1,
      })
    }
    this.#waiting++
    try {
      return await work()
    } finally {
      this.#waiting--
    }
  }
}

import { GlimpseError } from '../errors.ts'

/**
 * Bounds how many callers wait for the same thing. Past it they are told at once to come back: the driver's queue has no
 * end of its own, and behind a long one the canary would be late and the instance count as broken.
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

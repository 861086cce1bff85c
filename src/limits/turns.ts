/**
 * Lets so many works of one key go on at a time; the others of that key wait for their turn, first come, first served.
 * Nothing is kept of keys without work. How many wait is bounded by who calls (`Gate`).
 */
export class Turns {
  readonly #atOnce: number
  readonly #keys = new Map<string, { running: number; readonly waiting: (() => void)[] }>()

  constructor(atOnce: number) {
    this.#atOnce = atOnce
  }

  async pass<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    let turns = this.#keys.get(key)
    if (turns === undefined) {
      turns = { running: 0, waiting: [] }
      this.#keys.set(key, turns)
    }
    const { waiting } = turns
    if (turns.running < this.#atOnce) turns.running++
    // Whoever ends hands its turn on.
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next !== undefined) next()
      else if (--turns.running === 0) this.#keys.delete(key)
    }
  }
}

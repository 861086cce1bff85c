/**
 * Runs at most `atOnce` tasks of one key at a time; further tasks of that key wait, first come, first served. Keys without
 * tasks take no memory. The caller bounds how many wait (`Gate`).
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
    // A task that ends passes its turn to the next.
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

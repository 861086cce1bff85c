/** Bounded count per key; zero entries are removed. */
export class Quota {
  readonly #most: number
  readonly #held = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  /** Whether the key may hold `count` more. */
  has(key: string, count = 1): boolean {
    return (this.#held.get(key) ?? 0) + count <= this.#most
  }

  /** Counts one more for the key if it may hold it. @returns whether it may */
  take(key: string): boolean {
    if (!this.has(key)) return false
    this.add(key)
    return true
  }

  /** Counts unconditionally, even past the bound. */
  add(key: string, count = 1): void {
    this.#held.set(key, (this.#held.get(key) ?? 0) + count)
  }

  release(key: string, count = 1): void {
    const left = (this.#held.get(key) ?? 0) - count
    if (left > 0) this.#held.set(key, left)
    else this.#held.delete(key)
  }
}

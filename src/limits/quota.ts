/** Bounded count per key; zero entries are removed. */
export class Quota {
  readonly #most: number
  readonly #held = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  /** Whether the key may hold so many more. */
  has(key: string, count = 1): boolean {
    return (this.#held.get(key) ?? 0) + count <= this.#most
  }

  /** @returns whether the key may hold one more; then it does */
  take(key: string): boolean {
    if (!this.has(key)) return false
    this.add(key)
    return true
  }

  /** Counts what is held already, past the bound or not. */
  add(key: string, count = 1): void {
    this.#held.set(key, (this.#held.get(key) ?? 0) + count)
  }

  release(key: string, count = 1): void {
    const left = (this.#held.get(key) ?? 0) - count
    if (left > 0) this.#held.set(key, left)
    else this.#held.delete(key)
  }
}

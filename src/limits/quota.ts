/** How many of a thing each key holds, at most so many; keeps nothing of those who hold none. */
export class Quota {
  readonly #most: number
  readonly #held = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  /** @returns whether the key may hold one more; then it does */
  take(key: string): boolean {
    const held = this.#held.get(key) ?? 0
    if (held >= this.#most) return false
    this.#held.set(key, held + 1)
    return true
  }

  release(key: string): void {
    const left = (this.#held.get(key) ?? 0) - 1
    if (left > 0) this.#held.set(key, left)
    else this.#held.delete(key)
  }
}

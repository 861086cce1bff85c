import { split } from './position.ts'

/**
 * How many events the user has not read: the service says so when the stream opens and when a mark moves, and every
 * event that comes after is one more. Nothing is asked, because the numbers have no holes.
 */
export class Unread {
  /** Everything up to here is read, or no longer kept. */
  #base = 0
  #head = 0

  get count(): number {
    return this.#head - this.#base
  }

  /** Another history: what is read in it follows. */
  forget(): void {
    this.#base = 0
    this.#head = 0
  }

  /** A stream opened, maybe in another history: what was known before may not hold. */
  opened(unread: number, read: string): void {
    this.#base = split(read)[1]
    this.#head = this.#base + unread
  }

  /** The mark moved, here or on another device; events may have come since, and some of them before these words. */
  marked(cursor: string, unread: number): void {
    this.#base = split(cursor)[1]
    this.#head = Math.max(this.#head, this.#base + unread)
  }

  saw(seq: number): void {
    this.#head = Math.max(this.#head, seq)
  }
}

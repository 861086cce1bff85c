import { split } from './position.ts'

/**
 * How many of the kept events the user has not read: the service says so when the stream opens and when a mark moves, and
 * every event that comes after is one more. Nothing is asked, because the numbers have no holes.
 */
export class Unread {
  #epoch = ''
  #oldest = 1
  /** Everything up to here is read, or no longer kept. */
  #base = 0
  #head = 0

  get count(): number {
    return this.#head - this.#base
  }

  /** A stream opened, maybe in another history: what was known before may not hold. */
  opened(read: string, unread: number, oldest: number): void {
    this.#epoch = ''
    this.#oldest = oldest
    this.marked(read, unread)
  }

  /** What is no longer kept can't be read any more. */
  kept(oldest: number): void {
    this.#oldest = oldest
  }

  /** The mark moved, here or on another device; events may have come since, and some of them before these words. */
  marked(read: string, unread: number): void {
    const [epoch, seq] = split(read)
    this.#base = Math.max(seq, this.#oldest - 1)
    this.#head = Math.max(epoch === this.#epoch ? this.#head : 0, this.#base + unread)
    this.#epoch = epoch
  }

  saw(seq: number): void {
    this.#head = Math.max(this.#head, seq)
  }
}

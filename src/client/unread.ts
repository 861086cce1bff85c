import { split } from './position.ts'

/**
 * Counts the kept events that the user has not read. The service says the count when the stream opens and when a mark
 * moves; every event after that is one more. That needs no request, because the numbers have no gaps.
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

  /** A stream opened, maybe in another history: earlier counts may be wrong. */
  opened(read: string, unread: number, oldest: number): void {
    this.#epoch = ''
    this.#oldest = oldest
    this.marked(read, unread)
  }

  /** Events that are no longer kept don't count as unread. */
  kept(oldest: number): void {
    this.#oldest = oldest
  }

  /** The mark moved, here or on another device. Events may have come since, some of them before this message. */
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

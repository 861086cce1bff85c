import type { GlimpseEvent } from '../event.ts'
import type { Gap } from './types.ts'

/** So often the stream goes back for a missing number before it goes on without. */
const TRIES = 3

/** Where the client stands in its user's stream: everything up to the cursor was handled. */
export class Position {
  /** undefined: nothing was seen yet, and the service says where the stream begins; `0`: with the oldest event. */
  cursor: string | undefined
  #triedAt = 0
  #tries = 0

  constructor(cursor: string | undefined) {
    this.cursor = cursor
  }

  /** Whether an event is the next one. One that was seen already is passed over; a gap says what is missing. */
  judge({ id, seq }: GlimpseEvent): 'next' | 'seen' | Gap {
    // `0`: whichever is the oldest.
    if (this.cursor === undefined || this.cursor === '0') return 'next'
    const [epoch, last] = split(this.cursor)
    const expected = last + 1
    if (split(id)[0] === epoch) {
      if (seq === expected) return 'next'
      if (seq < expected) return 'seen'
    }
    this.#tries = expected === this.#triedAt ? this.#tries + 1 : 1
    this.#triedAt = expected
    return { expected, received: seq, lost: this.#tries > TRIES }
  }
}

/** The history and the number in a cursor: `<epoch>.<seq>`, and whatever the service adds behind. */
export function split(cursor: string): [epoch: string, seq: number] {
  const [epoch = '', seq] = cursor.split('.')
  return [epoch, Number(seq)]
}

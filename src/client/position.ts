import type { GlimpseEvent } from '../event.ts'
import type { Gap } from './types.ts'

/** How often the stream resumes before a missing number until it continues without it. */
const TRIES = 3

/** The client's position in its user's stream: everything up to the cursor was handled. */
export class Position {
  /** undefined: no event yet, the service decides where the stream begins; `0`: with the oldest event kept. */
  cursor: string | undefined
  #triedAt = 0
  #tries = 0

  constructor(cursor: string | undefined) {
    this.cursor = cursor
  }

  /** Whether an event is the next one, was seen already, or comes after a gap. */
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

/** The history and the number in a cursor: `<epoch>.<seq>`, and what the service appends. */
export function split(cursor: string): [epoch: string, seq: number] {
  const [epoch = '', seq] = cursor.split('.')
  return [epoch, Number(seq)]
}

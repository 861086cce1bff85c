/** How long reading rests where notifications come thick. */
export const REST_MS = 10
/** Notifications within that time that no user here waited for, from which on reading rests. */
const THICK = 5

/**
 * Decides when an instance stops reading notifications for a moment, so that it reads many at a time: being woken costs more
 * than what it is woken for. Only notifications that no user here waited for count. So a quiet stream is always read at once,
 * and so is the stream of a single instance whose users are all connected, however busy it is; where most of what comes is
 * for other instances, the events for this one wait for up to REST_MS.
 */
export class ReadingPace {
  readonly #now: () => number
  #windowEnd = Number.NEGATIVE_INFINITY
  #unwanted = 0

  /** @param now a clock that only moves forward, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Notifications were read.
   *
   * @param unwanted how many of them no user here waited for
   * @returns whether reading is to rest for REST_MS
   */
  read(unwanted: number): boolean {
    if (unwanted === 0) return false
    const now = this.#now()
    if (now >= this.#windowEnd) {
      this.#windowEnd = now + REST_MS
      this.#unwanted = 0
    }
    this.#unwanted += unwanted
    if (this.#unwanted < THICK) return false
    this.#windowEnd = Number.NEGATIVE_INFINITY
    return true
  }
}

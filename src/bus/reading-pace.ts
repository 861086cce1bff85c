/** The pause of reading while many notifications come, ms. */
export const REST_MS = 10
/** This many unwanted notifications within that time start a pause. */
const THICK = 5

/**
 * Decides when an instance stops reading notifications for a moment, so that it reads many at a time: being woken costs more
 * than the work itself. Only unwanted notifications count, those for users who are not connected here. So notifications are read
 * at once when they are few, and also on a single instance whose users are all connected, however busy it is. If most of them
 * are for other instances, the events for this one wait for up to REST_MS.
 */
export class ReadingPace {
  readonly #now: () => number
  #windowEnd = Number.NEGATIVE_INFINITY
  #unwanted = 0

  /** @param now a monotonic clock, ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Counts notifications that were read.
   *
   * @param unwanted how many of them were for no user who is connected here
   * @returns whether reading must pause for REST_MS
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

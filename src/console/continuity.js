/**
 * Checks that a stream is complete, by its numbers alone: `seq` counts one user's events 1, 2, 3 … and skips none, so a
 * number that does not follow the one before means a lost or repeated event.
 */
export class Continuity {
  /** @type {number | undefined} */
  first
  /** @type {number | undefined} */
  last
  count = 0
  missing = 0
  repeated = 0

  /**
   * Counts one event.
   * @param {number} seq
   */
  add(seq) {
    if (this.last !== undefined && seq <= this.last) {
      this.repeated += 1
      return
    }
    if (this.last !== undefined) this.missing += seq - this.last - 1
    this.first ??= seq
    this.last = seq
    this.count += 1
  }

  /** Starts anew: after a new start or a stream.reset the numbers need not follow those before. */
  restart() {
    this.first = undefined
    this.last = undefined
    this.count = 0
    this.missing = 0
    this.repeated = 0
  }

  /** @returns {{ sound: boolean | undefined, words: string }} `sound` undefined: nothing to judge yet */
  verdict() {
    if (this.count === 0) return { sound: undefined, words: 'no events yet' }
    const faults = []
    if (this.missing > 0) faults.push(`${this.missing} missing`)
    if (this.repeated > 0) faults.push(`${this.repeated} repeated`)
    const range = this.first === this.last ? `seq ${this.first}` : `seq ${this.first}–${this.last}`
    return faults.length === 0
      ? { sound: true, words: `No gap in ${range}` }
      : { sound: false, words: `${faults.join(', ')} in ${range}` }
  }
}

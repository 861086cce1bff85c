/** Half a minute of canaries: long enough to meet a quick one, short enough to follow a clock that drifts. */
const READINGS = 20

/**
 * What Postgres' clock shows, estimated from the canaries. Each brings a reading that was taken somewhere within its
 * round trip, so the clock is ahead of ours by no less and no more than two numbers; the last ones together narrow that
 * down to less than the quickest round trip.
 */
export class DatabaseClock {
  readonly #now: () => number
  #readings: { readonly least: number; readonly most: number }[] = []
  #aheadMs: number | undefined

  /** @param now the local clock that everything is measured on, in ms; only ever forward */
  constructor(now: () => number) {
    this.#now = now
  }

  /** What it shows now, ms since 1970; undefined before the first reading. */
  get now(): number | undefined {
    return this.#aheadMs === undefined ? undefined : this.#now() + this.#aheadMs
  }

  /** It showed `shownMs` between two moments of the local clock. */
  read(shownMs: number, askedAt: number, answeredAt = this.#now()): void {
    const reading = { least: shownMs - answeredAt, most: shownMs - askedAt }
    const readings = [...this.#readings.slice(1 - READINGS), reading]
    const least = Math.max(...readings.map((one) => one.least))
    const most = Math.min(...readings.map((one) => one.most))
    // Readings that contradict each other are of a clock that was set meanwhile, or of another server's.
    const contradiction = least > most
    this.#readings = contradiction ? [reading] : readings
    this.#aheadMs = contradiction ? (reading.least + reading.most) / 2 : (least + most) / 2
  }
}

/** Half a minute of canaries: long enough to include a quick one, short enough to follow a clock that drifts. */
const READINGS = 20

/**
 * An estimate of Postgres' clock from the canaries. Each canary reads the clock at some time within its round trip, which gives
 * a lower and an upper bound of the difference to our clock. The last canaries together narrow the bounds to less than the
 * quickest round trip.
 */
export class DatabaseClock {
  readonly #now: () => number
  #readings: { readonly least: number; readonly most: number }[] = []
  #aheadMs: number | undefined

  /** @param now the local monotonic clock, ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The present time of the database, ms since 1970; undefined before the first reading. */
  get now(): number | undefined {
    return this.#aheadMs === undefined ? undefined : this.#now() + this.#aheadMs
  }

  /** Adds a reading: the database's clock showed `shownMs` between two times of the local clock. */
  read(shownMs: number, askedAt: number, answeredAt = this.#now()): void {
    const reading = { least: shownMs - answeredAt, most: shownMs - askedAt }
    const readings = [...this.#readings.slice(1 - READINGS), reading]
    const least = Math.max(...readings.map((one) => one.least))
    const most = Math.min(...readings.map((one) => one.most))
    // Contradicting readings mean that the clock was set, or that it is another server's.
    const contradiction = least > most
    this.#readings = contradiction ? [reading] : readings
    this.#aheadMs = contradiction ? (reading.least + reading.most) / 2 : (least + most) / 2
  }
}

import { Histogram, type HistogramConfiguration } from 'prom-client'

/** Some hundred microseconds of work. */
const MOST = 256

/**
 * A histogram without labels for what happens all the time. Its observations are counted many at once: one by one, each
 * between other work, what counting touches has left the processor's caches every time.
 */
export class BatchedHistogram {
  readonly #histogram: Histogram
  readonly #waiting: number[] = []

  constructor(configuration: HistogramConfiguration<string>) {
    this.#histogram = new Histogram({ ...configuration, collect: () => this.#count() })
  }

  /** Counted at the next scrape at the latest. */
  observe(value: number): void {
    if (this.#waiting.push(value) === MOST) this.#count()
  }

  #count(): void {
    for (const value of this.#waiting) this.#histogram.observe(value)
    this.#waiting.length = 0
  }
}

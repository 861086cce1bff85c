import { Histogram, type HistogramConfiguration } from 'prom-client'

/** Observations buffered per flush (about 100 µs of work). */
const MOST = 256

/**
 * A histogram without labels for frequent observations. It buffers them and counts a batch at once: counted one by one,
 * between other work, each would find the counters gone from the processor's caches.
 */
export class BatchedHistogram {
  readonly #histogram: Histogram
  readonly #waiting: number[] = []

  constructor(configuration: HistogramConfiguration<string>) {
    this.#histogram = new Histogram({ ...configuration, collect: () => this.#count() })
  }

  /** The observation is counted at the next scrape at the latest. */
  observe(value: number): void {
    if (this.#waiting.push(value) === MOST) this.#count()
  }

  #count(): void {
    for (const value of this.#waiting) this.#histogram.observe(value)
    this.#waiting.length = 0
  }
}

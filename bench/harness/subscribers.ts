import { setTimeout as sleep } from 'node:timers/promises'
import type { Percentiles } from '../load/jobs.ts'
import type { Opening, SubscriberJobs } from '../load/subscribers.ts'
import type { Run } from '../run.ts'
import { Worker } from './worker.ts'

const PROCESSES = 2
/** How many streams open at once, unless said otherwise: as many as one browser farm would, not a storm. */
const OPENING_AT_ONCE = 64
/** What no contender that works needs to take in. */
const ARRIVAL_TIMEOUT_MS = 30_000
/** Longer than two of the service's sweeps: what is not there by then is lost, not late. */
const QUIET_MS = 10_000
const POLL_MS = 20

type Received = ReturnType<SubscriberJobs['count']>

/** Connections spread over processes, for the limit of open files and so that one core does not read for all. */
export class Subscribers {
  readonly #workers: Worker<SubscriberJobs>[]

  constructor(run: Run) {
    this.#workers = Array.from({ length: PROCESSES }, () => new Worker(run, 'load/subscribers.ts'))
  }

  /** Resolves when each connection is open. Returns connections per second. */
  async open(opening: Omit<Opening, 'concurrency'>, concurrency = OPENING_AT_ONCE): Promise<number> {
    const { length } = opening.users
    const [share, atOnce] = [Math.ceil(length / PROCESSES), Math.ceil(concurrency / PROCESSES)]
    const tookMs = await this.#each((worker, i) => {
      const users = opening.users.slice(i * share, (i + 1) * share)
      return worker.run('open', { ...opening, users, concurrency: atOnce })
    })
    return (length / Math.max(...tookMs)) * 1000
  }

  /** Starts the count anew; with `stamped`, the events say when they were sent. */
  async reset(stamped = false): Promise<void> {
    await this.#each((worker) => worker.run('reset', stamped))
  }

  async count(): Promise<Received> {
    const parts = await this.#each((worker) => worker.run('count', undefined))
    return parts.reduce((one, other) => ({
      events: one.events + other.events,
      outOfOrder: one.outOfOrder + other.outOfOrder,
      lost: one.lost + other.lost,
      lastAt: Math.max(one.lastAt, other.lastAt),
      cores: Math.max(one.cores, other.cores),
    }))
  }

  /** Milliseconds from sending to the socket since the reset; where processes differ, the slower one's. */
  async latencies(): Promise<Percentiles> {
    const parts = await this.#each((worker) => worker.run('latencies', undefined))
    const names = Object.keys(parts[0] ?? {}) as (keyof Percentiles)[]
    const worst = names.map((name) => [name, Math.max(...parts.map((part) => part[name]))])
    return Object.fromEntries(worst) as Percentiles
  }

  /** Resolves when `events` have come to all together, or none for `quietMs`. */
  async received(events: number, quietMs = QUIET_MS): Promise<Received> {
    const deadline = performance.now() + ARRIVAL_TIMEOUT_MS
    for (let quietSince = performance.now(), before = -1; ; await sleep(POLL_MS)) {
      const now = await this.count()
      if (now.events !== before) quietSince = performance.now()
      before = now.events
      const over = performance.now() - quietSince > quietMs || performance.now() > deadline
      if (now.events >= events || over) return now
    }
  }

  /**
   * As `received`; throws where not exactly so many came, each connection's in order, and no connection ended.
   * `complaints`: what the server says about that.
   */
  async receivedAll(events: number, complaints: () => string): Promise<Received> {
    const received = await this.received(events)
    const { outOfOrder, lost } = received
    if (received.events !== events || outOfOrder + lost > 0)
      throw new Error(
        `${received.events} of ${events} events came, ${outOfOrder} out of order, ${lost} connections lost ${complaints()}`,
      )
    return received
  }

  stop(): void {
    for (const worker of this.#workers) worker.stop()
  }

  #each<R>(work: (worker: Worker<SubscriberJobs>, i: number) => Promise<R>): Promise<R[]> {
    return Promise.all(this.#workers.map(work))
  }
}

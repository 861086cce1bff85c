import type { Percentiles } from '../load/percentiles.ts'
import type { Protocol } from '../load/protocols.ts'
import type { Opened, Received, SubscriberJob } from '../load/subscribers.ts'
import { Worker } from './worker.ts'

/** How many streams open at once, unless said otherwise: as many as one browser farm would, not a storm. */
const OPENING_AT_ONCE = 64
/** What no contender that works needs to take in. */
const ARRIVAL_TIMEOUT_MS = 30_000
const COUNT_TIMEOUT_MS = 10_000
const POLL_MS = 20

export interface Opening {
  readonly url: string
  readonly protocol: Protocol
  readonly identity: 'token' | 'user'
  /** One connection each. */
  readonly users: readonly string[]
  readonly cursors?: readonly string[]
  readonly concurrency?: number
}

/** Connections spread over processes, for the limit of open files and so that one core does not read for all. */
export class Subscribers {
  readonly #workers: Worker<SubscriberJob, Opened | Received | Percentiles>[]

  constructor(processes: number) {
    this.#workers = Array.from({ length: processes }, () => new Worker('load/subscribers.ts'))
  }

  /** Resolves when each connection is open. Returns connections per second. */
  async open({ users, cursors, concurrency = OPENING_AT_ONCE, ...opening }: Opening): Promise<number> {
    const share = Math.ceil(users.length / this.#workers.length)
    const opened = await Promise.all(
      this.#workers.map((worker, i) => {
        const [from, to] = [i * share, (i + 1) * share]
        return worker.run<Opened>(
          {
            do: 'open',
            ...opening,
            users: users.slice(from, to),
            ...(cursors === undefined ? {} : { cursors: cursors.slice(from, to) }),
            concurrency: Math.ceil(concurrency / this.#workers.length),
          },
          60_000,
        )
      }),
    )
    return (users.length / Math.max(...opened.map(({ elapsedMs }) => elapsedMs))) * 1000
  }

  /** Starts the count anew; with `stamped`, the events say when they were sent. */
  reset(stamped = false): Promise<Received> {
    return this.#all({ do: 'reset', stamped })
  }

  count(): Promise<Received> {
    return this.#all({ do: 'count' })
  }

  /** Milliseconds from sending to the socket since the reset; where processes differ, the slower one's. */
  async latencies(): Promise<Percentiles> {
    const parts = await Promise.all(
      this.#workers.map((worker) => worker.run<Percentiles>({ do: 'latencies' }, COUNT_TIMEOUT_MS)),
    )
    const worst = (pick: (part: Percentiles) => number) => Math.max(...parts.map(pick))
    return {
      p50: worst((part) => part.p50),
      p75: worst((part) => part.p75),
      p90: worst((part) => part.p90),
      p95: worst((part) => part.p95),
      p99: worst((part) => part.p99),
      p999: worst((part) => part.p999),
      max: worst((part) => part.max),
    }
  }

  /** Resolves when `events` have come to all together, or none for `quietMs`. */
  async received(events: number, quietMs: number): Promise<Received> {
    const deadline = performance.now() + ARRIVAL_TIMEOUT_MS
    for (let quietSince = performance.now(), before = -1; ; ) {
      const now = await this.count()
      if (now.events !== before) quietSince = performance.now()
      before = now.events
      const over = performance.now() - quietSince > quietMs || performance.now() > deadline
      if (now.events >= events || over) return now
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  stop(): void {
    for (const worker of this.#workers) worker.stop()
  }

  async #all(job: SubscriberJob): Promise<Received> {
    const parts = await Promise.all(
      this.#workers.map((worker) => worker.run<Received>(job, COUNT_TIMEOUT_MS)),
    )
    const sum = (pick: (part: Received) => number) => parts.reduce((total, part) => total + pick(part), 0)
    return {
      events: sum((part) => part.events),
      outOfOrder: sum((part) => part.outOfOrder),
      lost: sum((part) => part.lost),
      lastAt: Math.max(...parts.map((part) => part.lastAt)),
      cores: Math.max(...parts.map((part) => part.cores)),
    }
  }
}

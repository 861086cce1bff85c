import type { Transport } from '../load/stream-socket.ts'
import type { Opened, Received, SubscriberJob } from '../load/subscribers.ts'
import { Worker } from './worker.ts'

/** Connections spread over processes, for the limit of open files and so that one core does not read for all. */
export class Subscribers {
  readonly #workers: Worker<SubscriberJob, Opened | Received>[]

  constructor(processes: number) {
    this.#workers = Array.from({ length: processes }, () => new Worker('load/subscribers.ts'))
  }

  /** One connection a user; resolves when each has its `stream.open`. Returns connections per second. */
  async open(
    url: string,
    transport: Transport,
    users: readonly string[],
    timeoutMs = 60_000,
  ): Promise<number> {
    const share = Math.ceil(users.length / this.#workers.length)
    const opened = await Promise.all(
      this.#workers.map((worker, i) =>
        worker.run<Opened>(
          {
            do: 'open',
            url,
            transport,
            users: users.slice(i * share, (i + 1) * share),
            concurrency: Math.ceil(OPENING_AT_ONCE / this.#workers.length),
          },
          timeoutMs,
        ),
      ),
    )
    return (users.length / Math.max(...opened.map(({ elapsedMs }) => elapsedMs))) * 1000
  }

  reset(): Promise<Received> {
    return this.#all({ do: 'reset' })
  }

  count(): Promise<Received> {
    return this.#all({ do: 'count' })
  }

  /** Resolves when `events` have come to all together, or none for `quietMs`. */
  async received(events: number, quietMs: number): Promise<Received> {
    const deadline = performance.now() + 60_000
    for (let quietSince = performance.now(), before = -1; ; ) {
      const now = await this.count()
      if (now.events !== before) quietSince = performance.now()
      before = now.events
      const over = performance.now() - quietSince > quietMs || performance.now() > deadline
      if (now.events >= events || over) return now
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  stop(): void {
    for (const worker of this.#workers) worker.stop()
  }

  async #all(job: SubscriberJob): Promise<Received> {
    const parts = await Promise.all(this.#workers.map((worker) => worker.run<Received>(job, 10_000)))
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

const OPENING_AT_ONCE = 64

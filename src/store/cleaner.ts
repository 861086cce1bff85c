import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Pool } from '../postgres/pool.ts'
import { removeExpiredStories, trimEvents } from './retention.ts'
import { removeExpiredTickets } from './tickets.ts'

export interface CleanerOptions {
  readonly sql: Pool
  readonly retentionHours: number
  readonly log: Logger
  readonly metrics: Metrics
  readonly intervalMs?: number
}

const INTERVAL_MS = 60_000
/** Rounds that fail in a row before anybody is told. */
const TOLD_AFTER = 10
/** Between two statements, so that a backlog of a million rows leaves room for the writers. */
const PAUSE_MS = 20

/** Trims the log and removes expired stories in the background, in small statements, until it is stopped. */
export class Cleaner {
  readonly #options: CleanerOptions
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: CleanerOptions) {
    this.#options = options
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { sql, retentionHours, metrics, intervalMs = INTERVAL_MS } = this.#options
    for (let failures = 0; !this.#stopping.signal.aborted; ) {
      try {
        await this.#repeat(
          async () => {
            const { events, streams } = await trimEvents(sql, retentionHours)
            metrics.eventsTrimmed.inc(events)
            return streams
          },
          () => {},
        )
        await this.#repeat(
          () => removeExpiredStories(sql, retentionHours),
          (rows) => metrics.rowsRemoved.inc(rows),
        )
        await this.#repeat(
          () => removeExpiredTickets(sql),
          () => {},
        )
        failures = 0
        metrics.cleaned.setToCurrentTime()
      } catch (error) {
        // The database is away, or busy: nothing is lost by cleaning later. Where it never succeeds, the log only grows.
        failures++
        metrics.cleaningFailures.inc()
        if (failures === TOLD_AFTER)
          this.#options.log.error({ err: error }, 'cleaning keeps failing; what is past its time stays')
        else this.#options.log.debug({ err: error }, 'cleaning failed; the next round tries again')
      }
      await this.#pause(intervalMs * (0.5 + Math.random()))
    }
  }

  async #repeat(remove: () => Promise<number>, count: (rows: number) => void): Promise<void> {
    for (let rows = -1; rows !== 0 && !this.#stopping.signal.aborted; ) {
      rows = await remove()
      count(rows)
      if (rows > 0) await this.#pause(PAUSE_MS)
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => {})
  }
}

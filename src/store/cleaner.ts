import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Pool } from '../postgres/pool.ts'
import { removeExpiredStories, removeExpiredTickets, tallyStories, trimEvents } from './retention.ts'

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
/** Between two statements, and as long as the last one took: a backlog of a million rows leaves room for the writers. */
const PAUSE_MS = 20
/** After so long it is the next job's turn, so that a backlog of one keeps none of the others waiting. */
const BUDGET_MS = 5000

/** One small statement of a job. @returns 0 where nothing was left to do */
type Job = () => Promise<number>

/** Trims the log, removes what has expired and tallies stories in the background, in small statements, until it is stopped. */
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
    const { sql, retentionHours, metrics, log, intervalMs = INTERVAL_MS } = this.#options
    const jobs: readonly Job[] = [
      async () => {
        const { events, streams } = await trimEvents(sql, retentionHours)
        metrics.eventsTrimmed.inc(events)
        return streams
      },
      async () => {
        const rows = await removeExpiredStories(sql, retentionHours)
        metrics.rowsRemoved.inc(rows)
        return rows
      },
      () => removeExpiredTickets(sql),
      () => tallyStories(sql),
    ]
    for (let failures = 0; !this.#stopping.signal.aborted; ) {
      let problem: unknown
      let finished = true
      for (const job of jobs) {
        try {
          if (!(await this.#work(job))) finished = false
        } catch (error) {
          // One that fails must not keep the others from their turn.
          problem ??= error
        }
      }
      if (problem === undefined) {
        failures = 0
        if (finished) metrics.cleaned.setToCurrentTime()
      } else {
        // The database is away, or busy: nothing is lost by cleaning later. Where it never succeeds, the log only grows.
        failures++
        metrics.cleaningFailures.inc()
        if (failures === TOLD_AFTER)
          log.error({ err: problem }, 'cleaning keeps failing; expired data is not deleted')
        else log.debug({ err: problem }, 'cleaning failed; the next round tries again')
      }
      if (finished || problem !== undefined) await this.#pause(intervalMs * (0.5 + Math.random()))
    }
  }
  /** @returns whether the job has nothing left to do */
  async #work(job: Job): Promise<boolean> {
    const endsAt = performance.now() + BUDGET_MS
    while (!this.#stopping.signal.aborted) {
      const startedAt = performance.now()
      if ((await job()) === 0) return true
      const now = performance.now()
      await this.#pause(Math.max(PAUSE_MS, now - startedAt))
      if (now > endsAt) return false
    }
    return false
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => {})
  }
}

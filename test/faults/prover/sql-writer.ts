import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { type Ledger, visitorOf } from './operations.ts'

const STATEMENTS_PER_SECOND = 20
const MAX_ROWS = 20
const TIMEOUT_MS = 15_000

/**
 * Writes as any other application may: plain INSERTs, many authors in one statement. As long as a statement fails,
 * those after it wait; an acknowledged one is one whose COMMIT was answered.
 */
export class SqlWriter {
  /** Statements that failed while nothing excused it are for the scenario to judge. */
  failures = 0
  lastFailure: unknown
  readonly #sql: postgres.Sql
  readonly #stories: ReadonlyMap<string, string>
  readonly #ledger: Ledger
  #running = false
  #loop: Promise<void> | undefined
  #author = 0

  constructor(url: string, stories: ReadonlyMap<string, string>, ledger: Ledger) {
    this.#sql = postgres(url, {
      max: 2,
      connect_timeout: 2,
      backoff: () => 0.1,
      onnotice: () => {},
      connection: { application_name: 'prover-writer' },
    })
    this.#stories = stories
    this.#ledger = ledger
  }

  start(perSecond: number): void {
    if (perSecond === 0) return
    this.#running = true
    const rows = Math.min(MAX_ROWS, Math.max(1, Math.round(perSecond / STATEMENTS_PER_SECOND)))
    this.#loop = this.#run(rows, (1000 * rows) / perSecond)
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#loop
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: 1 })
  }

  async #run(rows: number, intervalMs: number): Promise<void> {
    for (let due = performance.now(); this.#running; due = Math.max(due + intervalMs, performance.now())) {
      await sleep(Math.max(0, due - performance.now()))
      await this.write(rows)
    }
  }

  /** One statement with views of `count` authors, or with reactions; never rejects. Whether it was acknowledged. */
  async write(count: number): Promise<boolean> {
    const authors = [...this.#stories.keys()]
    const operations = Array.from({ length: count }, () =>
      this.#ledger.begin(authors[this.#author++ % authors.length] ?? ''),
    )
    const stories = operations.map(({ author }) => this.#stories.get(author) ?? '')
    const visitors = operations.map(visitorOf)
    const insert =
      this.#author % 4 === 0
        ? this.#sql`insert into glimpse.story_reactions (story_id, user_id, emoji)
                    select s, v, '❤️' from unnest(${stories}::uuid[], ${visitors}::text[]) as i (s, v)`
        : this.#sql`insert into glimpse.story_views (story_id, viewer_id)
                    select * from unnest(${stories}::uuid[], ${visitors}::text[])`
    try {
      // The driver has no time limit of its own for an answer that never comes.
      await Promise.race([
        insert,
        sleep(TIMEOUT_MS, undefined, { ref: false }).then(() => {
          insert.cancel()
          throw new Error('no answer')
        }),
      ])
      for (const operation of operations) operation.ackedAt = performance.now()
      return true
    } catch (error) {
      insert.catch(() => {})
      this.failures++
      this.lastFailure = error
      return false
    }
  }
}

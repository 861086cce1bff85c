import { pause } from '../limits/pause.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Pool } from '../postgres/pool.ts'

export interface CleanerOptions {
  readonly sql: Pool
  readonly retentionHours: number
  readonly log: Logger
  readonly metrics: Metrics
  readonly intervalMs?: number
}

const INTERVAL_MS = 60_000
/** Failed rounds in a row before an error is logged. */
const TOLD_AFTER = 10
/** The shortest pause between two statements; it is as long as the last statement took, to leave room for writers. */
const PAUSE_MS = 20
/** After this time the next job runs, so that the backlog of one job does not delay the others. */
const BUDGET_MS = 5000

/** One small statement of a job. @returns 0 if nothing was left to do */
type Job = () => Promise<number>

/** Trims the log, removes expired rows and tallies stories, in the background and in small statements, until it is stopped. */
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
          // A failing job must not stop the others.
          problem ??= error
        }
      }
      if (problem === undefined) {
        failures = 0
        if (finished) metrics.cleaned.setToCurrentTime()
      } else {
        // The database is away or busy: cleaning can wait. If it never succeeds, the log only grows.
        failures++
        metrics.cleaningFailures.inc()
        if (failures === TOLD_AFTER)
          log.error({ err: problem }, 'cleaning keeps failing; expired data is not deleted')
        else log.debug({ err: problem }, 'cleaning failed; the next round tries again')
      }
      if (finished || problem !== undefined)
        await pause(intervalMs * (0.5 + Math.random()), this.#stopping.signal, false)
    }
  }
  /** @returns whether the job has nothing left to do */
  async #work(job: Job): Promise<boolean> {
    const endsAt = performance.now() + BUDGET_MS
    while (!this.#stopping.signal.aborted) {
      const startedAt = performance.now()
      if ((await job()) === 0) return true
      const now = performance.now()
      await pause(Math.max(PAUSE_MS, now - startedAt), this.#stopping.signal, false)
      if (now > endsAt) return false
    }
    return false
  }
}

/** Few enough (about ten milliseconds of work) that no writer waits noticeably for a row that is being trimmed. */
const STREAMS_PER_STATEMENT = 20
const EVENTS_PER_STREAM = 500
const EVENTS_PER_STATEMENT = 2000
const STORIES_PER_STATEMENT = 50
const ROWS_PER_STATEMENT = 2000

/**
 * The CTE `mine`: one row, with the places of the job, if this session has the job now; none if another session has it. The
 * rest of the statement reads from it by subqueries, so that without the row it reads nothing.
 *
 * The commit does not wait for the disk, because writers that wait for a trimmed row would wait for it too. What a crash of
 * Postgres undoes is trimmed again.
 */
function mine(sql: Pool, job: 'events' | 'tickets', hours = 0) {
  return sql`mine as materialized (
    select c.*, now() - make_interval(hours => ${hours}) as before, set_config('synchronous_commit', 'off', true)
      from glimpse.cleaning c where job = ${job} for update skip locked
  )`
}

/**
 * Removes up to 2,000 of the events older than `hours` from the beginnings of up to 20 streams, and moves their `oldest`
 * along. It skips streams that somebody is writing to; the next call takes them.
 *
 * The trim deletes only a prefix, because readers number by position: all events before the first one that is young enough.
 * If Postgres' clock was stepped back, an event may have a time in the future; it counts as old as the oldest event after it.
 *
 * Rows are deleted instead of partitions dropped: deleting a row costs 1.2 µs and inserting it 40 µs, while a partitioned log
 * makes every insert 20 % slower.
 *
 * @returns the number of trimmed events, and of streams that were looked at: 0 if there was nothing to do, or if another
 *   instance has the job
 */
export async function trimEvents(sql: Pool, hours: number): Promise<{ events: number; streams: number }> {
  const portion = await trimPortion(sql, hours)
  // Nothing is left from the place on: it looks from the start, once, for streams that were locked before.
  const { events, streams } =
    portion.streams === 0 && portion.resumed ? await trimPortion(sql, hours) : portion
  return { events, streams }
}

async function trimPortion(sql: Pool, hours: number) {
  const [row] = await sql<{ events: number; streams: number; resumed: boolean }[]>`
    with ${mine(sql, 'events', hours)},
    picked as materialized (
      select s.user_id, s.oldest, s.oldest_at, (select before from mine) as before
        from glimpse.streams s
       where s.oldest_at < (select before from mine)
         and s.oldest_at >= (select coalesce(since, '-infinity') from mine)
       order by s.oldest_at limit ${STREAMS_PER_STATEMENT}
         for update of s skip locked
    ),
    -- One more than may go, for the time of the rest.
    looked_at as materialized (
      select p.user_id, e.seq, e.logged_at,
             e.age < p.before and e.nth <= ${EVENTS_PER_STREAM}
               and row_number() over (order by p.oldest_at, p.user_id, e.seq) <= ${EVENTS_PER_STATEMENT} as old
        from picked p, lateral (
          select seq, logged_at, row_number() over (order by seq) as nth,
                 case when logged_at <= now() then logged_at
                      else min(logged_at) over (order by seq rows between current row and unbounded following) end as age
            from (
              select seq, logged_at from glimpse.events where user_id = p.user_id and seq >= p.oldest
               order by seq limit ${EVENTS_PER_STREAM} + 1
            ) e
        ) e
    ),
    kept as materialized (
      select user_id, min(seq) filter (where not old) as seq, max(seq) + 1 as behind from looked_at group by user_id
    ),
    moved as (
      -- The head may have moved since the log was read, by events that this snapshot does not have.
      update glimpse.streams s
         set oldest = k.oldest, trimmed_at = case when k.oldest = s.oldest then s.trimmed_at else last.logged_at end,
             oldest_at = case when first.seq is not null then least(first.logged_at, now())
                              when s.head >= k.oldest and k.behind is not null then now() end
        from (select p.user_id, coalesce(k.seq, k.behind, p.oldest) as oldest, k.behind
                from picked p left join kept k using (user_id)) k
        left join looked_at first on first.user_id = k.user_id and first.seq = k.oldest
        left join looked_at last on last.user_id = k.user_id and last.seq = k.oldest - 1
       where s.user_id = k.user_id
    ),
    trimmed as (
      delete from glimpse.events e using kept k
       where e.user_id = k.user_id and e.seq < coalesce(k.seq, k.behind)
      returning 1
    ),
    noted as (
      update glimpse.cleaning c set since = (select max(oldest_at) from picked)
        from mine m where c.job = m.job and m.since is distinct from (select max(oldest_at) from picked)
    )
    select (select count(*) from trimmed)::int as events, (select count(*) from picked)::int as streams,
           (select since is not null from mine) as resumed`
  return row ?? { events: 0, streams: 0, resumed: false }
}

/**
 * Removes a portion of the stories that were deleted, or that expired more than `hours` ago, with their views and reactions.
 * Until then the stories answer as unknown or expired; their events stay until trimmed.
 *
 * @returns the number of removed rows of all three tables
 */
export async function removeExpiredStories(sql: Pool, hours: number): Promise<number> {
  const [row] = await sql<{ removed: number }[]>`
    select glimpse.remove_stories(${hours}, ${STORIES_PER_STATEMENT}, ${ROWS_PER_STATEMENT}) as removed`
  return row?.removed ?? 0
}

/** Removes expired tickets. @returns how many */
export async function removeExpiredTickets(sql: Pool): Promise<number> {
  const { count } = await sql`
    with ${mine(sql, 'tickets')}
    delete from glimpse.tickets where digest = any (array(
      select digest from glimpse.tickets
       where expires_at <= (select clock_timestamp() from mine)
       order by expires_at limit ${ROWS_PER_STATEMENT} for update skip locked
    ))`
  return count
}

/** Tallies popular stories that have no tallies yet. @returns how many stories were looked at */
export async function tallyStories(sql: Pool): Promise<number> {
  const [row] = await sql<{ looked: number }[]>`select glimpse.tally_stories() as looked`
  return row?.looked ?? 0
}

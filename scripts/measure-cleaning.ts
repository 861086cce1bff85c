/** Measures what grows and must not cost: see HELP. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import postgres from 'postgres'
import { startEmbeddedPostgres } from '../src/embedded/index.ts'
import { createLogger } from '../src/observability/log.ts'
import { parseConnectionUrl } from '../src/postgres/connection-url.ts'
import { openPool, type Pool } from '../src/postgres/pool.ts'
import { migrate } from '../src/store/migrate.ts'
import { recordViews } from '../src/store/recording.ts'
import {
  removeExpiredStories,
  removeExpiredTickets,
  tallyStories,
  trimEvents,
} from '../src/store/retention.ts'
import { deleteStory, getStory } from '../src/store/stories.ts'
import { formatTable } from './table.ts'

const HELP = `Measures the cleaner on a large database, and a story with many views.

  npx tsx scripts/measure-cleaning.ts [--events 10000000] [--users 1000000] [--views 1000000]

It makes the rows in an embedded Postgres of its own in the temporary folder (some 4 GB at this size, some minutes) and
removes it at the end. Times are milliseconds, as a caller in this process sees them.
`

const HOURS = 24
const COLUMNS = ['what', 'median', 'worst', 'times'].map((name, i) => ({ name, numeric: i > 0 }))
const LOCKS = { timeoutMs: 2000, skipLocked: false, isolated: false }

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '10000000' },
    users: { type: 'string', default: '1000000' },
    views: { type: 'string', default: '1000000' },
    help: { type: 'boolean', short: 'h' },
  },
})
if (values.help) process.stdout.write(HELP)
else await main(Number(values.events), Number(values.users), Number(values.views))

async function main(events: number, users: number, views: number): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'glimpse-cleaning-'))
  const log = createLogger('error')
  const { url, release } = await startEmbeddedPostgres({ dataDir, log, settings: { max_wal_size: '4GB' } })
  const pool = openPool(parseConnectionUrl(url), 'measure', { max: 4, deadlineMs: 600_000 })
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await migrate(parseConnectionUrl(url), log)
    progress(`${events} events of ${users} users, each with a story`)
    await makeUsers(sql, users, Math.ceil(events / users))
    const rows = [
      ...(await measureIdle(pool)),
      ...(await measureTrimming(sql, pool, Math.ceil(users / 100))),
      ...(await measureStory(sql, pool, views)),
    ]
    process.stdout.write(`${formatTable(COLUMNS, rows)}\n`)
  } finally {
    await sql.end()
    await pool.end()
    await release()
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** Written without triggers: making ten million events by views would take an hour. All are young at first. */
async function makeUsers(sql: postgres.Sql, users: number, each: number): Promise<void> {
  await sql`alter table glimpse.stories disable trigger user`
  await sql`
    insert into glimpse.streams (user_id, head, head_at, oldest_at)
    select 'user' || n, ${each}::int, now(), now() from generate_series(1, ${users}::int) n`
  await sql`insert into glimpse.stories (author_id) select 'user' || n from generate_series(1, ${users}::int) n`
  await sql`
    insert into glimpse.events (user_id, seq, body, logged_at)
    select 'user' || n, seq,
           '{"seq":' || seq || ',"type":"story.viewed","data":{"story_id":"00000000-0000-4000-8000-000000000000","viewer_id":"somebody"},"timestamp":"2026-01-01T00:00:00.000Z"}',
           now()
      from generate_series(1, ${users}::int) n, generate_series(1, ${each}::int) seq`
  await sql`alter table glimpse.stories enable trigger user`
}

/** Nothing is to be done, before and after the planner knows how much there is. */
async function measureIdle(pool: Pool): Promise<string[][]> {
  const jobs = {
    events: () => trimEvents(pool, HOURS),
    stories: () => removeExpiredStories(pool, HOURS),
    tickets: () => removeExpiredTickets(pool),
  }
  const rows: string[][] = []
  for (const state of ['not analyzed', 'analyzed']) {
    if (state === 'analyzed') await pool`analyze`
    for (const [name, job] of Object.entries(jobs))
      rows.push(row(`nothing to do: ${name}, ${state}`, await timesOf(20, job)))
  }
  rows.push(row('200 stories that are not tallied', await timesOf(20, () => tallyStories(pool))))
  return rows
}

/** A hundredth of the streams is old; somebody views the stories of their authors meanwhile. */
async function measureTrimming(sql: postgres.Sql, pool: Pool, old: number): Promise<string[][]> {
  progress(`the events of ${old} users are old`)
  const authors = sql`select 'user' || n from generate_series(1, ${old}::int) n`
  await sql`update glimpse.events set logged_at = logged_at - interval '48 hours' where user_id in (${authors})`
  await sql`update glimpse.streams set oldest_at = oldest_at - interval '48 hours' where user_id in (${authors})`
  const stories = await sql<{ id: string }[]>`
    select id from glimpse.stories where author_id in (select 'user' || n from generate_series(1, ${Math.min(old, 2000)}::int) n)`
  let nth = 0
  const view = () => {
    nth++
    return recordViews(
      pool,
      [{ storyId: stories[nth % stories.length]?.id ?? '', viewerId: `viewer${nth}` }],
      LOCKS,
    )
  }
  const quiet = await timesOf(300, view)
  let trimming = true
  const trims: number[] = []
  const trimmed = (async () => {
    while (trimming) {
      const [ms] = await timesOf(1, async () => {
        trimming &&= (await trimEvents(pool, HOURS)).streams > 0
      })
      trims.push(ms ?? 0)
    }
  })()
  const busy: number[] = []
  while (trimming && busy.length < 5000) busy.push(...(await timesOf(1, view)))
  trimming = false
  await trimmed
  return [
    row('a view, nobody trims', quiet),
    row('a view of an author whose stream is trimmed', busy),
    row('trimming', trims),
  ]
}

async function measureStory(sql: postgres.Sql, pool: Pool, views: number): Promise<string[][]> {
  progress(`a story with ${views} views`)
  const newStory = async (count: number) => {
    const [story] = await sql<
      [{ id: string }]
    >`insert into glimpse.stories (author_id) values ('famous') returning id`
    await sql`alter table glimpse.story_views disable trigger story_viewed`
    await sql`insert into glimpse.story_views (story_id, viewer_id) select ${story.id}, 'viewer' || n from generate_series(1, ${count}::int) n`
    await sql`alter table glimpse.story_views enable trigger story_viewed`
    return story.id
  }
  const [small, large] = [await newStory(10), await newStory(views)]
  const rows: string[][] = []
  for (let round = 1; round <= 2; round++) {
    rows.push(row('GET of a story with 10 views', await timesOf(500, () => getStory(pool, small))))
    rows.push(row(`GET of a story with ${views} views`, await timesOf(500, () => getStory(pool, large))))
  }
  rows.push(
    row(
      `DELETE of the story with ${views} views`,
      await timesOf(1, () => deleteStory(pool, large, 'famous')),
    ),
  )
  const portions: number[] = []
  for (let left = 1; left > 0; )
    portions.push(
      ...(await timesOf(1, async () => {
        left = await removeExpiredStories(pool, HOURS)
      })),
    )
  rows.push(row('removing it: a portion', portions))
  return rows
}

async function timesOf(times: number, work: () => Promise<unknown>): Promise<number[]> {
  const taken: number[] = []
  for (let i = 0; i < times; i++) {
    const startedAt = performance.now()
    await work()
    taken.push(performance.now() - startedAt)
  }
  return taken
}

function row(what: string, times: readonly number[]): string[] {
  const sorted = times.toSorted((a, b) => a - b)
  const shown = (ms: number | undefined) => (ms ?? Number.NaN).toFixed(2)
  return [what, shown(sorted[sorted.length >> 1]), shown(sorted.at(-1)), String(times.length)]
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`)
}

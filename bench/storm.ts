import postgres from 'postgres'
import { scrape } from '../test/support/metrics.ts'
import { startGlimpse } from './harness/contenders.ts'
import { createStories } from './harness/postgres.ts'
import { alternate } from './harness/rounds.ts'
import { Subscribers } from './harness/subscribers.ts'
import { nowMs } from './load/jobs.ts'
import type { BenchPart } from './report/part.ts'
import type { Figures, Trial } from './report/results.ts'
import { column, numberText, spreadText, tableOf } from './report/table.ts'
import type { Run } from './run.ts'

export const STORM = 'resume'
export const GLIMPSE_SSE = 'Glimpse SSE'
const GLIMPSE_WS = 'Glimpse WebSocket'

/** How many events each client is behind, and how many there are of each before those. */
const BEHIND = 20
const BEFORE = 5
/** Filling the streams takes most of the time. */
const mostRounds = 2

/** Everybody was away and comes back at once. */
async function* measure(run: Run): AsyncGenerator<Trial> {
  const lanes = [
    { name: GLIMPSE_SSE, protocol: 'sse', mostRounds },
    { name: GLIMPSE_WS, protocol: 'ws', mostRounds },
  ] as const
  const clients = run.options.quick ? 1000 : 5000
  const plan = { scenario: STORM, level: clients, seconds: 13 }
  yield* await alternate(run, plan, lanes, ({ protocol }, own) => resume(own, protocol, clients))
}

async function resume(run: Run, protocol: 'sse' | 'ws', clients: number): Promise<Figures> {
  const glimpse = await startGlimpse(run, 'bench_storm')
  const { url, databaseUrl, complaints } = glimpse
  const subscribers = new Subscribers(run)
  const users = Array.from({ length: clients }, (_, n) => `user_${n}`)
  const { epoch, logBytes } = await fillStreams(databaseUrl, users)
  await subscribers.reset()
  // The event loop's histogram begins anew with every scrape.
  await scrape(url)
  const cpu = run.cluster.cpuMeter(glimpse)
  const startedAt = nowMs()
  const opening = { url, protocol, identity: 'token', users, cursor: `${epoch}.${BEFORE}` } as const
  const connectionsPerSecond = await subscribers.open(opening, clients)
  const { lastAt, cores } = await subscribers.receivedAll(clients * BEHIND, complaints)
  const metrics = await scrape(url)
  return {
    completeMs: lastAt - startedAt,
    connectionsPerSecond,
    loopP99Ms: (metrics.get('nodejs_eventloop_lag_p99_seconds') ?? Number.NaN) * 1000,
    loopMaxMs: (metrics.get('nodejs_eventloop_lag_max_seconds') ?? Number.NaN) * 1000,
    ...cpu(clients),
    clientCores: cores,
    logBytes,
  }
}

/** Fills every user's stream; returns their cursors' epoch and what an event takes on disk. */
async function fillStreams(databaseUrl: string, users: readonly string[]) {
  await createStories(databaseUrl, 'glimpse.stories', users)
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  for (let viewer = 0; viewer < BEFORE + BEHIND; viewer += 1)
    await sql`INSERT INTO glimpse.story_views (story_id, viewer_id)
      SELECT id, ${`viewer_${viewer}`} FROM glimpse.stories`
  await sql`VACUUM ANALYZE glimpse.events`
  await sql`VACUUM ANALYZE glimpse.streams`
  const [row] = await sql<[{ epoch: string; bytes: number }]>`
    SELECT glimpse.epoch() AS epoch, pg_total_relation_size('glimpse.events')::float8 AS bytes`
  await sql.end()
  return { epoch: row.epoch, logBytes: row.bytes / (users.length * (BEFORE + BEHIND)) }
}

export const storm: BenchPart = {
  measure,
  title: 'Storm',
  note: `All clients connect at the same moment to one instance that has just started, each with a cursor ${BEHIND} events behind: tokens verified, heads and events read from Postgres, every event counted and its order checked at the sockets. The delay of the event loop is Node's own histogram (\`monitorEventLoopDelay\`), from just before the first connection to the last event.`,
  plots: () => [],
  tables: (view) => [
    tableOf(view.rows(STORM), [
      column.name(),
      column.level('clients'),
      ['all complete, s', ({ spread }) => spreadText(spread('completeMs', 1 / 1000), 2)],
      ...column.spreads(0, {
        'connections/s': 'connectionsPerSecond',
        'event loop delay p99 ms': 'loopP99Ms',
        'max ms': 'loopMaxMs',
        'server CPU µs/client': 'serverUs',
        'Postgres CPU µs/client': 'postgresUs',
      }),
      column.cores('client cores'),
    ]),
  ],
  claims: (view) =>
    view.levels(STORM).map((level) => {
      const { spread } = view.row(STORM, level, GLIMPSE_SSE)
      return {
        what: `${numberText(level)} clients resume at once, each ${BEHIND} events behind: all complete after`,
        better: 'less',
        own: spread('completeMs', 1 / 1000),
        digits: 1,
        unit: ' s',
        beside: `event loop delay p99 ${spreadText(spread('loopP99Ms'), 0, ' ms')}`,
      }
    }),
}

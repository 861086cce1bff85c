import postgres from 'postgres'
import { startGlimpse } from './harness/contenders.ts'
import { alternate } from './harness/rounds.ts'
import { scrape } from './harness/scrape.ts'
import { Subscribers } from './harness/subscribers.ts'
import { usageOf } from './harness/usage.ts'
import { nowMs } from './load/clock.ts'
import type { Options } from './options.ts'
import type { Figures, Trial } from './report/results.ts'
import type { PartRunner, Run } from './run.ts'

export const STORM = 'resume'
export const GLIMPSE_SSE = 'Glimpse SSE'
export const GLIMPSE_WS = 'Glimpse WebSocket'

/** How many events each client is behind, and how many there are of each before those. */
export const BEHIND = 20
const BEFORE = 5
export const clientsOf = ({ quick }: Options) => (quick ? 1000 : 5000)
const CLIENT_PROCESSES = 2
const QUIET_MS = 10_000
/** Planned for one measurement, most of which fills the streams. */
const SECONDS = 13

interface Lane {
  readonly name: string
  readonly protocol: 'sse' | 'ws'
}

/** Everybody was away and comes back at once. */
export const storm: PartRunner = {
  seconds: ({ rounds }) => rounds * 2 * SECONDS,
  measure: async (run) => {
    const lanes: Lane[] = [
      { name: GLIMPSE_SSE, protocol: 'sse' },
      { name: GLIMPSE_WS, protocol: 'ws' },
    ]
    const clients = clientsOf(run.options)
    const plan = {
      scenario: STORM,
      level: clients,
      rounds: run.options.rounds,
      title: `storm: ${clients} clients resume`,
      seconds: SECONDS,
      progress: run.progress,
    }
    const trials: Trial[] = await alternate(lanes, plan, (lane) => measure(run, lane, clients))
    return { trials, absent: [] }
  },
}

async function measure({ cluster, options }: Run, { protocol }: Lane, clients: number): Promise<Figures> {
  const { server, databaseUrl } = await startGlimpse(cluster, options.profile, 'bench_storm')
  const subscribers = new Subscribers(CLIENT_PROCESSES)
  try {
    const users = Array.from({ length: clients }, (_, n) => `user_${n}`)
    const { epoch, logBytes } = await fillStreams(databaseUrl, users)
    await subscribers.reset()
    // The event loop's histogram begins anew with every scrape.
    await scrape(server.url)
    const [cpuBefore, postgresBefore] = [
      usageOf(server.pid)?.cpuMs ?? Number.NaN,
      cluster.cpuMs() ?? Number.NaN,
    ]
    const startedAt = nowMs()
    const perSecond = await subscribers.open({
      url: server.url,
      protocol,
      identity: 'token',
      users,
      cursors: users.map(() => `${epoch}.${BEFORE}`),
      concurrency: clients,
    })
    const received = await subscribers.received(clients * BEHIND, QUIET_MS)
    const metrics = await scrape(server.url)
    if (received.events !== clients * BEHIND || received.outOfOrder > 0 || received.lost > 0)
      throw new Error(
        `${received.events} of ${clients * BEHIND} events came, ${received.outOfOrder} out of order, ${received.lost} connections lost ${server.complaints()}`,
      )
    return {
      completeMs: received.lastAt - startedAt,
      connectionsPerSecond: perSecond,
      loopP99Ms: metrics('nodejs_eventloop_lag_p99_seconds') * 1000,
      loopMaxMs: metrics('nodejs_eventloop_lag_max_seconds') * 1000,
      serverUs: (((usageOf(server.pid)?.cpuMs ?? Number.NaN) - cpuBefore) * 1000) / clients,
      postgresUs: (((cluster.cpuMs() ?? Number.NaN) - postgresBefore) * 1000) / clients,
      clientCores: received.cores,
      logBytes,
    }
  } finally {
    subscribers.stop()
    await server.stop()
  }
}

/** Fills every user's stream; returns their cursors' epoch and what an event takes on disk. */
async function fillStreams(
  databaseUrl: string,
  users: readonly string[],
): Promise<{ epoch: string; logBytes: number }> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  try {
    await sql`INSERT INTO glimpse.stories (author_id) SELECT * FROM unnest(${[...users]}::text[])`
    for (let viewer = 0; viewer < BEFORE + BEHIND; viewer += 1)
      await sql`INSERT INTO glimpse.story_views (story_id, viewer_id)
        SELECT id, ${`viewer_${viewer}`} FROM glimpse.stories`
    await sql`VACUUM ANALYZE glimpse.events`
    await sql`VACUUM ANALYZE glimpse.streams`
    const [row] = await sql<[{ epoch: string; bytes: number }]>`
      SELECT glimpse.epoch() AS epoch, pg_total_relation_size('glimpse.events')::float8 AS bytes`
    return { epoch: row.epoch, logBytes: row.bytes / (users.length * (BEFORE + BEHIND)) }
  } finally {
    await sql.end()
  }
}

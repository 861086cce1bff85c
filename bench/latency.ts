import postgres from 'postgres'
import { createPeerDatabase, startGlimpse } from './harness/contenders.ts'
import { alternate } from './harness/rounds.ts'
import { Worker } from './harness/worker.ts'
import { inMilliseconds } from './load/percentiles.ts'
import type { RoundTripJob, RoundTrips, Route } from './load/round-trips.ts'
import type { Options } from './options.ts'
import type { Figures, Trial } from './report/results.ts'
import type { PartRunner, Run } from './run.ts'

export const STEADY = 'steady rate'
export const BASE = 'bare INSERT + NOTIFY → LISTEN'
export const INSERT_TO_SSE = 'Glimpse, INSERT → SSE'
export const POST_TO_SSE = 'Glimpse, POST → SSE'

/** One way from a write to its event. */
interface Lane {
  readonly name: string
  readonly route: Route
  readonly url: string
  readonly databaseUrl: string
  readonly stories: readonly string[]
  /** The next (story, viewer) pair; shared by the lanes of one database. */
  readonly pairs: { next: number }
}

export const AUTHORS = 100
const authors = Array.from({ length: AUTHORS }, (_, i) => `author_${i}`)
export const RATES = [100, 1000]

const seconds = ({ quick }: Options) => (quick ? 2 : 3)
/** Planned for one measurement. */
const SECONDS = 3.5

/** From the request to the event at the client, at a steady rate. */
export const latency: PartRunner = {
  seconds: (options) => RATES.length * options.rounds * 3 * SECONDS,
  measure: async (run) => {
    const bareUrl = await createPeerDatabase(run.cluster, 'bench_listen')
    const glimpse = await startGlimpse(run.cluster, run.options.profile)
    const worker = new Worker<RoundTripJob, RoundTrips>('load/round-trips.ts')
    try {
      const { databaseUrl } = glimpse
      const own = {
        url: glimpse.server.url,
        databaseUrl,
        stories: await createStories(databaseUrl, 'glimpse.stories'),
        pairs: { next: 0 },
      }
      const bare = {
        url: '',
        databaseUrl: bareUrl,
        stories: await createStories(bareUrl, 'stories'),
        pairs: { next: 0 },
      }
      const lanes: Lane[] = [
        { name: BASE, route: 'listen', ...bare },
        { name: INSERT_TO_SSE, route: 'insert', ...own },
        { name: POST_TO_SSE, route: 'post', ...own },
      ]
      const trials: Trial[] = []
      for (const rate of RATES) {
        const plan = {
          scenario: STEADY,
          level: rate,
          rounds: run.options.rounds,
          title: `latency: ${rate} events/s`,
          seconds: SECONDS,
          progress: run.progress,
        }
        trials.push(...(await alternate(lanes, plan, (lane) => measure(worker, lane, rate, run))))
      }
      return { trials, absent: [] }
    } finally {
      worker.stop()
      await glimpse.server.stop()
    }
  },
}

async function createStories(databaseUrl: string, table: string): Promise<string[]> {
  const sql = postgres(databaseUrl, { max: 1 })
  const rows = await sql<{ id: string }[]>`
    INSERT INTO ${sql(table)} (author_id) SELECT * FROM unnest(${authors}::text[]) RETURNING id`
  await sql.end()
  return rows.map(({ id }) => id)
}

async function measure(
  worker: Worker<RoundTripJob, RoundTrips>,
  { pairs, ...lane }: Lane,
  rate: number,
  { options }: Run,
): Promise<Figures> {
  const events = rate * seconds(options)
  const from = pairs.next
  pairs.next += events
  const trips = await worker.run<RoundTrips>({ ...lane, authors, rate, events, from }, 60_000)
  if (trips.arrived !== events || trips.failed > 0)
    throw new Error(`${trips.arrived} of ${events} events came, ${trips.failed} sends failed`)
  return { perSecond: trips.perSecond, ...inMilliseconds(trips.latency), clientCores: trips.cores }
}

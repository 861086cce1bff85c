import postgres from 'postgres'
import { createPeerDatabase, startGlimpse } from './harness/contenders.ts'
import { alternate, faultLines, type Outcome, spreadOf } from './harness/rounds.ts'
import { Worker } from './harness/worker.ts'
import type { RoundTripJob, RoundTrips, Route } from './load/round-trips.ts'
import type { Options } from './options.ts'
import { numberText, spreadText, type Table } from './report/table.ts'
import type { PartRunner, Run } from './run.ts'

interface Lane {
  readonly name: string
  readonly route: Route
  readonly url: string
  readonly databaseUrl: string
  readonly stories: readonly string[]
  /** The next (story, viewer) pair; shared by the lanes of one database. */
  readonly pairs: { next: number }
}

const AUTHORS = 100
const authors = Array.from({ length: AUTHORS }, (_, i) => `author_${i}`)
const RATES = [100, 1000]
const BASE = 'bare INSERT + NOTIFY → LISTEN'

const seconds = ({ quick }: Options) => (quick ? 2 : 4)

/** From the request to the event at the client, at a steady rate. */
export const latency: PartRunner = {
  steps: (options) => RATES.length * options.rounds * 3,
  measure: async (run) => {
    const bareUrl = await createPeerDatabase(run.cluster, 'bench_listen')
    const glimpse = await startGlimpse(run.cluster, run.options.profile)
    const worker = new Worker<RoundTripJob, RoundTrips>('load/round-trips.ts')
    try {
      const databaseUrl = glimpse.databaseUrl as string
      const own = {
        url: glimpse.server.url,
        databaseUrl,
        stories: await createStories(databaseUrl, 'glimpse.stories'),
        pairs: { next: 0 },
      }
      const lanes: Lane[] = [
        {
          name: BASE,
          route: 'listen',
          url: '',
          databaseUrl: bareUrl,
          stories: await createStories(bareUrl, 'stories'),
          pairs: { next: 0 },
        },
        { name: 'Glimpse, INSERT → SSE', route: 'insert', ...own },
        { name: 'Glimpse, POST → SSE', route: 'post', ...own },
      ]
      const rows: string[][] = []
      const faults: string[] = []
      for (const rate of RATES) {
        const outcomes = await alternate(lanes, run.options.rounds, (lane) => {
          run.progress.step(`latency: ${rate} events/s, ${lane.name}`)
          return measure(worker, lane, rate, run)
        })
        rows.push(...rowsOf(rate, outcomes))
        faults.push(...faultLines(`${rate} events/s`, outcomes))
      }
      return [{ title: 'Latency', note: NOTE, columns: COLUMNS, rows, faults } satisfies Table]
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
): Promise<RoundTrips> {
  const events = rate * seconds(options)
  const from = pairs.next
  pairs.next += events
  const trips = await worker.run<RoundTrips>({ ...lane, authors, rate, events, from }, 60_000)
  if (trips.arrived !== events || trips.failed > 0)
    throw new Error(`${trips.arrived} of ${events} events came, ${trips.failed} sends failed`)
  return trips
}

const COLUMNS = [
  'rate',
  'way',
  'arrived/s',
  'p50 ms',
  'p99 ms',
  'max ms',
  'p50 against bare',
  'p99 against bare',
  'sender cores',
]

const NOTE = `From just before the send to the event's arrival in the same process, single views sent at a steady rate whether or not answers come, to ${AUTHORS} connected authors. The bare way is an INSERT with a row trigger that calls \`pg_notify\`, heard on a LISTEN connection: no log, no numbers, no HTTP. Where "arrived/s" is below the rate, that way cannot keep it up and its latency is a queue's. Both SQL ways send over up to 20 connections, POST over up to 64.`

function rowsOf(rate: number, outcomes: Map<string, Outcome<RoundTrips>>): string[][] {
  const base = outcomes.get(BASE) as Outcome<RoundTrips>
  const baseKeepsUp = spreadOf(base, (trips) => trips.perSecond).median > rate * 0.95
  return [...outcomes].map(([name, outcome]) => {
    const against = (pick: (trips: RoundTrips) => number) =>
      outcome === base
        ? ''
        : !baseKeepsUp
          ? 'bare fell behind'
          : `${numberText(spreadOf(outcome, pick).median / spreadOf(base, pick).median, 2)}×`
    return [
      `${numberText(rate)}/s`,
      name,
      spreadText(spreadOf(outcome, (trips) => trips.perSecond)),
      spreadText(
        spreadOf(outcome, (trips) => trips.p50),
        2,
      ),
      spreadText(
        spreadOf(outcome, (trips) => trips.p99),
        2,
      ),
      spreadText(
        spreadOf(outcome, (trips) => trips.max),
        1,
      ),
      against((trips) => trips.p50),
      against((trips) => trips.p99),
      numberText(spreadOf(outcome, (trips) => trips.cores).median, 2),
    ]
  })
}

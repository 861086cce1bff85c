import postgres from 'postgres'
import { type Contender, startBareStream, startGlimpse } from './harness/contenders.ts'
import { alternate, faultLines, type Outcome, spreadOf } from './harness/rounds.ts'
import { startAll, stopAll } from './harness/server.ts'
import { Subscribers } from './harness/subscribers.ts'
import { usageOf } from './harness/usage.ts'
import { Worker } from './harness/worker.ts'
import type { SqlWriteJob, SqlWritten } from './load/sql-writer.ts'
import type { Transport } from './load/stream-socket.ts'
import type { Options } from './options.ts'
import { numberText, spreadText, type Table } from './report/table.ts'
import type { PartRunner, Run } from './run.ts'

/** One way of delivering: a contender, a transport, its connected users, and how events are set off. */
interface Lane {
  readonly name: string
  readonly contender: Contender
  readonly subscribers: Subscribers
  /** Sets off `events`, at `rate` a second or as fast as it goes; returns when it began, in epoch milliseconds. */
  readonly feed: (events: number, rate: number | undefined, round: number) => Promise<number>
  readonly usesPostgres: boolean
}

interface Delivered {
  readonly perSecond: number
  /** CPU of the server process per event, microseconds; NaN where it cannot be read. */
  readonly serverUs: number
  readonly postgresUs: number
  /** Cores of the busiest client process. */
  readonly clientCores: number
}

const BOUND = 'bare socket.write'
const CLIENT_PROCESSES = 2
const PACED_RATE = 5000
/** Longer than two of the service's sweeps: what is not there by then is lost, not late. */
const QUIET_MS = 10_000
const SATURATED = 0.9

const scenarios = ({ quick }: Options) => [
  { title: 'as fast as it goes', rate: undefined, events: quick ? 10_000 : 50_000 },
  { title: `${numberText(PACED_RATE)} events/s`, rate: PACED_RATE, events: quick ? 5000 : 15_000 },
]

/** Events to distinct connected users, counted at their sockets. */
export const delivery: PartRunner = {
  steps: (options) => scenarios(options).length * options.rounds * 5 + 5,
  measure: async (run) => {
    const contenders = await startAll([
      () => startGlimpse(run.cluster, run.options.profile, 'bench_glimpse_sse'),
      () => startGlimpse(run.cluster, run.options.profile, 'bench_glimpse_ws'),
      () => startBareStream('bare res.write', 'bare-sse.ts'),
      () => startBareStream('bare ws.send', 'bare-ws.ts'),
      () => startBareStream(BOUND, 'bare-net.ts'),
    ])
    const writer = new Worker<SqlWriteJob, SqlWritten>('load/sql-writer.ts')
    const lanes: Lane[] = []
    try {
      const [glimpseSse, glimpseWs, sse, ws, net] = contenders as [
        Contender,
        Contender,
        Contender,
        Contender,
        Contender,
      ]
      lanes.push(
        await glimpseLane(run, glimpseSse, 'sse', writer),
        await glimpseLane(run, glimpseWs, 'ws', writer),
        await bareLane(run, sse, 'sse'),
        await bareLane(run, ws, 'ws'),
        await bareLane(run, net, 'sse'),
      )
      const rows: string[][] = []
      const faults: string[] = []
      for (const scenario of scenarios(run.options)) {
        const outcomes = await alternate(lanes, run.options.rounds, (lane, round) => {
          run.progress.step(`delivery: ${scenario.title}, ${lane.name}`)
          return measure(run, lane, scenario, round)
        })
        rows.push(...rowsOf(scenario.title, outcomes))
        faults.push(...faultLines(scenario.title, outcomes))
      }
      const title = `Delivery, ${numberText(run.options.connections)} connections`
      return [{ title, note: NOTE, columns: COLUMNS, rows, faults } satisfies Table]
    } finally {
      writer.stop()
      for (const lane of lanes) lane.subscribers.stop()
      await stopAll(contenders)
    }
  },
}

async function glimpseLane(
  run: Run,
  contender: Contender,
  transport: Transport,
  writer: Worker<SqlWriteJob, SqlWritten>,
): Promise<Lane> {
  const name = `Glimpse, ${transport}`
  const users = Array.from({ length: run.options.connections }, (_, i) => `${transport}_user_${i}`)
  const databaseUrl = contender.databaseUrl as string
  const sql = postgres(databaseUrl, { max: 1 })
  const rows = await sql<{ id: string }[]>`
    INSERT INTO glimpse.stories (author_id) SELECT * FROM unnest(${users}::text[]) RETURNING id`
  await sql.end()
  const stories = rows.map(({ id }) => id)
  const feed: Lane['feed'] = async (events, rate, round) => {
    const written = await writer.run<SqlWritten>(
      {
        databaseUrl,
        stories,
        events,
        rowsPerInsert: rate === undefined ? 500 : rate / 200,
        inFlight: 2,
        ...(rate === undefined ? {} : { rate }),
        prefix: `${transport}_${rate ?? 'max'}_${round}`,
      },
      60_000,
    )
    return written.startedAt
  }
  const subscribers = await connect(run, contender, name, transport, users)
  return { name, contender, subscribers, feed, usesPostgres: true }
}

async function bareLane(run: Run, contender: Contender, transport: Transport): Promise<Lane> {
  const users = Array.from({ length: run.options.connections }, (_, i) => `user_${i}`)
  const feed: Lane['feed'] = async (events, rate) => {
    const query = new URLSearchParams({ events: String(events), ...(rate ? { rate: String(rate) } : {}) })
    const response = await fetch(`${contender.server.url}/feed?${query}`, { method: 'POST' })
    return ((await response.json()) as { startedAt: number }).startedAt
  }
  const subscribers = await connect(run, contender, contender.name, transport, users)
  return { name: contender.name, contender, subscribers, feed, usesPostgres: false }
}

async function connect(
  run: Run,
  { server }: Contender,
  name: string,
  transport: Transport,
  users: readonly string[],
): Promise<Subscribers> {
  run.progress.step(`delivery: connecting to ${name}`)
  const subscribers = new Subscribers(CLIENT_PROCESSES)
  try {
    await subscribers.open(server.url, transport, users)
  } catch (error) {
    subscribers.stop()
    throw new Error(`${name}: ${(error as Error).message}`)
  }
  return subscribers
}

async function measure(
  { cluster }: Run,
  lane: Lane,
  { events, rate }: { readonly events: number; readonly rate: number | undefined },
  round: number,
): Promise<Delivered> {
  await lane.subscribers.reset()
  const cpu = () => usageOf(lane.contender.server.pid)?.cpuMs ?? Number.NaN
  const postgresCpu = () => (lane.usesPostgres ? cluster.cpuMs() : undefined) ?? Number.NaN
  const [serverBefore, postgresBefore] = [cpu(), postgresCpu()]
  const startedAt = await lane.feed(events, rate, round)
  const received = await lane.subscribers.received(events, QUIET_MS)
  if (received.events !== events || received.outOfOrder > 0 || received.lost > 0)
    throw new Error(
      `${received.events} of ${events} events came, ${received.outOfOrder} out of order, ${received.lost} connections lost ${lane.contender.server.complaints()}`,
    )
  return {
    perSecond: (events / (received.lastAt - startedAt)) * 1000,
    serverUs: ((cpu() - serverBefore) * 1000) / events,
    postgresUs: ((postgresCpu() - postgresBefore) * 1000) / events,
    clientCores: received.cores,
  }
}

const COLUMNS = [
  'scenario',
  'contender',
  'events/s at the sockets',
  'of socket.write',
  'server CPU µs/event',
  'of socket.write',
  'Postgres CPU µs/event',
  'client cores',
]

const NOTE = `Each event goes to one connected user, picked at random; every user has one connection. For Glimpse events are views INSERTed by plain SQL (500 rows a statement, 2 in flight; at the paced rate a statement every 5 ms), so the figure covers commit, log, NOTIFY and delivery, and Postgres, the writer, the service and the clients share the cores. The bare servers make the same event in memory and write it: no database, no numbering but a counter, no bound on what a slow reader may cost; \`socket.write\` without HTTP is the bound for Node. Clients check at each socket that every \`seq\` follows the one before; a missing, doubled or reordered event is a fault. Client cores of ${SATURATED} or more (marked *) mean that the clients were the limit.`

function rowsOf(title: string, outcomes: Map<string, Outcome<Delivered>>): string[][] {
  const bound = outcomes.get(BOUND)
  const ofBound = (outcome: Outcome<Delivered>, pick: (result: Delivered) => number) =>
    bound === undefined || bound === outcome
      ? ''
      : numberText(spreadOf(outcome, pick).median / spreadOf(bound, pick).median, 2)
  return [...outcomes].map(([name, outcome]) => {
    const cores = spreadOf(outcome, (result) => result.clientCores).median
    return [
      title,
      name,
      spreadText(spreadOf(outcome, (result) => result.perSecond)),
      ofBound(outcome, (result) => result.perSecond),
      spreadText(
        spreadOf(outcome, (result) => result.serverUs),
        1,
      ),
      ofBound(outcome, (result) => result.serverUs),
      spreadText(
        spreadOf(outcome, (result) => result.postgresUs),
        1,
      ),
      `${numberText(cores, 2)}${cores >= SATURATED ? '*' : ''}`,
    ]
  })
}

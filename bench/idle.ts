import { type Contender, startBareStream, startGlimpse } from './harness/contenders.ts'
import { alternate, faultLines, type Outcome, spreadOf } from './harness/rounds.ts'
import { Subscribers } from './harness/subscribers.ts'
import { usageOf } from './harness/usage.ts'
import type { Transport } from './load/stream-socket.ts'
import type { Options } from './options.ts'
import { numberText, spreadText, type Table } from './report/table.ts'
import type { PartRunner, Run } from './run.ts'

interface Lane {
  readonly name: string
  readonly transport: Transport
  start(): Promise<Contender>
}

interface Idle {
  /** kB of RSS a connection, over the server's RSS before the first. */
  readonly fewKb: number
  readonly manyKb: number
  /** Connections opened a second, up to `stream.open`, while going from none to all. */
  readonly perSecond: number
}

const FEW = 1000
/** After this long the server has had its turn to collect what the opening left. */
const SETTLE_MS = 2000
const manyOf = ({ quick, connections }: Options) => Math.max(connections, quick ? 2000 : 5000)
const roundsOf = ({ rounds }: Options) => Math.min(rounds, 2)

/** What connections cost that nothing happens on. */
export const idle: PartRunner = {
  steps: (options) => roundsOf(options) * 4,
  measure: async (run) => {
    const glimpse = () => startGlimpse(run.cluster, run.options.profile)
    const lanes: Lane[] = [
      { name: 'Glimpse, SSE', transport: 'sse', start: glimpse },
      { name: 'bare http, SSE', transport: 'sse', start: () => startBareStream('bare http', 'bare-sse.ts') },
      { name: 'Glimpse, WebSocket', transport: 'ws', start: glimpse },
      { name: 'bare ws', transport: 'ws', start: () => startBareStream('bare ws', 'bare-ws.ts') },
    ]
    const outcomes = await alternate(lanes, roundsOf(run.options), (lane) => {
      run.progress.step(`idle: ${lane.name}`)
      return measure(lane, run)
    })
    return [
      {
        title: 'Idle connections',
        note: NOTE,
        columns: [
          'contender',
          `kB/connection at ${numberText(FEW)}`,
          `kB/connection at ${numberText(manyOf(run.options))}`,
          'connections/s',
          'of bare',
        ],
        rows: rowsOf(outcomes),
        faults: faultLines('idle', outcomes),
      } satisfies Table,
    ]
  },
}

/** In a fresh process each time: memory that a round before left behind would be given to this one's connections. */
async function measure(lane: Lane, { options }: Run): Promise<Idle> {
  const { server } = await lane.start()
  const subscribers = new Subscribers(2)
  const rss = () => usageOf(server.pid)?.rssBytes ?? Number.NaN
  const users = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `idle_${from + i}`)
  try {
    await sleep(SETTLE_MS)
    const before = rss()
    const many = manyOf(options)
    const fewPerSecond = await subscribers.open(server.url, lane.transport, users(0, FEW))
    await sleep(SETTLE_MS)
    const few = rss()
    const manyPerSecond = await subscribers.open(server.url, lane.transport, users(FEW, many))
    await sleep(SETTLE_MS)
    const after = rss()
    const { lost } = await subscribers.count()
    if (lost > 0) throw new Error(`${lost} of ${many} connections ended while idle`)
    return {
      fewKb: (few - before) / 1000 / FEW,
      manyKb: (after - before) / 1000 / many,
      perSecond: many / (FEW / fewPerSecond + (many - FEW) / manyPerSecond),
    }
  } finally {
    subscribers.stop()
    await server.stop()
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const NOTE = `Resident memory of the server process over what it was before the first connection, ${SETTLE_MS / 1000} s after the last one opened, one user each, a fresh process each round, no collection forced. Glimpse verifies each user's token and reads the head of their stream; the bare servers accept anybody. Connections/s counts to \`stream.open\`, 64 opening at once.`

function rowsOf(outcomes: Map<string, Outcome<Idle>>): string[][] {
  const rates = [...outcomes.values()].map(
    (outcome) => spreadOf(outcome, (result) => result.perSecond).median,
  )
  return [...outcomes].map(([name, outcome], i) => [
    name,
    spreadText(
      spreadOf(outcome, (result) => result.fewKb),
      1,
    ),
    spreadText(
      spreadOf(outcome, (result) => result.manyKb),
      1,
    ),
    spreadText(spreadOf(outcome, (result) => result.perSecond)),
    i % 2 === 0 ? numberText((rates[i] as number) / (rates[i + 1] as number), 2) : '',
  ])
}

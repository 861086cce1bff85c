import { startNchan, startPushpin } from './harness/brokers.ts'
import {
  type Contender,
  type Feed,
  memoryFeed,
  sqlFeed,
  startEach,
  startGlimpse,
  startPeer,
} from './harness/contenders.ts'
import { alternate, progress } from './harness/rounds.ts'
import { Subscribers } from './harness/subscribers.ts'
import type { Feeding } from './load/feed.ts'
import { INSERTS_IN_FLIGHT, INSERTS_PER_SECOND, ROWS_PER_INSERT } from './load/jobs.ts'
import type { Protocol } from './load/streams.ts'
import { type BenchPart, claimOf } from './report/part.ts'
import type { Tone } from './report/plot.ts'
import type { Row, Trial, View } from './report/results.ts'
import { type Column, column, numberText, spreadText, tableOf, toMarkdown } from './report/table.ts'
import type { Options, Run } from './run.ts'

export const GLIMPSE_SSE = 'Glimpse SSE'
export const GLIMPSE_WS = 'Glimpse WebSocket'
/** The bound for Node. */
export const BARE_NET = 'bare socket.write'
const BETTER_SSE = 'better-sse'
const SOCKET_IO_POSTGRES = 'socket.io, Postgres adapter'
export const NCHAN_SSE = 'Nchan SSE'
const PUSHPIN = 'Pushpin SSE'
/** No contender: what the clients can take. */
const RAW_SOURCE = 'clients alone'
/** What Glimpse is compared with. The others have no database behind them, or keep nothing, and stand apart. */
const COMPARED = [GLIMPSE_SSE, GLIMPSE_WS, SOCKET_IO_POSTGRES, BARE_NET]

type Started = Omit<Contender, 'name'> & { readonly feed: Feed }

/** A way of delivering: how its clients connect, and how it is started. */
interface Way {
  readonly protocol: Protocol
  readonly tone?: Tone
  /** Promises at-most-once delivery: what does not come is counted, and no fault. */
  readonly mayLose?: boolean
  start(run: Run, protocol: Protocol): Promise<Started>
}

/** In the order of the plots; those without a tone are not in them. */
const WAYS: Readonly<Record<string, Way>> = {
  [GLIMPSE_SSE]: { protocol: 'sse', tone: 'own', start: glimpse },
  [GLIMPSE_WS]: { protocol: 'ws', tone: 'own', start: glimpse },
  [SOCKET_IO_POSTGRES]: { protocol: 'socket.io', tone: 'peer', mayLose: true, start: socketIoWithPostgres },
  [BARE_NET]: { protocol: 'sse', tone: 'bound', start: inMemory('bare-net') },
  [NCHAN_SSE]: { protocol: 'nchan-sse', tone: 'peer-2', mayLose: true, start: startNchan },
  'Nchan WebSocket': { protocol: 'nchan-ws', tone: 'peer-2', mayLose: true, start: startNchan },
  [PUSHPIN]: { protocol: 'sse', tone: 'peer-2', mayLose: true, start: startPushpin },
  [BETTER_SSE]: { protocol: 'sse', tone: 'peer-2', start: inMemory('better-sse') },
  'socket.io': { protocol: 'socket.io', tone: 'peer-2', start: inMemory('socket-io') },
  'bare res.write': { protocol: 'sse', tone: 'quiet', start: inMemory('bare-sse') },
  'bare ws.send': { protocol: 'ws', tone: 'quiet', start: inMemory('bare-ws') },
  [RAW_SOURCE]: { protocol: 'sse', start: inMemory('raw-source') },
}

async function glimpse(run: Run, protocol: Protocol): Promise<Started> {
  const contender = await startGlimpse(run, `bench_delivery_${protocol}`)
  const most = Math.max(...crowds(run.options).map(({ connections }) => connections))
  const users = Array.from({ length: most }, (_, user) => nameOf(user))
  return { ...contender, feed: await sqlFeed(run, contender.databaseUrl, users) }
}

function inMemory(peer: string) {
  return async (run: Run): Promise<Started> => {
    const server = await startPeer(run, 'streams', peer)
    return { ...server, feed: memoryFeed(server.url) }
  }
}

async function socketIoWithPostgres(run: Run): Promise<Started> {
  const databaseUrl = await run.cluster.createDatabase('bench_socket_io')
  const start = () => startPeer(run, 'streams', 'socket-io', databaseUrl)
  const [holding, publishing] = [await start(), await start()]
  return { ...holding, feed: memoryFeed(publishing.url) }
}

export const FASTEST = 'as fast as it goes'
export const FASTEST_3 = 'as fast as it goes, 3 connections a user'
export const PACED = 'paced'
const PACED_RATE = 4000
/** Glimpse and the bound at one rate, the highest that both keep up: what a delivery costs, without the wait for more. */
export const EQUAL_PACE = 'equal pace'
const EQUALS = [GLIMPSE_SSE, GLIMPSE_WS, BARE_NET]
const equalRate = ({ quick }: Pick<Options, 'quick'>) => (quick ? 10_000 : 30_000)

/** Brokers that keep no log never send again what did not come by then. */
const QUIET_LOSING_MS = 1500
/** Of a broker that promises at most once; where more than this is missing, what came is no measure. */
const MOST_MISSING = 0.05

type Lane = Way & Contender & Started
type Crowd = ReturnType<typeof crowds>[number]

function crowds({ quick }: Options) {
  return [
    { connections: quick ? 300 : 999, perUser: 3, scenarios: [FASTEST_3] },
    { connections: 1000, perUser: 1, scenarios: [PACED, EQUAL_PACE, FASTEST] },
    { connections: quick ? 2000 : 10_000, perUser: 1, scenarios: [FASTEST] },
  ]
}

const nameOf = (user: number) => `user_${user}`

/** Events to connected users, counted at their sockets. */
async function* measure(run: Run): AsyncGenerator<Trial> {
  progress.show('starting')
  const starts = Object.entries(WAYS).map(([name, way]) => {
    // With more rounds, those that are only for orientation would take most of the time.
    const rounds = COMPARED.includes(name) ? {} : { mostRounds: 1 }
    return [name, async () => ({ ...way, ...rounds, ...(await way.start(run, way.protocol)) })] as const
  })
  const lanes = await startEach(run, Object.fromEntries(starts))
  // The same connections serve all scenarios of a crowd, and are gone before the next one comes.
  for (const crowd of crowds(run.options)) yield* await run.within((own) => measureCrowd(own, lanes, crowd))
}

async function measureCrowd(run: Run, lanes: readonly Lane[], crowd: Crowd): Promise<Trial[]> {
  const { connections, perUser, scenarios } = crowd
  const { quick } = run.options
  const connected: (Lane & { readonly connecting: Promise<Subscribers> })[] = []
  for (const lane of lanes) {
    progress.show(`${connections} connections to ${lane.name}`)
    const connecting = connect(run, lane, crowd)
    connected.push({ ...lane, connecting })
    // A contender that cannot be connected to is told at its every round, and the others go on.
    await connecting.catch(() => {})
  }
  const trials: Trial[] = []
  for (const scenario of scenarios) {
    const rate = { [PACED]: PACED_RATE, [EQUAL_PACE]: equalRate({ quick }) }[scenario]
    const feeding = { ms: quick ? 700 : 1200, users: connections / perUser, ...(rate && { rate }) }
    const takesPart = ({ name }: Lane) =>
      scenario === EQUAL_PACE ? EQUALS.includes(name) : scenario !== PACED || name !== RAW_SOURCE
    const plan = { scenario, level: connections, seconds: 1.75 }
    const measured = await alternate(run, plan, connected.filter(takesPart), async (lane) =>
      deliver(run, lane, await lane.connecting, feeding, perUser),
    )
    trials.push(...measured)
  }
  return trials
}

async function connect(run: Run, lane: Lane, { connections, perUser }: Crowd): Promise<Subscribers> {
  const subscribers = new Subscribers(run)
  const users = Array.from({ length: connections }, (_, n) => nameOf(Math.floor(n / perUser)))
  const { name, url, protocol } = lane
  const identity = [GLIMPSE_SSE, GLIMPSE_WS].includes(name) ? 'token' : 'user'
  try {
    await subscribers.open({ url, protocol, identity, users })
    return subscribers
  } catch (error) {
    subscribers.stop()
    throw new Error(`connecting: ${(error as Error).message} ${lane.complaints()}`)
  }
}

async function deliver(run: Run, lane: Lane, subscribers: Subscribers, feeding: Feeding, perUser: number) {
  const { cluster } = run
  const stamped = feeding.rate !== undefined
  await subscribers.reset(stamped)
  const cpu = cluster.cpuMeter(lane)
  const walBefore = await cluster.walBytes()
  const { events, startedAt } = await lane.feed(feeding)
  // The raw source sends to every connection, whoever it belongs to.
  const deliveries = lane.name === RAW_SOURCE ? events : events * perUser
  const received = await (lane.mayLose
    ? subscribers.received(deliveries, QUIET_LOSING_MS)
    : subscribers.receivedAll(deliveries, lane.complaints))
  const used = cpu(received.events)
  const missing = deliveries - received.events
  if (missing > deliveries * MOST_MISSING) throw new Error(`${missing} of ${deliveries} events did not come`)
  return {
    deliveriesPerSecond: (received.events / (received.lastAt - startedAt)) * 1000,
    ...used,
    walBytes: ((await cluster.walBytes()) - walBefore) / received.events,
    clientCores: received.cores,
    missing,
    outOfOrder: received.outOfOrder,
    connectionsLost: received.lost,
    ...(stamped ? await subscribers.latencies() : {}),
  }
}

/** The worst round's: `17, 8 connections`. */
const MISSING: Column = [
  'missing',
  ({ spread }) => {
    const lost = spread('connectionsLost').max
    return `${numberText(spread('missing').max)}${lost > 0 ? `, ${numberText(lost)} connections` : ''}`
  },
]
const CPU = [
  ...column.spreads(1, { 'server CPU µs': 'serverUs' }),
  column.times('of socket.write', 'serverUs', () => BARE_NET),
  ...column.medians(1, { 'Postgres CPU µs': 'postgresUs' }),
]
const AT_FULL_SPEED = [
  column.name(),
  ...column.spreads(0, { 'deliveries/s': 'deliveriesPerSecond' }),
  column.times('of socket.write', 'deliveriesPerSecond', () => BARE_NET),
  ...CPU,
  column.cores('client cores'),
  MISSING,
]
const AT_A_RATE = [
  column.name(),
  ...column.spreads(2, { 'p50 ms': 'p50Ms', 'p90 ms': 'p90Ms', 'p99 ms': 'p99Ms' }),
  ...column.medians(1, { 'max ms': 'maxMs' }),
  ...CPU,
  MISSING,
]

const TONES = Object.fromEntries(
  Object.entries(WAYS).flatMap(([name, { tone }]) => (tone === undefined ? [] : [[name, tone]])),
)

export const delivery: BenchPart = {
  measure,
  title: 'Delivery',
  note: `Each event goes to one connected user, picked at random, and to each of their connections; counted at real sockets. What stands behind an event differs:

- Glimpse's events are views INSERTed by plain SQL (${ROWS_PER_INSERT} rows a statement, ${INSERTS_IN_FLIGHT} in flight; paced: ${INSERTS_PER_SECOND} statements a second), so its figure is commit, numbering, log, NOTIFY and delivery, all durable, with Postgres, the writer, the service and the clients on the same cores.
- socket.io with its Postgres adapter is two processes, one that publishes and one that holds the connections; NOTIFY is between them, and nothing is kept.
- \`${BARE_NET}\` makes the event in the very process that delivers it, without HTTP: the bound for Node.

For orientation, in tables of their own, measured once and never a target, because nothing is stored, numbered or committed there: Nchan and Pushpin, where they are installed (Debian: nginx, libnginx-mod-nchan, pushpin), fed by HTTP over four connections, one event a POST and 64 of them pipelined, or up to 25 items a POST; and servers that make the event themselves, without a bus, a database, or a bound on what a slow reader may cost.

CPU is the robust figure on a shared machine: of the contender's processes and of Postgres, per delivery. Clients check at each socket that every \`seq\` follows the one before; for Glimpse and the in-process servers a missing, doubled or reordered event fails the round, for those that promise at most once what is missing is counted, up to one in twenty, and so are the connections that they cut. Client cores of 0.9 or more (marked *) mean that the clients were the limit; "${RAW_SOURCE}" is what the same clients take, with the same checks, from a source that sends ready-made runs of events.`,
  plots: (view) => {
    const figureAt = (scenario: string, level: number, figure: string) => (name: string) =>
      view.row(scenario, level, name).spread(figure)
    const atFullSpeed = (figure: string) => {
      const levels = view.levels(FASTEST)
      const bars = levels.map((level) => [
        `${numberText(level)} connections`,
        figureAt(FASTEST, level, figure),
      ])
      return { tones: TONES, scale: 'value', bars: Object.fromEntries(bars) } as const
    }
    const [paced = 1000] = view.levels(PACED)
    return [
      {
        file: 'delivery.svg',
        alt: 'Deliveries per second by contender',
        title: 'Deliveries per second, counted at the sockets',
        subtitle:
          'Glimpse: committed, numbered, logged, notified; below socket.write: peers that keep nothing',
        label: 'deliveries a second',
        digits: 0,
        ...atFullSpeed('deliveriesPerSecond'),
      },
      {
        file: 'delivery-cpu.svg',
        alt: 'CPU per delivery by contender',
        title: "CPU of the server's processes per delivery",
        subtitle:
          'Without Postgres and the clients; less is better; below socket.write: peers that keep nothing',
        label: 'microseconds of CPU a delivery',
        digits: 1,
        ...atFullSpeed('serverUs'),
      },
      {
        file: 'delivery-latency.svg',
        alt: 'Latency of delivery by contender',
        title: `From sending an event to the client's socket, ${numberText(PACED_RATE)} events a second`,
        subtitle: `${numberText(paced)} connections; Glimpse and socket.io's adapter go through Postgres, Glimpse through its disk`,
        label: 'milliseconds, logarithmic',
        digits: 2,
        tones: TONES,
        scale: 'log',
        bars: { p50: figureAt(PACED, paced, 'p50Ms'), p99: figureAt(PACED, paced, 'p99Ms') },
      },
    ]
  },
  tables: (view) => {
    /** Like with like first; then, apart, those that keep nothing. */
    const tables = (scenario: string, columns: readonly Column[], what: string) =>
      view.levels(scenario).flatMap((level) => {
        const title = `${numberText(level)} connections, ${what}`
        const { compared, apart } = grouped(view, scenario, level)
        return [
          tableOf(compared, columns, title),
          ...(apart.length === 0 ? [] : [tableOf(apart, columns, `${title}: for orientation`)]),
        ]
      })
    return [
      ...tables(FASTEST, AT_FULL_SPEED, `1 connection a user, ${FASTEST}`),
      ...tables(FASTEST_3, AT_FULL_SPEED, FASTEST_3),
      ...tables(PACED, AT_A_RATE, `${numberText(PACED_RATE)} events a second: from sending to the socket`),
      ...tables(EQUAL_PACE, AT_A_RATE, `${numberText(equalRate(view))} events a second`),
    ]
  },
  claims: (view) => {
    const levels = view.levels(FASTEST)
    const [few = 1000, most = 10_000, paced = 1000] = [levels[0], levels.at(-1), view.levels(EQUAL_PACE)[0]]
    const transports = [GLIMPSE_SSE, GLIMPSE_WS].map((own) => [own, own.replace('Glimpse ', '')] as const)
    return [
      ...transports.map(([own, transport]) => {
        const what = `events a second from commit to socket, ${transport}, ${numberText(most)} connections`
        const wanted = { wanted: 30_000, peer: SOCKET_IO_POSTGRES, wantedRatio: 4 }
        const row = view.row(FASTEST, most, own)
        return claimOf(row, 'deliveriesPerSecond', what, { ...wanted, headline: own === GLIMPSE_SSE })
      }),
      ...transports.map(([own, transport]) => {
        const what = `CPU of Node a delivery at equal pace, ${transport}`
        return claimOf(view.row(EQUAL_PACE, paced, own), 'serverUs', what, {
          peer: BARE_NET,
          wantedRatio: 1.1,
        })
      }),
      claimOf(
        view.row(FASTEST, few, GLIMPSE_SSE),
        'postgresUs',
        'CPU of Postgres an event, 500 a statement',
        { wanted: 25 },
      ),
    ]
  },
  slower: (view) => {
    const [level = 0] = view.levels(FASTEST)
    const rate = (name: string) => view.row(FASTEST, level, name).median('deliveriesPerSecond')
    const p50 = (name: string) => view.row(PACED, level, name).median('p50Ms')
    const shown = (name: string) => name.replace(/ SSE$/, '')
    const faster = [NCHAN_SSE, PUSHPIN, BETTER_SSE].filter((peer) => rate(peer) > rate(GLIMPSE_SSE))
    const sooner = [NCHAN_SSE, SOCKET_IO_POSTGRES].filter((peer) => p50(peer) < p50(GLIMPSE_SSE))
    const rates = faster.map((peer) => `${shown(peer)} delivers ${numberText(rate(peer))}`)
    const times = sooner.map((peer) => `${shown(peer)} ${numberText(p50(peer), 2)} ms`)
    const events = `**Events a second.** With ${numberText(level)} connections Glimpse delivers ${numberText(rate(GLIMPSE_SSE))} events a second over SSE, each committed and kept. Without keeping them, ${rates.join(', ')}.`
    const time = `**Time to the socket**, p50 at ${numberText(PACED_RATE)} events a second: ${numberText(p50(GLIMPSE_SSE), 2)} ms; ${times.join('; ')}.`
    return [...(rates.length === 0 ? [] : [events]), ...(times.length === 0 ? [] : [time])]
  },
}

/** Like with like, and, apart, those that keep nothing. */
function grouped(view: View, scenario: string, level: number) {
  const rows = view.rows(scenario, [level])
  const isCompared = ({ name }: Row) => COMPARED.includes(name)
  return { compared: rows.filter(isCompared), apart: rows.filter((row) => !isCompared(row)) }
}

/** The table of docs/comparison.md: the peers that keep nothing, below Glimpse and the bound. */
export function orientationTable(view: View): string {
  const [level = 1000] = view.levels(FASTEST)
  const { compared, apart } = grouped(view, FASTEST, level)
  const peers = apart.filter(({ name }) => name !== RAW_SOURCE)
  if (peers.length === 0) return ''
  const own = compared.filter(({ name }) => name === GLIMPSE_SSE || name === BARE_NET)
  const paced = ({ name }: Row) => spreadText(view.row(PACED, level, name).spread('p50Ms'), 2, ' ms')
  const columns = [
    column.name(),
    ...column.spreads(0, { [`events a second, ${numberText(level)} connections`]: 'deliveriesPerSecond' }),
    [`p50 at ${numberText(PACED_RATE)} a second`, paced] as const,
    ...column.spreads(1, { 'CPU of the server a delivery, µs': 'serverUs' }),
  ]
  return toMarkdown(tableOf([...own, ...peers], columns))
}

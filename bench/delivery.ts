import { type Contender, startEach, startGlimpse, startPeer, stopAll } from './harness/contenders.ts'
import { type Feed, type Feeding, memoryFeed, publisherFeed, sqlFeed } from './harness/feeds.ts'
import { startNchan } from './harness/nchan.ts'
import type { Cluster } from './harness/postgres.ts'
import { startPushpin } from './harness/pushpin.ts'
import { alternate } from './harness/rounds.ts'
import { Subscribers } from './harness/subscribers.ts'
import { familyCpuMs } from './harness/usage.ts'
import { inMilliseconds } from './load/percentiles.ts'
import type { Protocol } from './load/protocols.ts'
import type { Options } from './options.ts'
import type { Figures, Trial } from './report/results.ts'
import type { PartRunner, Run } from './run.ts'

export const GLIMPSE_SSE = 'Glimpse SSE'
export const GLIMPSE_WS = 'Glimpse WebSocket'
/** The bound for Node. */
export const BARE_NET = 'bare socket.write'
export const BARE_SSE = 'bare res.write'
export const BARE_WS = 'bare ws.send'
export const BETTER_SSE = 'better-sse'
export const SOCKET_IO = 'socket.io'
export const SOCKET_IO_POSTGRES = 'socket.io, Postgres adapter'
export const NCHAN_SSE = 'Nchan SSE'
export const NCHAN_WS = 'Nchan WebSocket'
export const PUSHPIN = 'Pushpin SSE'
/** No contender: what the clients can take. */
export const RAW_SOURCE = 'clients alone'

export const FASTEST = 'as fast as it goes'
export const FASTEST_3 = 'as fast as it goes, 3 connections a user'
export const PACED = 'paced'
export const PACED_RATE = 4000

/** A way of delivering: how to start it, whom its clients are, and how events are set off. */
interface Lane extends Contender {
  readonly protocol: Protocol
  readonly identity: 'token' | 'user'
  /** What user n is called. */
  readonly user: (n: number) => string
  readonly feed: Feed
  readonly usesPostgres: boolean
  /** Promises at-most-once delivery: what does not come is counted, and no fault. */
  readonly mayLose: boolean
}

interface Crowd {
  readonly connections: number
  readonly perUser: number
  readonly scenarios: readonly string[]
}

const CLIENT_PROCESSES = 2
/** Longer than two of the service's sweeps: what is not there by then is lost, not late. */
const QUIET_MS = 10_000
/** Brokers that keep no log never send again what did not come by then. */
const QUIET_LOSING_MS = 1500
/** Of a broker that promises at most once; where more than this is missing, what came is no measure. */
const MOST_MISSING = 0.05
const CONTENDERS = 12
/** Planned, for one measurement, for starting all, and for connecting a crowd to one. */
const SECONDS = 1.75
const START_SECONDS = 15
const connectSeconds = ({ connections }: Crowd) => 0.5 + connections / 3000

function crowds({ quick }: Options): Crowd[] {
  return [
    { connections: quick ? 300 : 999, perUser: 3, scenarios: [FASTEST_3] },
    { connections: 1000, perUser: 1, scenarios: [PACED, FASTEST] },
    { connections: quick ? 2000 : 10_000, perUser: 1, scenarios: [FASTEST] },
  ]
}

/** Events to connected users, counted at their sockets. */
export const delivery: PartRunner = {
  seconds: (options) =>
    START_SECONDS +
    crowds(options).reduce(
      (sum, crowd) => sum + connectSeconds(crowd) + crowd.scenarios.length * options.rounds * SECONDS,
      0,
    ) *
      CONTENDERS,
  measure: async (run) => {
    run.progress.step('delivery: starting', START_SECONDS)
    const users = Math.max(...crowds(run.options).map(({ connections }) => connections))
    const { contenders: lanes, absent } = await startEach(startsOf(run, users))
    try {
      const trials: Trial[] = []
      for (const crowd of crowds(run.options)) trials.push(...(await measureCrowd(run, lanes, crowd)))
      return { trials, absent }
    } finally {
      for (const { feed } of lanes) feed.stop()
      await stopAll(lanes)
    }
  },
}

function startsOf({ cluster, options }: Run, users: number): Record<string, () => Promise<Lane>> {
  const glimpse = async (name: string, protocol: 'sse' | 'ws'): Promise<Lane> => {
    const contender = await startGlimpse(cluster, options.profile, `bench_delivery_${protocol}`)
    const user = (n: number) => `${protocol}_user_${n}`
    const feed = await sqlFeed(
      contender.databaseUrl,
      Array.from({ length: users }, (_, n) => user(n)),
    )
    return { ...contender, name, protocol, identity: 'token', user, feed, usesPostgres: true, mayLose: false }
  }
  const peer = (
    contender: Contender,
    name: string,
    protocol: Protocol,
    feed: Feed,
    more: Partial<Lane> = {},
  ) => ({
    ...contender,
    name,
    protocol,
    identity: 'user' as const,
    user: (n: number) => `user_${n}`,
    feed,
    usesPostgres: false,
    mayLose: false,
    ...more,
  })
  const fromMemory = async (name: string, source: string, protocol: Protocol): Promise<Lane> => {
    const contender = await startPeer(name, source)
    return peer(contender, name, protocol, memoryFeed(contender.server.url))
  }
  const nchan = async (name: string, protocol: Protocol): Promise<Lane> => {
    const contender = await startNchan()
    return peer(contender, name, protocol, publisherFeed('nchan', contender.server.url), { mayLose: true })
  }
  return {
    [GLIMPSE_SSE]: () => glimpse(GLIMPSE_SSE, 'sse'),
    [GLIMPSE_WS]: () => glimpse(GLIMPSE_WS, 'ws'),
    [BARE_NET]: () => fromMemory(BARE_NET, 'bare-net', 'sse'),
    [BARE_SSE]: () => fromMemory(BARE_SSE, 'bare-sse', 'sse'),
    [BARE_WS]: () => fromMemory(BARE_WS, 'bare-ws', 'ws'),
    [BETTER_SSE]: () => fromMemory(BETTER_SSE, 'better-sse', 'sse'),
    [SOCKET_IO]: () => fromMemory(SOCKET_IO, 'socket-io', 'socket.io'),
    [SOCKET_IO_POSTGRES]: async () => {
      const DATABASE_URL = await cluster.createDatabase('bench_socket_io')
      const name = SOCKET_IO_POSTGRES
      const [contender, publisher] = [
        await startPeer(name, 'socket-io', { DATABASE_URL }),
        await startPeer(name, 'socket-io', { DATABASE_URL }),
      ]
      const feed = memoryFeed(publisher.server.url, () => publisher.server.stop())
      return peer(contender, name, 'socket.io', feed, { usesPostgres: true, mayLose: true })
    },
    [NCHAN_SSE]: () => nchan(NCHAN_SSE, 'nchan-sse'),
    [NCHAN_WS]: () => nchan(NCHAN_WS, 'nchan-ws'),
    [PUSHPIN]: async () => {
      const contender = await startPushpin()
      return peer(contender, PUSHPIN, 'sse', publisherFeed('pushpin', contender.controlUrl), {
        mayLose: true,
      })
    },
    [RAW_SOURCE]: () => fromMemory(RAW_SOURCE, 'raw-source', 'sse'),
  }
}

/** The same connections serve all scenarios of a crowd, and are gone before the next one comes. */
async function measureCrowd(run: Run, lanes: readonly Lane[], crowd: Crowd): Promise<Trial[]> {
  const { connections, perUser, scenarios } = crowd
  const users = connections / perUser
  const subscribers = new Map<Lane, Subscribers | Error>()
  try {
    for (const lane of lanes) {
      run.progress.step(`delivery: ${connections} connections to ${lane.name}`, connectSeconds(crowd))
      subscribers.set(lane, await connect(lane, users, perUser))
    }
    const trials: Trial[] = []
    for (const scenario of scenarios) {
      const taking = lanes.filter(({ name }) => name !== RAW_SOURCE || scenario !== PACED)
      const plan = {
        scenario,
        level: connections,
        rounds: run.options.rounds,
        title: `delivery: ${scenario}, ${connections} connections`,
        seconds: SECONDS,
        progress: run.progress,
      }
      trials.push(
        ...(await alternate(taking, plan, (lane) => {
          const own = subscribers.get(lane)
          if (!(own instanceof Subscribers)) throw own
          const ms = run.options.quick ? 700 : 1200
          const feeding = { ms, users, ...(scenario === PACED ? { rate: PACED_RATE } : {}) }
          return measure(run.cluster, lane, own, feeding, perUser)
        })),
      )
    }
    return trials
  } finally {
    for (const own of subscribers.values()) if (own instanceof Subscribers) own.stop()
  }
}

/** A contender that cannot be connected to is told at its every round, and the others go on. */
async function connect(lane: Lane, users: number, perUser: number): Promise<Subscribers | Error> {
  const subscribers = new Subscribers(CLIENT_PROCESSES)
  try {
    await subscribers.open({
      url: lane.server.url,
      protocol: lane.protocol,
      identity: lane.identity,
      users: Array.from({ length: users * perUser }, (_, n) => lane.user(Math.floor(n / perUser))),
    })
    return subscribers
  } catch (error) {
    subscribers.stop()
    return new Error(`connecting: ${(error as Error).message} ${lane.server.complaints()}`)
  }
}

async function measure(
  cluster: Cluster,
  lane: Lane,
  subscribers: Subscribers,
  feeding: Feeding,
  perUser: number,
): Promise<Figures> {
  await subscribers.reset(feeding.rate !== undefined)
  const cpu = () => familyCpuMs(lane.server.pid) ?? Number.NaN
  const postgresCpu = () => (lane.usesPostgres ? cluster.cpuMs() : undefined) ?? Number.NaN
  const walBefore = await cluster.walBytes()
  const [serverBefore, postgresBefore] = [cpu(), postgresCpu()]
  const fed = await lane.feed.run(feeding)
  // The raw source sends to every connection, whoever it belongs to.
  const deliveries = lane.name === RAW_SOURCE ? fed.events : fed.events * perUser
  const received = await subscribers.received(deliveries, lane.mayLose ? QUIET_LOSING_MS : QUIET_MS)
  const [serverAfter, postgresAfter] = [cpu(), postgresCpu()]
  const missing = deliveries - received.events
  const unexpected = Math.abs(missing) + received.outOfOrder + received.lost
  if (lane.mayLose ? missing > deliveries * MOST_MISSING : unexpected > 0)
    throw new Error(
      `${received.events} of ${deliveries} deliveries came, ${received.outOfOrder} out of order, ${received.lost} connections lost ${lane.server.complaints()}`,
    )
  const figures = {
    deliveriesPerSecond: (received.events / (received.lastAt - fed.startedAt)) * 1000,
    serverUs: ((serverAfter - serverBefore) * 1000) / received.events,
    postgresUs: ((postgresAfter - postgresBefore) * 1000) / received.events,
    walBytes: ((await cluster.walBytes()) - walBefore) / received.events,
    clientCores: received.cores,
    feederCores: fed.cores,
    missing,
    outOfOrder: received.outOfOrder,
    connectionsLost: received.lost,
  }
  if (feeding.rate === undefined) return figures
  return { ...figures, ...inMilliseconds(await subscribers.latencies()) }
}

import type { BusName } from '../../bench/scale.ts'
import { batchOf, HEADROOM, INSTANCE_CONNECTIONS } from '../../src/cli/sizing.ts'
import type { Cost, Figures } from './figures.ts'

/** What one Postgres and its instances are asked to carry. */
export interface Load {
  /** Connected users. */
  readonly users: number
  readonly connectionsPerUser: number
  readonly eventsPerSecond: number
  /** Absent: LISTEN. */
  readonly bus?: BusName
}

/** What instances and their Postgres are busy with under a load. */
export function strain(figures: Figures, instances: number, load: Load) {
  const { users, connectionsPerUser, eventsPerSecond: rate, bus = 'LISTEN' } = load
  const { postgres, own } = figures
  const ofPostgres = { postgresEventUs: postgres.event, postgresStatementUs: postgres.statement }
  const batch = batchOf({ ...figures, ...ofPostgres }, instances, rate)
  const statements = rate / batch
  const perStatement = postgres.statement + (bus === 'NATS' ? 0 : instances - 1) * figures.wakeUpUs
  const listening = listeningCores(figures, bus, { instances, statements, rows: batch })
  const deliveries = rate * (connectionsPerUser - 1) * own.event
  return {
    /** A second, all instances together. */
    statements,
    /** Events in one of them. */
    batch,
    /** Cores. */
    postgresBusy: (rate * postgres.event + statements * perStatement) / 1e6,
    /** Of one core, in each instance. */
    instanceBusy: listening.instances / instances + deliveries / instances / 1e6 + figures.idleCores,
    /** Of one core, in the relay, and cores of the NATS servers; 0 without them. */
    relayBusy: listening.relay,
    natsBusy: listening.nats,
    /** Memory for connections in each instance. */
    instanceMb: (users * connectionsPerUser * figures.connectionKb) / 1000 / instances,
  }
}

type Listening = Readonly<Record<'instances' | 'statements' | 'rows', number>>

/** Cores that are busy because of listening and delivering, to one connection a user, by who keeps them busy. */
export function listeningCores(figures: Figures, bus: BusName, { instances, statements, rows }: Listening) {
  const { own, foreign, relay, nats, ownByNats, wakeUpUs } = figures
  const cores = ({ event, statement }: Cost) => (statements * (statement + rows * event)) / 1e6
  const wakeUp = (sessions: number) => cores({ event: 0, statement: sessions * wakeUpUs })
  if (bus === 'NATS')
    return { postgres: wakeUp(1), relay: cores(relay), nats: cores(nats), instances: cores(ownByNats) }
  // Of the statements, those that have an event for an instance's own users.
  const share = 1 - (1 - 1 / instances) ** rows
  const statement = share * own.statement + (1 - share) * foreign.statement
  const event = own.event / instances + (1 - 1 / instances) * foreign.event
  return {
    postgres: wakeUp(instances),
    relay: 0,
    nats: 0,
    instances: instances * cores({ event, statement }),
  }
}

/** The fewest instances that carry the load beside this Postgres; undefined where no number does. */
export function instancesFor(figures: Figures, postgresCores: number, load: Load): number | undefined {
  const connections = load.users * load.connectionsPerUser
  for (let instances = Math.max(1, Math.ceil(connections / INSTANCE_CONNECTIONS)); instances <= 4096; ) {
    const { instanceBusy, postgresBusy, relayBusy } = strain(figures, instances, load)
    if (postgresBusy > postgresCores * HEADROOM || relayBusy > HEADROOM) return undefined
    if (instanceBusy <= HEADROOM) return instances
    instances = Math.max(instances + 1, Math.ceil(instances * 1.1))
  }
  return undefined
}

/** The most events a second, within one in a hundred, that one Postgres and any number of instances carry. */
export function mostEvents(figures: Figures, postgresCores: number, load: Omit<Load, 'eventsPerSecond'>) {
  let [low, high] = [0, 10_000_000]
  while (high - low > Math.max(1, low / 100)) {
    const eventsPerSecond = (low + high) / 2
    if (instancesFor(figures, postgresCores, { ...load, eventsPerSecond }) === undefined)
      high = eventsPerSecond
    else low = eventsPerSecond
  }
  return low
}

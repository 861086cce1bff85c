import { batchOf, HEADROOM, INSTANCE_CONNECTIONS } from '../../src/cli/sizing.ts'
import type { BusName } from '../scale.ts'
import type { Figures } from './figures.ts'

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
  const batch = batchOf(figures, instances, rate)
  const statements = rate / batch
  const perStatement = figures.postgresStatementUs + (bus === 'NATS' ? 0 : instances - 1) * figures.wakeUpUs
  const listening = listeningCores(figures, bus, { instances, statements, rows: batch })
  const deliveries = rate * (connectionsPerUser - 1) * figures.ownEventUs
  return {
    /** A second, all instances together. */
    statements,
    /** Events in one of them. */
    batch,
    /** Cores. */
    postgresBusy: (rate * figures.postgresEventUs + statements * perStatement) / 1e6,
    /** Of one core, in each instance. */
    instanceBusy: listening.instances / instances + deliveries / instances / 1e6 + figures.idleCores,
    /** Of one core, in the relay, and cores of the NATS servers; 0 without them. */
    relayBusy: listening.relay,
    natsBusy: listening.nats,
    /** Memory for connections in each instance. */
    instanceMb: (users * connectionsPerUser * figures.connectionKb) / 1000 / instances,
  }
}

/** Cores that are busy because of listening and delivering, to one connection a user, by who keeps them busy. */
export function listeningCores(
  figures: Figures,
  bus: BusName,
  { instances, statements, rows }: Record<'instances' | 'statements' | 'rows', number>,
) {
  const cores = (listeners: number, statementUs: number, eventUs: number) =>
    (listeners * statements * (statementUs + rows * eventUs)) / 1e6
  if (bus === 'NATS')
    return {
      postgres: cores(1, figures.wakeUpUs, 0),
      relay: cores(1, figures.relayStatementUs, figures.relayEventUs),
      nats: cores(1, figures.natsStatementUs, figures.natsEventUs),
      instances: cores(1, figures.natsMessageUs, figures.natsOwnEventUs),
    }
  // Of the statements, those that have an event for an instance's own users.
  const own = 1 - (1 - 1 / instances) ** rows
  const statementUs = own * figures.messageUs + (1 - own) * figures.foreignMessageUs
  const eventUs = figures.ownEventUs / instances + (1 - 1 / instances) * figures.foreignEventUs
  return {
    postgres: cores(instances, figures.wakeUpUs, 0),
    relay: 0,
    nats: 0,
    instances: cores(instances, statementUs, eventUs),
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

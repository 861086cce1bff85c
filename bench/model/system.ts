import type { Figures } from './figures.ts'

/** What one Postgres and its instances are asked to carry. */
export interface Load {
  /** Connected users. */
  readonly users: number
  readonly connectionsPerUser: number
  readonly eventsPerSecond: number
}

/** What that comes to. */
export interface Strain {
  /** Statements a second, all instances together. */
  readonly statements: number
  /** Events in one statement. */
  readonly batch: number
  /** Cores of Postgres that are busy. */
  readonly postgresBusy: number
  /** Of one core, in each instance. */
  readonly instanceBusy: number
  /** Memory for connections in each instance. */
  readonly instanceMb: number
  readonly walMbPerSecond: number
}

/** Statements that an instance has on the way at a time, and rows in one at most. */
const IN_FLIGHT = 2
const MAX_BATCH = 500
/** How busy a core may be, so that a burst finds room. */
export const HEADROOM = 0.6
/** Connections that one instance takes, unless told otherwise. */
export const INSTANCE_CONNECTIONS = 50_000

/**
 * What waits while a statement is on its way shares the next one, so the batch is what arrives in its time:
 * batch = rate × time ÷ (instances × in flight), time = commit + statement + batch × event. Solved by repetition.
 */
export function strain(figures: Figures, instances: number, load: Load): Strain {
  const { users, connectionsPerUser, eventsPerSecond: rate } = load
  let batch = 1
  for (let i = 0; i < 100; i += 1) {
    const seconds =
      figures.commitMs / 1e3 + (figures.postgresStatementUs + batch * figures.postgresEventUs) / 1e6
    const unbounded = (rate * seconds) / (instances * IN_FLIGHT)
    // Commits that NOTIFY stand in one queue, whoever makes them.
    batch = Math.min(MAX_BATCH, Math.max(1, unbounded, rate / figures.commitsPerSecond))
  }
  const statements = rate / batch
  const perStatement = figures.postgresStatementUs + (instances - 1) * figures.wakeUpUs
  const own = (rate / instances) * connectionsPerUser * figures.ownEventUs
  const foreign = rate * (1 - 1 / instances) * figures.foreignEventUs
  return {
    statements,
    batch,
    postgresBusy: (rate * figures.postgresEventUs + statements * perStatement) / 1e6,
    instanceBusy: (statements * figures.messageUs + own + foreign) / 1e6 + figures.idleCores,
    instanceMb: (users * connectionsPerUser * figures.connectionKb) / 1000 / instances,
    walMbPerSecond: (rate * figures.walBytes) / 1e6,
  }
}

/** The fewest instances that carry the load beside this Postgres; undefined where no number does. */
export function instancesFor(figures: Figures, postgresCores: number, load: Load): number | undefined {
  const connections = load.users * load.connectionsPerUser
  for (let instances = Math.max(1, Math.ceil(connections / INSTANCE_CONNECTIONS)); instances <= 4096; ) {
    const { instanceBusy, postgresBusy } = strain(figures, instances, load)
    if (postgresBusy > postgresCores * HEADROOM) return undefined
    if (instanceBusy <= HEADROOM) return instances
    instances = Math.max(instances + 1, Math.ceil(instances * 1.1))
  }
  return undefined
}

/** The most events a second, within one in a hundred, that one Postgres and any number of instances carry. */
export function mostEvents(
  figures: Figures,
  postgresCores: number,
  load: Omit<Load, 'eventsPerSecond'>,
): number {
  let [low, high] = [0, 10_000_000]
  while (high - low > Math.max(1, low / 100)) {
    const middle = (low + high) / 2
    const carried = instancesFor(figures, postgresCores, { ...load, eventsPerSecond: middle }) !== undefined
    if (carried) low = middle
    else high = middle
  }
  return low
}

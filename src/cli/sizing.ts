import { CONNECTIONS } from '../postgres/database.ts'

/**
 * Figures as in docs/scaling.md, of the slower of the machines that were measured, so that a plan has room on an unknown one;
 * and those of docs/sizing.md. CPU in µs of one core, sizes in bytes.
 */
export const FIGURES = {
  postgresEventUs: 30.4,
  postgresStatementUs: 562,
  wakeUpUs: 32.4,
  instanceStatementUs: 75,
  instanceEventUs: 9.9,
  idleCores: 0.01,
  commitMs: 0.89,
  commitsPerSecond: 3549,
  walBytes: 879,
  logBytes: 314,
  connectionBytes: 11_600,
  /** A row of story_views with its index, viewers with ids of 36 characters. */
  viewBytes: 192,
  /** An instance without a connection. */
  processBytes: 112_000_000,
} as const

/** Statements that an instance has in flight, and the most rows in one. */
const IN_FLIGHT = 2
const MAX_BATCH = 500
/** The highest planned load of a core, to leave room for bursts. */
export const HEADROOM = 0.6
/** Streams that one instance takes by default: MAX_CONNECTIONS. */
export const INSTANCE_CONNECTIONS = 50_000
/** More instances than are sensible on one database; a larger load must be divided. */
const MOST_INSTANCES = 200
const DAY_SECONDS = 86_400
/** Descriptors of an instance besides those of its streams. */
const OTHER_DESCRIPTORS = 100
/** Spare connections to Postgres: the superusers' reserve, a migration, psql. */
const SPARE_CONNECTIONS = 10

export interface Load {
  /** Users with an open stream, at the busiest time. */
  readonly users: number
  readonly connectionsPerUser: number
  /** Views and reactions a day. */
  readonly views: number
  /** The rate of the busiest second relative to the day's average. */
  readonly peak: number
  readonly retentionHours: number
}

export interface Sizing {
  readonly events: { readonly perSecond: number; readonly atPeak: number }
  readonly instances: {
    /** One more than the load needs, so that one may be missing. */
    readonly count: number
    readonly connectionsEach: number
    readonly memoryBytesEach: number
    readonly coresEach: number
    readonly openFilesEach: number
  }
  readonly postgres: {
    readonly cores: number
    readonly statementsPerSecond: number
    /** With one more instance than usual, for a rolling update. */
    readonly maxConnections: number
    readonly walBytesPerDay: number
    readonly walBytesPerSecondAtPeak: number
    readonly logBytes: number
    readonly viewBytes: number
    readonly diskBytesPerMillionEvents: number
  }
}

/**
 * The resources for a load on one database, by the formulae of docs/sizing.md. Undefined if no number of instances is enough:
 * then users must be divided over databases.
 */
export function sizeOf(load: Load): Sizing | undefined {
  const { users, connectionsPerUser, views, peak, retentionHours } = load
  const connections = users * connectionsPerUser
  const perSecond = views / DAY_SECONDS
  const atPeak = perSecond * peak
  for (
    let carrying = Math.max(1, Math.ceil(connections / INSTANCE_CONNECTIONS));
    carrying < MOST_INSTANCES;
    carrying++
  ) {
    const strain = strainOf(carrying, atPeak, connectionsPerUser)
    if (strain.instanceCores > HEADROOM) continue
    const count = carrying + 1
    // For each instance while one is missing.
    const connectionsEach = Math.ceil(connections / carrying)
    const kept = perSecond * retentionHours * 3600
    return {
      events: { perSecond, atPeak },
      instances: {
        count,
        connectionsEach,
        memoryBytesEach: FIGURES.processBytes + connectionsEach * FIGURES.connectionBytes,
        coresEach: strain.instanceCores,
        openFilesEach: connectionsEach + OTHER_DESCRIPTORS,
      },
      postgres: {
        cores: strain.postgresCores / HEADROOM,
        statementsPerSecond: strain.statements,
        maxConnections: connectionsOfInstance() * (count + 1) + SPARE_CONNECTIONS,
        walBytesPerDay: views * FIGURES.walBytes,
        walBytesPerSecondAtPeak: atPeak * FIGURES.walBytes,
        logBytes: kept * FIGURES.logBytes,
        // A story lives a day and is kept as long as the events.
        viewBytes: perSecond * (retentionHours + 24) * 3600 * FIGURES.viewBytes,
        diskBytesPerMillionEvents: 1_000_000 * (FIGURES.logBytes + FIGURES.viewBytes),
      },
    }
  }
  return undefined
}

export function connectionsOfInstance(): number {
  return Object.values(CONNECTIONS).reduce((sum, count) => sum + count, 0)
}

interface Strain {
  readonly statements: number
  readonly postgresCores: number
  readonly instanceCores: number
}

type CommitFigures = Readonly<
  Record<'commitMs' | 'postgresStatementUs' | 'postgresEventUs' | 'commitsPerSecond', number>
>

/**
 * Events in a statement. They are those that arrive while a statement runs, which depends on their number; solved by
 * iteration. Commits that NOTIFY take one lock, so there are never more of them than `commitsPerSecond`.
 */
export function batchOf(figures: CommitFigures, instances: number, rate: number): number {
  let batch = 1
  for (let i = 0; i < 100; i++) {
    const seconds =
      figures.commitMs / 1e3 + (figures.postgresStatementUs + batch * figures.postgresEventUs) / 1e6
    const arriving = (rate * seconds) / (instances * IN_FLIGHT)
    batch = Math.min(MAX_BATCH, Math.max(1, arriving, rate / figures.commitsPerSecond))
  }
  return batch
}

function strainOf(instances: number, rate: number, connectionsPerUser: number): Strain {
  const statements = rate / batchOf(FIGURES, instances, rate)
  const perStatement = FIGURES.postgresStatementUs + (instances - 1) * FIGURES.wakeUpUs
  const own = (rate / instances) * connectionsPerUser * FIGURES.instanceEventUs
  return {
    statements,
    postgresCores: (rate * FIGURES.postgresEventUs + statements * perStatement) / 1e6,
    instanceCores: (statements * FIGURES.instanceStatementUs + own) / 1e6 + FIGURES.idleCores,
  }
}

import * as delivery from '../delivery.ts'
import { ROWS_PER_INSERT } from '../harness/feeds.ts'
import * as idle from '../idle.ts'
import * as latency from '../latency.ts'
import { type Results, View } from '../report/results.ts'
import { fitLine } from '../report/statistics.ts'
import { clusterName, INSTANCES, ROWS_PER_STATEMENT, SCALE } from '../scale.ts'
import * as storm from '../storm.ts'
import * as writes from '../writes.ts'

/** What the model computes with: all measured, in one run, on one machine. CPU is in microseconds of one core. */
export interface Figures {
  /** Postgres, for each event, however many share a statement. */
  readonly postgresEventUs: number
  /** Postgres, for each statement with its commit and one LISTENing instance. */
  readonly postgresStatementUs: number
  /** Postgres, for each statement and each further LISTENing instance. */
  readonly wakeUpUs: number
  /** An instance, for each statement it hears of, whoever's events those are. */
  readonly messageUs: number
  /** An instance, for an event that it delivers. */
  readonly ownEventUs: number
  /** An instance, for an event whose user is connected elsewhere. */
  readonly foreignEventUs: number
  /** Cores that an instance uses while nothing happens, with the largest crowd measured. */
  readonly idleCores: number
  /** Postgres' WAL for each event, bytes. */
  readonly walBytes: number
  /** The log on disk with its index, for each event, bytes. */
  readonly logBytes: number
  /** One commit with a NOTIFY that waits for nobody, to its arrival. */
  readonly commitMs: number
  /** Commits a second that NOTIFY, at most, of one row each. */
  readonly commitsPerSecond: number
  /** Memory for a connection, of the dearer transport. */
  readonly connectionKb: number
  /** An instance, for a client that comes back with events missing. */
  readonly resumeUs: number
  /** Postgres, for the same. */
  readonly resumePostgresUs: number
}

/** Taken from the results; NaN where a part was not measured, and then the model has no answer. */
export function figuresOf(results: Results): Figures {
  const view = (part: keyof Results) => new View(results[part]?.trials ?? [])
  const [delivered, scaled, stormed, idled] = [view('delivery'), view('scale'), view('storm'), view('idle')]
  const [fewest = 1000] = delivered.levels(delivery.FASTEST)
  const levels = scaled.levels(SCALE)
  const users = levels.includes(fewest) ? fewest : (levels.at(-1) ?? 0)
  const perInstance = (figure: string) =>
    fitLine(
      INSTANCES.map(
        (instances) =>
          [instances, scaled.spread(SCALE, users, clusterName(instances), figure).median] as const,
      ),
    ).slope

  // Two sizes of a statement, two unknowns: cost = event + statement ÷ rows.
  const parts = (figure: string) => {
    const many = delivered.spread(delivery.FASTEST, fewest, delivery.GLIMPSE_SSE, figure).median
    const few = scaled.spread(SCALE, users, clusterName(1), figure).median
    const statement = Math.max(0, (few - many) / (1 / ROWS_PER_STATEMENT - 1 / ROWS_PER_INSERT))
    return { statement, event: many - statement / ROWS_PER_INSERT }
  }
  const [node, postgres] = [parts('serverUs'), parts('postgresUs')]

  const resumed = (figure: string) => {
    const [clients = 0] = stormed.levels(storm.STORM)
    return stormed.spread(storm.STORM, clients, storm.GLIMPSE_SSE, figure).median
  }
  const written = view('writes')
  const commits = written
    .levels(writes.DISTINCT)
    .map((level) => written.spread(writes.DISTINCT, level, writes.INSERT, 'perSecond').median)
  const kilobytes = [idle.GLIMPSE_SSE, idle.GLIMPSE_WS].map(
    (name) => idled.spread(idle.IDLE, idled.levels(idle.IDLE).at(-1) ?? 0, name, 'kbPerConnection').median,
  )
  const [rate = 100] = latency.RATES
  return {
    postgresEventUs: postgres.event,
    postgresStatementUs: postgres.statement,
    wakeUpUs: Math.max(0, perInstance('postgresUs') * ROWS_PER_STATEMENT),
    messageUs: node.statement,
    ownEventUs: node.event,
    // What one more instance costs per event is its share of the statement, and hearing the event.
    foreignEventUs: Math.max(0, perInstance('serverUs') - node.statement / ROWS_PER_STATEMENT),
    idleCores: scaled.spread(SCALE, users, clusterName(1), 'idleCores').median,
    walBytes: delivered.spread(delivery.FASTEST, fewest, delivery.GLIMPSE_SSE, 'walBytes').median,
    logBytes: resumed('logBytes'),
    commitMs: view('latency').spread(latency.STEADY, rate, latency.BASE, 'p50Ms').median,
    commitsPerSecond: commits.length === 0 ? Number.NaN : Math.max(...commits),
    connectionKb: Math.max(...kilobytes),
    resumeUs: resumed('serverUs'),
    resumePostgresUs: resumed('postgresUs'),
  }
}

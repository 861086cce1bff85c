import * as delivery from '../delivery.ts'
import * as idle from '../idle.ts'
import * as latency from '../latency.ts'
import { ROWS_PER_INSERT } from '../load/pace.ts'
import { type Part, type Results, View } from '../report/results.ts'
import { fitLine, spread } from '../report/statistics.ts'
import { type BusName, COST, clusterName, INSTANCES, ROWS } from '../scale.ts'
import * as storm from '../storm.ts'
import * as writes from '../writes.ts'

/**
 * What the model computes with, as the table of docs/scaling.md has it: symbol, meaning, unit and digits. All are
 * measured, on one machine; CPU is in microseconds of one core.
 */
export const FIGURES = {
  postgresEventUs: ['e', 'Postgres, for each event', 'µs', 1],
  postgresStatementUs: ['s', 'Postgres, for each statement with its commit', 'µs', 0],
  wakeUpUs: ['w', 'Postgres, for each statement and further session that listens', 'µs', 1],
  messageUs: ['m', 'an instance, for each statement with an event for its users', 'µs', 0],
  ownEventUs: ['d', 'an instance, for each event it delivers', 'µs', 1],
  foreignMessageUs: ['n', 'an instance, for each statement it only hears of', 'µs', 1],
  foreignEventUs: ['h', 'an instance, for each event it only hears', 'µs', 1],
  relayStatementUs: ['rs', 'the relay, for each statement', 'µs', 0],
  relayEventUs: ['re', 'the relay, for each event', 'µs', 1],
  natsStatementUs: ['ns', 'the NATS server, for each statement', 'µs', 0],
  natsEventUs: ['ne', 'the NATS server, for each event', 'µs', 1],
  natsMessageUs: ['bs', 'instances with NATS, for each statement', 'µs', 0],
  natsOwnEventUs: ['be', 'instances with NATS, for each event', 'µs', 1],
  /** Shown in hundredths. */
  idleCores: ['i', 'an instance, while nothing happens', '% of a core', 1],
  commitMs: ['t', 'commit with NOTIFY to its arrival, nothing else going on', 'ms', 2],
  commitsPerSecond: ['c', 'commits a second that NOTIFY, a row each', '/s', 0],
  walBytes: ['wal', 'WAL for each event', 'bytes', 0],
  logBytes: ['log', 'the log on disk with its index, for each event', 'bytes', 0],
  /** Of the dearer transport, with the largest crowd measured. */
  connectionKb: ['k', 'memory of an instance for each connection', 'kB', 1],
  resumeUs: ['r', 'an instance, for each client that resumes', 'µs', 0],
  resumePostgresUs: ['q', 'Postgres, for each client that resumes', 'µs', 0],
} as const

export type Figures = Readonly<Record<keyof typeof FIGURES, number>>

/** Taken from the results; NaN where a part was not measured, and then the model has no answer. */
export function figuresOf(results: Results): Figures {
  const view = (part: Part) => new View(results[part])
  const [written, delivered, scaled] = [view('writes'), view('delivery'), view('scale')]
  const [fewest = 1000] = delivered.levels(delivery.FASTEST)
  const atFullSpeed = delivered.row(delivery.FASTEST, fewest, delivery.GLIMPSE_SSE)
  const cost = (bus: BusName, instances: number, rows: number, figure: string) =>
    scaled.row(COST, rows, clusterName(bus, instances)).median(figure)
  /** Two sizes of a statement, two unknowns: cost of an event = event + statement ÷ rows. */
  const parts = (points: readonly (readonly [rows: number, cost: number])[]) => {
    const { intercept, slope } = fitLine(points.map(([rows, us]) => [1 / rows, us]))
    return { event: Math.max(0, intercept), statement: Math.max(0, slope) }
  }
  const bySize = (costOf: (rows: number) => number) => parts(ROWS.map((rows) => [rows, costOf(rows)]))
  const alone = (own: string, figure: string) =>
    parts([
      [1, cost('LISTEN', 1, 1, own)],
      [ROWS_PER_INSERT, atFullSpeed.median(figure)],
    ])
  /** The median over all numbers of instances. */
  const everywhere = (bus: BusName, rows: number, figure: string) =>
    spread(INSTANCES.map((instances) => cost(bus, instances, rows, figure))).median
  const [postgres, node] = [alone('postgresUs', 'postgresUs'), alone('instancesUs', 'serverUs')]
  const hearing = bySize((rows) => everywhere('LISTEN', rows, 'hearingUs'))
  const relay = bySize((rows) => everywhere('NATS', rows, 'relayUs'))
  const nats = bySize((rows) => everywhere('NATS', rows, 'natsUs'))
  // The fewer events an instance has, the fewer it reads together: of all numbers the dearest.
  const ownByNats = bySize((rows) => cost('NATS', Math.max(...INSTANCES), rows, 'instancesUs'))
  const wakeUps = ROWS.flatMap((rows) =>
    INSTANCES.map((instances) => (cost('LISTEN', instances, rows, 'listenUs') * rows) / instances),
  )
  const [clients = 0] = view('storm').levels(storm.STORM)
  const resumed = view('storm').row(storm.STORM, clients, storm.GLIMPSE_SSE)
  const commits = written
    .levels(writes.DISTINCT)
    .map((level) => written.row(writes.DISTINCT, level, writes.INSERT).median('perSecond'))
  const crowd = view('idle').levels(idle.IDLE).at(-1) ?? 0
  const kilobytes = [idle.GLIMPSE_SSE, idle.GLIMPSE_WS].map((name) =>
    view('idle').row(idle.IDLE, crowd, name).median('kbPerConnection'),
  )
  const [rate = 100] = latency.RATES
  return {
    postgresEventUs: postgres.event,
    postgresStatementUs: postgres.statement,
    wakeUpUs: spread(wakeUps).median,
    messageUs: node.statement,
    ownEventUs: node.event,
    foreignMessageUs: hearing.statement,
    foreignEventUs: hearing.event,
    relayStatementUs: relay.statement,
    relayEventUs: relay.event,
    natsStatementUs: nats.statement,
    natsEventUs: nats.event,
    natsMessageUs: ownByNats.statement,
    natsOwnEventUs: ownByNats.event,
    idleCores: everywhere('LISTEN', 1, 'idleCores'),
    commitMs: view('latency').row(latency.STEADY, rate, latency.BASE).median('p50Ms'),
    commitsPerSecond: commits.length === 0 ? Number.NaN : Math.max(...commits),
    walBytes: atFullSpeed.median('walBytes'),
    logBytes: resumed.median('logBytes'),
    connectionKb: Math.max(...kilobytes),
    resumeUs: resumed.median('serverUs'),
    resumePostgresUs: resumed.median('postgresUs'),
  }
}

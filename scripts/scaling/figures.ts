import * as delivery from '../../bench/delivery.ts'
import * as idle from '../../bench/idle.ts'
import * as latency from '../../bench/latency.ts'
import { ROWS_PER_INSERT } from '../../bench/load/jobs.ts'
import { type Part, type Results, View } from '../../bench/report/results.ts'
import { fitLine, spread } from '../../bench/report/statistics.ts'
import { type BusName, COST, clusterName, INSTANCES, ROWS } from '../../bench/scale.ts'
import * as storm from '../../bench/storm.ts'
import * as writes from '../../bench/writes.ts'

/** CPU in µs of one core: that of an event in a statement of so many rows is event + statement ÷ rows. */
export type Cost = Readonly<Record<'event' | 'statement', number>>

export type Figures = Readonly<ReturnType<typeof figuresOf>>

/**
 * What the model computes with, measured on one machine. Taken from the results; NaN where a part was not measured, and
 * then the model has no answer.
 */
export function figuresOf(results: Results) {
  const view = (part: Part) => new View(results[part])
  const [written, delivered, scaled] = [view('writes'), view('delivery'), view('scale')]
  const [fewest = 1000] = delivered.levels(delivery.FASTEST)
  const atFullSpeed = delivered.row(delivery.FASTEST, fewest, delivery.GLIMPSE_SSE)
  const cost = (bus: BusName, instances: number, rows: number, figure: string) =>
    scaled.row(COST, rows, clusterName(bus, instances)).median(figure)
  /** Two sizes of a statement, two unknowns. */
  const parts = (points: readonly (readonly [rows: number, us: number])[]): Cost => {
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
    postgres: alone('postgresUs', 'postgresUs'),
    /** Of an instance, for the events of its own users and for those that it only hears. */
    own: alone('instancesUs', 'serverUs'),
    foreign: bySize((rows) => everywhere('LISTEN', rows, 'hearingUs')),
    relay: bySize((rows) => everywhere('NATS', rows, 'relayUs')),
    nats: bySize((rows) => everywhere('NATS', rows, 'natsUs')),
    /** The fewer events an instance has, the fewer it reads together: of all numbers the dearest. */
    ownByNats: bySize((rows) => cost('NATS', Math.max(...INSTANCES), rows, 'instancesUs')),
    /** Of Postgres, for each statement and further session that listens. */
    wakeUpUs: spread(wakeUps).median,
    idleCores: everywhere('LISTEN', 1, 'idleCores'),
    commitMs: view('latency').row(latency.STEADY, rate, latency.BASE).median('p50Ms'),
    commitsPerSecond: commits.length === 0 ? Number.NaN : Math.max(...commits),
    walBytes: atFullSpeed.median('walBytes'),
    logBytes: resumed.median('logBytes'),
    /** Of the dearer transport, with the largest crowd measured. */
    connectionKb: Math.max(...kilobytes),
    resumeUs: resumed.median('serverUs'),
    resumePostgresUs: resumed.median('postgresUs'),
  }
}

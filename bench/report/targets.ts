import * as delivery from '../delivery.ts'
import * as idle from '../idle.ts'
import * as latency from '../latency.ts'
import * as scale from '../scale.ts'
import * as storm from '../storm.ts'
import * as writes from '../writes.ts'
import { type Part, type Results, View } from './results.ts'
import { bareKeepsUp } from './sections/latency.ts'
import { ratios, type Spread, spread } from './statistics.ts'
import { numberText, spreadText, type Table, timesText } from './table.ts'

/** One promise of speed: what was asked for, and what the results say. */
export interface Target {
  readonly part: Part
  readonly what: string
  readonly wanted: string
  readonly got: string
  /** By the median; undefined where it was not measured. */
  readonly met: boolean | undefined
}

interface Bound {
  readonly atLeast?: number
  readonly atMost?: number
}

type Ask = (part: Part, what: string, got: Spread, bound: Bound, unit?: string) => void

/** Every target, in the order of the parts. */
export function targetsOf(results: Results): Target[] {
  const targets: Target[] = []
  const ask: Ask = (part, what, got, bound, unit = '×') => {
    const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = bound
    const digits = unit === '×' ? 2 : unit.trim() === 'kB' ? 1 : 0
    const limit = (bound.atLeast ?? bound.atMost ?? 0).toLocaleString('en-US')
    targets.push({
      part,
      what,
      wanted: `${bound.atLeast === undefined ? 'at most' : 'at least'} ${limit}${unit}`,
      got: unit === '×' ? timesText(got) : spreadText(got, digits, unit),
      met: Number.isNaN(got.median) ? undefined : got.median >= atLeast && got.median <= atMost,
    })
  }
  askWrites(new View(results.writes?.trials ?? []), ask)
  askDelivery(new View(results.delivery?.trials ?? []), ask)
  askLatency(new View(results.latency?.trials ?? []), ask)
  askIdle(new View(results.idle?.trials ?? []), ask)
  askStorm(new View(results.storm?.trials ?? []), ask)
  askScale(new View(results.scale?.trials ?? []), ask)
  return targets
}

function askWrites(view: View, ask: Ask): void {
  const { DISTINCT, GLIMPSE, INSERT, BARE } = writes
  const against = (level: number, peer: string, figure: string) =>
    view.ratio(DISTINCT, level, GLIMPSE, peer, figure)
  for (const level of [64, 1000])
    ask(
      'writes',
      `views/s of one INSERT a request, ${numberText(level)} connections`,
      against(level, INSERT, 'perSecond'),
      { atLeast: 8 },
    )
  ask('writes', 'p50 of one INSERT a request, 1 connection', against(1, INSERT, 'p50Ms'), { atMost: 1 })
  for (const level of [64, 1000])
    ask(
      'writes',
      `views/s of a bare endpoint, ${numberText(level)} connections`,
      against(level, BARE, 'perSecond'),
      {
        atLeast: 0.75,
      },
    )
}

function askDelivery(view: View, ask: Ask): void {
  const { BARE_NET, FASTEST, GLIMPSE_SSE, GLIMPSE_WS } = delivery
  for (const level of view.levels(FASTEST).slice(0, 2)) {
    const at = `${numberText(level)} connections`
    for (const own of [GLIMPSE_SSE, GLIMPSE_WS]) {
      ask(
        'delivery',
        `${own}: deliveries/s of bare socket.write, ${at}`,
        view.ratio(FASTEST, level, own, BARE_NET, 'deliveriesPerSecond'),
        { atLeast: 0.8 },
      )
      ask(
        'delivery',
        `${own}: deliveries per second of its CPU, of bare socket.write's, ${at}`,
        view.ratio(FASTEST, level, BARE_NET, own, 'serverUs'),
        { atLeast: 0.8 },
      )
      ask(
        'delivery',
        `${own}: events/s from commit to socket, ${at}`,
        view.spread(FASTEST, level, own, 'deliveriesPerSecond'),
        { atLeast: 20_000 },
        '/s',
      )
    }
    for (const [own, peer] of [
      [GLIMPSE_SSE, delivery.BETTER_SSE],
      [GLIMPSE_SSE, delivery.NCHAN_SSE],
      [GLIMPSE_SSE, delivery.PUSHPIN],
      [GLIMPSE_WS, delivery.NCHAN_WS],
      [GLIMPSE_WS, delivery.SOCKET_IO],
      [GLIMPSE_WS, delivery.SOCKET_IO_POSTGRES],
    ] as const)
      ask(
        'delivery',
        `${own}: deliveries/s of ${peer}, ${at}`,
        view.ratio(FASTEST, level, own, peer, 'deliveriesPerSecond'),
        { atLeast: 1 },
      )
  }
}

function askLatency(view: View, ask: Ask): void {
  const { BASE, POST_TO_SSE, STEADY } = latency
  const against = (figure: string) =>
    bareKeepsUp(view, 1000) ? view.ratio(STEADY, 1000, POST_TO_SSE, BASE, figure) : spread([])
  ask('latency', 'POST → SSE at 1,000/s: p50 of a bare INSERT + NOTIFY', against('p50Ms'), { atMost: 1.5 })
  ask('latency', 'POST → SSE at 1,000/s: p99 of a bare INSERT + NOTIFY', against('p99Ms'), { atMost: 3 })
}

function askIdle(view: View, ask: Ask): void {
  const { BARE_HTTP, BARE_WS, GLIMPSE_SSE, GLIMPSE_WS, IDLE } = idle
  const most = view.levels(IDLE).at(-1) ?? 10_000
  const at = `${numberText(most)} connections`
  const kilobytes = (name: string) => view.spread(IDLE, most, name, 'kbPerConnection')
  ask('idle', `SSE: memory a connection, ${at}`, kilobytes(GLIMPSE_SSE), { atMost: 12 }, ' kB')
  ask('idle', `WebSocket: memory a connection, ${at}`, kilobytes(GLIMPSE_WS), { atMost: 9 }, ' kB')
  for (const [own, bare] of [
    [GLIMPSE_SSE, BARE_HTTP],
    [GLIMPSE_WS, BARE_WS],
  ] as const)
    ask(
      'idle',
      `${own}: connections/s of ${bare}, ${at}`,
      view.ratio(IDLE, most, own, bare, 'connectionsPerSecond'),
      { atLeast: 0.8 },
    )
}

function askStorm(view: View, ask: Ask): void {
  const { STORM } = storm
  for (const level of view.levels(STORM))
    for (const name of view.contenders(STORM, level)) {
      const rounds =
        view.trials.find((trial) => trial.level === level && trial.contender === name)?.rounds ?? []
      const complete = spread(rounds.map((round) => (round === null ? 0 : 1)))
      const at = `${numberText(level)} clients, ${storm.BEHIND} behind`
      ask(
        'storm',
        `${name}: rounds in which all are complete, ${at}`,
        percent(complete),
        { atLeast: 100 },
        ' %',
      )
      ask(
        'storm',
        `${name}: event loop delay p99, ${at}`,
        view.spread(STORM, level, name, 'loopP99Ms'),
        { atMost: 200 },
        ' ms',
      )
    }
}

function percent({ min }: Spread): Spread {
  return { median: min * 100, min: min * 100, max: min * 100 }
}

/** What "flat" means: no more than this many times the cost. */
const FLAT = 1.25

function askScale(view: View, ask: Ask): void {
  const { clusterName, INSTANCES, SCALE } = scale
  const levels = view.levels(SCALE)
  const [few = 100, most = 10_000] = [levels[0], levels.at(-1)]
  const cost = (level: number, instances: number) => {
    const values = (figure: string) => view.values(SCALE, level, clusterName(instances), figure)
    const postgres = values('postgresUs')
    return values('serverUs').map((own, round) => own + (postgres[round] ?? Number.NaN))
  }
  ask(
    'scale',
    `CPU an event (Node + Postgres), ${numberText(most)} users of ${numberText(few)}, one instance`,
    ratios(cost(most, 1), cost(few, 1)),
    { atMost: FLAT },
  )
  const largest = INSTANCES.at(-1) ?? 4
  ask(
    'scale',
    `CPU an event (Node + Postgres), ${largest} instances of one, ${numberText(most)} users`,
    ratios(cost(most, largest), cost(most, 1)),
    { atMost: FLAT },
  )
}

export function targetsTable(targets: readonly Target[]): Table {
  return {
    columns: ['target', 'wanted', 'measured', 'met'],
    rows: targets.map(({ what, wanted, got, met }) => [
      what,
      wanted,
      got,
      met === undefined ? 'not measured' : met ? 'yes' : '**no**',
    ]),
  }
}

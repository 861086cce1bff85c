import {
  BARE_NET,
  BARE_SSE,
  BARE_WS,
  BETTER_SSE,
  FASTEST,
  FASTEST_3,
  GLIMPSE_SSE,
  GLIMPSE_WS,
  NCHAN_SSE,
  NCHAN_WS,
  PACED,
  PACED_RATE,
  PUSHPIN,
  RAW_SOURCE,
  SOCKET_IO,
  SOCKET_IO_POSTGRES,
} from '../../delivery.ts'
import { INSERTS_IN_FLIGHT, INSERTS_PER_SECOND, ROWS_PER_INSERT } from '../../harness/feeds.ts'
import { type PartResults, View } from '../results.ts'
import type { Section } from '../section.ts'
import type { Spread } from '../statistics.ts'
import { barPlot } from '../svg/bar-plot.ts'
import type { Tone } from '../svg/frame.ts'
import { numberText, spreadText, type Table, timesText } from '../table.ts'
import { coresText, remarksOf } from './remarks.ts'

const TONES: Readonly<Record<string, Tone>> = {
  [GLIMPSE_SSE]: 'own',
  [GLIMPSE_WS]: 'own',
  [SOCKET_IO_POSTGRES]: 'peer',
  [NCHAN_SSE]: 'peer-2',
  [NCHAN_WS]: 'peer-2',
  [PUSHPIN]: 'peer-2',
  [BETTER_SSE]: 'peer',
  [SOCKET_IO]: 'peer',
  [BARE_SSE]: 'bound',
  [BARE_WS]: 'bound',
  [BARE_NET]: 'bound',
}

const NOTE = `Each event goes to one connected user, picked at random, and to each of their connections; counted at real sockets. What stands behind an event differs, and the table says so:

- Glimpse's events are views INSERTed by plain SQL (${ROWS_PER_INSERT} rows a statement, ${INSERTS_IN_FLIGHT} in flight; paced: ${INSERTS_PER_SECOND} statements a second), so its figure is commit, numbering, log, NOTIFY and delivery, all durable, with Postgres, the writer, the service and the clients on the same cores.
- socket.io with its Postgres adapter is two processes, one that publishes and one that holds the connections; NOTIFY is between them, and nothing is kept.
- Nchan and Pushpin run where they are installed (Debian: nginx, libnginx-mod-nchan, pushpin), fed by HTTP, pipelined one event a POST and 25 items a POST; they keep a few messages in memory or none.
- The others make the event in the very process that delivers it: no bus, no database, no bound on what a slow reader may cost. \`${BARE_NET}\`, without HTTP, is the bound for Node.

CPU is the robust figure on a shared machine: of the contender's processes and of Postgres, per delivery. Clients check at each socket that every \`seq\` follows the one before; for Glimpse and the in-process servers a missing, doubled or reordered event fails the round, for those that promise at most once what is missing is counted, up to one in twenty, and so are the connections that they cut. Client cores of 0.9 or more (marked *) mean that the clients were the limit; "${RAW_SOURCE}" is what the same clients take, with the same checks, from a source that sends ready-made runs of events.`

export function deliverySection(results: PartResults): Section {
  const view = new View(results.trials)
  const crowds = [
    ...view.levels(FASTEST).map((level) => [FASTEST, level] as const),
    ...view.levels(FASTEST_3).map((level) => [FASTEST_3, level] as const),
  ]
  return {
    title: 'Delivery',
    note: NOTE,
    figures: [
      { file: 'delivery.svg', alt: 'Deliveries per second by contender', svg: throughputPlot(view) },
      { file: 'delivery-cpu.svg', alt: 'CPU per delivery by contender', svg: cpuPlot(view) },
      { file: 'delivery-latency.svg', alt: 'Latency of delivery by contender', svg: latencyPlot(view) },
    ],
    tables: [...crowds.map(([scenario, level]) => fastestTable(view, scenario, level)), pacedTable(view)],
    remarks: remarksOf(results),
  }
}

function fastestTable(view: View, scenario: string, level: number): Table {
  const of = (name: string, figure: string) => timesText(view.ratio(scenario, level, name, BARE_NET, figure))
  return {
    title: `${numberText(level)} connections, ${scenario === FASTEST_3 ? '3 connections a user' : '1 connection a user'}, ${FASTEST}`,
    columns: [
      'contender',
      'deliveries/s',
      'of socket.write',
      'server CPU µs',
      'of socket.write',
      'Postgres CPU µs',
      'client cores',
      'missing',
    ],
    rows: view.contenders(scenario, level).map((name) => {
      const figure = (one: string) => view.spread(scenario, level, name, one)
      const compared = name !== BARE_NET && name !== RAW_SOURCE
      return [
        name,
        spreadText(figure('deliveriesPerSecond')),
        compared ? of(name, 'deliveriesPerSecond') : '',
        spreadText(figure('serverUs'), 1),
        compared ? of(name, 'serverUs') : '',
        numberText(figure('postgresUs').median, 1),
        coresText(figure('clientCores').median),
        missingText(figure('missing'), figure('connectionsLost')),
      ]
    }),
  }
}

function pacedTable(view: View): Table {
  const [level = 1000] = view.levels(PACED)
  return {
    title: `${numberText(level)} connections, ${numberText(PACED_RATE)} events a second: from sending to the socket`,
    columns: [
      'contender',
      'p50 ms',
      'p90 ms',
      'p99 ms',
      'max ms',
      'server CPU µs',
      'Postgres CPU µs',
      'missing',
    ],
    rows: view.contenders(PACED, level).map((name) => {
      const figure = (one: string) => view.spread(PACED, level, name, one)
      return [
        name,
        spreadText(figure('p50Ms'), 2),
        spreadText(figure('p90Ms'), 2),
        spreadText(figure('p99Ms'), 2),
        numberText(figure('maxMs').median, 1),
        spreadText(figure('serverUs'), 1),
        numberText(figure('postgresUs').median, 1),
        missingText(figure('missing'), figure('connectionsLost')),
      ]
    }),
  }
}

/** The worst round's: `17, 8 connections`. */
function missingText(events: Spread, connections: Spread): string {
  const lost = connections.max > 0 ? `, ${numberText(connections.max)} connections` : ''
  return `${numberText(events.max)}${lost}`
}

function throughputPlot(view: View): string {
  const levels = view.levels(FASTEST)
  return barPlot({
    title: 'Deliveries per second, counted at the sockets',
    subtitle: 'Glimpse: committed, numbered, logged, notified. Median, smallest and largest round',
    label: 'deliveries a second',
    levels: levels.map((level) => `${numberText(level)} connections`),
    bars: Object.entries(TONES).map(([name, tone]) => ({
      name,
      tone,
      values: levels.map((level) => view.spread(FASTEST, level, name, 'deliveriesPerSecond')),
    })),
  })
}

function cpuPlot(view: View): string {
  const levels = view.levels(FASTEST)
  return barPlot({
    title: "CPU of the server's processes per delivery",
    subtitle: 'Without Postgres and the clients; less is better. Median, smallest and largest round',
    label: 'microseconds of CPU a delivery',
    levels: levels.map((level) => `${numberText(level)} connections`),
    bars: Object.entries(TONES).map(([name, tone]) => ({
      name,
      tone,
      values: levels.map((level) => view.spread(FASTEST, level, name, 'serverUs')),
    })),
    digits: 1,
  })
}

function latencyPlot(view: View): string {
  const [level = 1000] = view.levels(PACED)
  return barPlot({
    title: `From sending an event to the client's socket, ${numberText(PACED_RATE)} events a second`,
    subtitle: `${numberText(level)} connections; Glimpse and socket.io's adapter go through Postgres, Glimpse through its disk`,
    label: 'milliseconds, logarithmic',
    scale: 'log',
    levels: ['p50', 'p99'],
    bars: Object.entries(TONES).map(([name, tone]) => ({
      name,
      tone,
      values: [view.spread(PACED, level, name, 'p50Ms'), view.spread(PACED, level, name, 'p99Ms')],
    })),
    digits: 2,
  })
}

import * as delivery from '../delivery.ts'
import * as idle from '../idle.ts'
import * as latency from '../latency.ts'
import * as storm from '../storm.ts'
import * as writes from '../writes.ts'
import { type Results, View } from './results.ts'
import { bareKeepsUp } from './sections/latency.ts'
import { numberText, spreadText, timesText, toMarkdown } from './table.ts'

/** The figures that one asks for first, beside the peers': the table and the plot of docs/comparison.md. */
export function headline(results: Results): string {
  const rows = rowsOf(results).filter(([, measured]) => measured !== '–')
  if (rows.length === 0) return ''
  return `${toMarkdown({ columns: COLUMNS, rows })}

Median (smallest–largest) of rounds that alternate with the peers' on one shared machine (${machineOf(results)}), Postgres durable and on the same cores; ratios are the point. [All figures, and how they were taken](benchmarks.md); [where the limits lie](scaling.md).

![Views per second against connections](plots/writes.svg)`
}

/** The README's five numbers. The lone view is one of them because a peer is faster there. */
export function fiveNumbers(results: Results): string {
  const wanted = [/second, 1 connection$/, /second, 64 conn/, /socket, SSE/, /, p50$/, /connection, SSE/]
  const rows = rowsOf(results).filter(
    ([what = '', measured]) => measured !== '–' && wanted.some((pattern) => pattern.test(what)),
  )
  if (rows.length === 0) return ''
  return `${toMarkdown({ columns: COLUMNS, rows })}

Median (smallest–largest), measured on ${machineOf(results)}, with Postgres and the clients on the same cores.`
}

const COLUMNS = ['what', 'Glimpse', 'against']

function machineOf(results: Results): string {
  return (Object.values(results)[0]?.machine ?? '').split(',').slice(0, 2).join(',')
}

function rowsOf(results: Results): string[][] {
  const view = (part: keyof Results) => new View(results[part]?.trials ?? [])
  return [
    ...writeRows(view('writes')),
    ...deliveryRows(view('delivery')),
    ...latencyRows(view('latency')),
    ...idleRows(view('idle')),
    ...stormRows(view('storm')),
  ]
}

function writeRows(view: View): string[][] {
  const { DISTINCT, GLIMPSE, INSERT } = writes
  return [1, 64, 1000].map((level) => [
    `views recorded a second, ${numberText(level)} ${level === 1 ? 'connection' : 'connections'}`,
    spreadText(view.spread(DISTINCT, level, GLIMPSE, 'perSecond')),
    `${timesText(view.ratio(DISTINCT, level, GLIMPSE, INSERT, 'perSecond'))} one INSERT a request`,
  ])
}

function deliveryRows(view: View): string[][] {
  const { BETTER_SSE, FASTEST, GLIMPSE_SSE, GLIMPSE_WS, SOCKET_IO, SOCKET_IO_POSTGRES } = delivery
  const [level = 1000] = view.levels(FASTEST)
  const against = (own: string, peer: string, figure: string) =>
    `${timesText(view.ratio(FASTEST, level, own, peer, figure))} ${peer}`
  const names = [
    [GLIMPSE_SSE, BETTER_SSE],
    [GLIMPSE_WS, SOCKET_IO],
  ] as const
  return [
    ...names.map(([own]) => [
      `events a second from commit to socket, ${transport(own)}, ${numberText(level)} connections`,
      spreadText(view.spread(FASTEST, level, own, 'deliveriesPerSecond')),
      against(own, SOCKET_IO_POSTGRES, 'deliveriesPerSecond'),
    ]),
    ...names.map(([own, peer]) => [
      `CPU of the service a delivery, ${transport(own)}`,
      spreadText(view.spread(FASTEST, level, own, 'serverUs'), 1, ' µs'),
      `${against(own, peer, 'serverUs')} without a bus`,
    ]),
  ]
}

function transport(own: string): string {
  return own.replace('Glimpse ', '')
}

function latencyRows(view: View): string[][] {
  const { BASE, POST_TO_SSE, STEADY } = latency
  const row = (name: string, figure: string) => [
    `request to event at the client, 1,000 a second, ${name}`,
    spreadText(view.spread(STEADY, 1000, POST_TO_SSE, figure), 1, ' ms'),
    `${timesText(view.ratio(STEADY, 1000, POST_TO_SSE, BASE, figure))} a bare INSERT + NOTIFY`,
  ]
  return bareKeepsUp(view, 1000) ? [row('p50', 'p50Ms'), row('p99', 'p99Ms')] : []
}

function idleRows(view: View): string[][] {
  const { BARE_HTTP, BARE_WS, GLIMPSE_SSE, GLIMPSE_WS, IDLE } = idle
  const most = view.levels(IDLE).at(-1) ?? 0
  return (
    [
      [GLIMPSE_SSE, BARE_HTTP],
      [GLIMPSE_WS, BARE_WS],
    ] as const
  ).map(([own, bare]) => [
    `memory a connection, ${transport(own)}, ${numberText(most)} open`,
    spreadText(view.spread(IDLE, most, own, 'kbPerConnection'), 1, ' kB'),
    `${timesText(view.ratio(IDLE, most, own, bare, 'kbPerConnection'))} ${bare}`,
  ])
}

function stormRows(view: View): string[][] {
  const { BEHIND, GLIMPSE_SSE, STORM } = storm
  return view.levels(STORM).map((level) => {
    const { median, min, max } = view.spread(STORM, level, GLIMPSE_SSE, 'completeMs')
    return [
      `${numberText(level)} clients resume at once, each ${BEHIND} events behind: all complete after`,
      spreadText({ median: median / 1000, min: min / 1000, max: max / 1000 }, 1, ' s'),
      `event loop delay p99 ${spreadText(view.spread(STORM, level, GLIMPSE_SSE, 'loopP99Ms'), 0, ' ms')}`,
    ]
  })
}

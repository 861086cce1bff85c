import { BARE_HTTP, BARE_WS, GLIMPSE_SSE, GLIMPSE_WS, IDLE, SETTLE_MS } from '../../idle.ts'
import { type PartResults, View } from '../results.ts'
import type { Section } from '../section.ts'
import type { Spread } from '../statistics.ts'
import { linePlot } from '../svg/line-plot.ts'
import { numberText, spreadText, type Table, timesText } from '../table.ts'
import { remarksOf } from './remarks.ts'

/** Each with its bare counterpart. */
export const PAIRS = [
  [GLIMPSE_SSE, BARE_HTTP],
  [GLIMPSE_WS, BARE_WS],
] as const

const NOTE = `Resident memory of the server process over what it was before the first connection, ${SETTLE_MS / 1000} s after the last one opened, one user each, a fresh process each round, no collection forced. Glimpse verifies each user's token and reads the head of their stream from Postgres; the bare servers accept anybody. Connections/s is that of the last step, to the first event-stream bytes, 64 opening at once.`

export function idleSection(results: PartResults): Section {
  const view = new View(results.trials)
  return {
    title: 'Idle connections',
    note: NOTE,
    figures: [{ file: 'memory.svg', alt: 'Memory against connections', svg: plot(view) }],
    tables: [table(view)],
    remarks: remarksOf(results),
  }
}

function table(view: View): Table {
  return {
    columns: ['contender', 'connections', 'kB/connection', 'of bare', 'connections/s', 'of bare'],
    rows: view.levels(IDLE).flatMap((level) =>
      PAIRS.flatMap((pair) =>
        pair.map((name) => {
          const figure = (one: string) => view.spread(IDLE, level, name, one)
          const against = (one: string) =>
            name === pair[1] ? '' : timesText(view.ratio(IDLE, level, name, pair[1], one))
          return [
            name,
            numberText(level),
            spreadText(figure('kbPerConnection'), 1),
            against('kbPerConnection'),
            spreadText(figure('connectionsPerSecond')),
            against('connectionsPerSecond'),
          ]
        }),
      ),
    ),
  }
}

function plot(view: View): string {
  const tones = {
    [GLIMPSE_SSE]: 'own',
    [BARE_HTTP]: 'bound',
    [GLIMPSE_WS]: 'own-2',
    [BARE_WS]: 'peer',
  } as const
  const megabytes = ({ median, min, max }: Spread, connections: number): Spread => ({
    median: (median * connections) / 1000,
    min: (min * connections) / 1000,
    max: (max * connections) / 1000,
  })
  return linePlot({
    title: 'Memory against connections',
    subtitle: 'Resident, over the empty process; median, smallest and largest round',
    x: { label: 'open connections on which nothing happens', scale: 'linear' },
    y: { label: 'MB', scale: 'linear' },
    series: Object.entries(tones).map(([name, tone]) => ({
      name,
      tone,
      dashed: name === BARE_HTTP || name === BARE_WS,
      points: view.levels(IDLE).map((level) => ({
        x: level,
        y: megabytes(view.spread(IDLE, level, name, 'kbPerConnection'), level),
      })),
    })),
  })
}

import { AUTHORS, BASE, INSERT_TO_SSE, POST_TO_SSE, STEADY } from '../../latency.ts'
import { type PartResults, View } from '../results.ts'
import type { Section } from '../section.ts'
import { linePlot, type Series } from '../svg/line-plot.ts'
import { numberText, spreadText, type Table, timesText } from '../table.ts'
import { coresText, remarksOf } from './remarks.ts'

const PERCENTILES = [
  ['p50', 'p50Ms'],
  ['p75', 'p75Ms'],
  ['p90', 'p90Ms'],
  ['p95', 'p95Ms'],
  ['p99', 'p99Ms'],
  ['p99.9', 'p999Ms'],
] as const
const TONES = { [POST_TO_SSE]: 'own', [INSERT_TO_SSE]: 'own-2', [BASE]: 'bound' } as const

const NOTE = `From just before the send to the event's arrival in the same process, single views sent at a steady rate whether or not answers come, to ${AUTHORS} connected authors. The bare way is an INSERT with a row trigger that calls \`pg_notify\`, heard on a LISTEN connection: no log, no numbers, no HTTP; the least that Postgres allows. Where "arrived/s" is below the rate, that way cannot keep it up and its latency is a queue's. Both SQL ways send over up to 20 connections, POST over up to 64.`

/** Where the bare way cannot keep the rate up, its latency is a queue's, and a ratio to it says nothing. */
export function bareKeepsUp(view: View, rate: number): boolean {
  return view.spread(STEADY, rate, BASE, 'perSecond').median > rate * 0.95
}

export function latencySection(results: PartResults): Section {
  const view = new View(results.trials)
  return {
    title: 'Latency',
    note: NOTE,
    figures: view.levels(STEADY).map((rate) => ({
      file: `latency-${rate}.svg`,
      alt: `Latency percentiles at ${numberText(rate)} events a second`,
      svg: plot(view, rate),
    })),
    tables: [table(view)],
    remarks: remarksOf(results),
  }
}

function table(view: View): Table {
  return {
    columns: [
      'way',
      'rate',
      'arrived/s',
      'p50 ms',
      'p99 ms',
      'max ms',
      'p50 of bare',
      'p99 of bare',
      'sender cores',
    ],
    rows: view.levels(STEADY).flatMap((rate) =>
      view.contenders(STEADY, rate).map((way) => {
        const figure = (one: string) => view.spread(STEADY, rate, way, one)
        const against = (one: string) =>
          way === BASE
            ? ''
            : bareKeepsUp(view, rate)
              ? timesText(view.ratio(STEADY, rate, way, BASE, one))
              : 'bare fell behind'
        return [
          way,
          `${numberText(rate)}/s`,
          spreadText(figure('perSecond')),
          spreadText(figure('p50Ms'), 2),
          spreadText(figure('p99Ms'), 2),
          spreadText(figure('maxMs'), 1),
          against('p50Ms'),
          against('p99Ms'),
          coresText(figure('clientCores').median),
        ]
      }),
    ),
  }
}

function plot(view: View, rate: number): string {
  const series = Object.entries(TONES).map(
    ([name, tone]): Series => ({
      name,
      tone,
      dashed: name === BASE,
      points: PERCENTILES.map(([, figure], i) => ({ x: i, y: view.spread(STEADY, rate, name, figure) })),
    }),
  )
  return linePlot({
    title: `From the request to the event at the client, ${numberText(rate)} a second`,
    subtitle: 'Single views, each committed durably; median, smallest and largest round',
    x: { label: 'percentile', scale: 'steps', tick: (i) => PERCENTILES[i]?.[0] ?? '' },
    y: { label: 'milliseconds', scale: 'log' },
    series,
  })
}

import {
  AUTHORS,
  BARE,
  DISTINCT,
  GLIMPSE,
  HOT,
  INSERT,
  INSERT_FASTIFY,
  REPEATED,
  STORIES,
  VIEWERS,
} from '../../writes.ts'
import { type PartResults, View } from '../results.ts'
import type { Section } from '../section.ts'
import { linePlot } from '../svg/line-plot.ts'
import { numberText, spreadText, type Table, timesText } from '../table.ts'
import { coresText, remarksOf } from './remarks.ts'

const CONTENDERS = [GLIMPSE, INSERT, INSERT_FASTIFY, BARE]
const TONES = { [GLIMPSE]: 'own', [INSERT]: 'peer', [INSERT_FASTIFY]: 'peer-2', [BARE]: 'bound' } as const

const NOTE = `\`POST /stories/{id}/view\` with a JWT, by autocannon. ${numberText(VIEWERS)} users with a token each view ${numberText(STORIES)} stories of ${AUTHORS} authors; but for the repeated views each request is a new (story, viewer) pair, so each makes an event. Glimpse answers after commit, with stream numbers, log and NOTIFY. The peers verify with jose and INSERT once per request, and their row trigger calls \`pg_notify\`; they keep no log. The bare endpoint routes, reads the body, takes the verified token from a map and answers, without a database: the ceiling.

"Glimpse is" compares round by round and takes the median of the ratios. CPU is per request: of the contender's process, and of all of Postgres. A generator at 0.9 cores or more (marked *) was itself the limit: that contender can do more.`

export function writesSection(results: PartResults): Section {
  const view = new View(results.trials)
  return {
    title: 'Writes',
    note: NOTE,
    figures: [{ file: 'writes.svg', alt: 'Views per second against connections', svg: plot(view) }],
    tables: [DISTINCT, HOT, REPEATED].map((scenario) => table(view, scenario)),
    remarks: remarksOf(results),
  }
}

function table(view: View, scenario: string): Table {
  return {
    title: scenario === DISTINCT ? 'Distinct users' : scenario === HOT ? 'One hot author' : 'Repeated views',
    columns: [
      'contender',
      'connections',
      'requests/s',
      'Glimpse is',
      'p50 ms',
      'p99 ms',
      'server CPU µs',
      'Postgres CPU µs',
      'generator cores',
    ],
    rows: view.levels(scenario).flatMap((level) =>
      view.contenders(scenario, level).map((contender) => {
        const figure = (name: string) => view.spread(scenario, level, contender, name)
        return [
          contender,
          numberText(level),
          spreadText(figure('perSecond')),
          contender === GLIMPSE
            ? ''
            : timesText(view.ratio(scenario, level, GLIMPSE, contender, 'perSecond')),
          spreadText(figure('p50Ms'), 2),
          spreadText(figure('p99Ms'), 2),
          numberText(figure('serverUs').median),
          numberText(figure('postgresUs').median),
          coresText(figure('clientCores').median),
        ]
      }),
    ),
  }
}

function plot(view: View): string {
  return linePlot({
    title: 'Views per second, each answered after its commit',
    subtitle: 'POST /stories/{id}/view, distinct users; median, smallest and largest round',
    x: { label: 'connections', scale: 'steps' },
    y: { label: 'requests a second', scale: 'linear' },
    series: CONTENDERS.map((name) => ({
      name: name.replace('one INSERT a request', 'INSERT a request'),
      tone: TONES[name as keyof typeof TONES],
      dashed: name === BARE,
      points: view.levels(DISTINCT).map((level) => ({
        x: level,
        y: view.spread(DISTINCT, level, name, 'perSecond'),
      })),
    })),
  })
}

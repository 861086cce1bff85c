import { clusterName, INSTANCES, RATE, SCALE } from '../../scale.ts'
import { type PartResults, View } from '../results.ts'
import type { Section } from '../section.ts'
import { linePlot, type Series } from '../svg/line-plot.ts'
import { numberText, spreadText, timesText } from '../table.ts'
import { remarksOf } from './remarks.ts'

const NOTE = `${numberText(RATE)} events a second in INSERTs of ten rows, each event to one of the connected users, who are spread over the instances of one database. CPU per event is that of all instances together, and of Postgres, over what they use when nothing happens (canaries, sweeps, heartbeats; measured just before at the same size, and shown for one instance). Ratios are to one instance with the same crowd.`

export function scaleSection(results: PartResults): Section {
  const view = new View(results.trials)
  return {
    title: 'Size of the crowd and number of instances',
    note: NOTE,
    figures: [
      { file: 'scale.svg', alt: 'CPU per event against connected users and instances', svg: plot(view) },
    ],
    tables: [
      {
        columns: [
          'instances',
          'users',
          'Node CPU µs/event',
          'of one instance',
          'Postgres CPU µs/event',
          'of one instance',
          'idle instance, cores',
          'p50 ms',
          'p99 ms',
        ],
        rows: view.levels(SCALE).flatMap((level) =>
          view.contenders(SCALE, level).map((name) => {
            const figure = (one: string) => view.spread(SCALE, level, name, one)
            const against = (one: string) =>
              name === clusterName(1) ? '' : timesText(view.ratio(SCALE, level, name, clusterName(1), one))
            return [
              name,
              numberText(level),
              spreadText(figure('serverUs'), 1),
              against('serverUs'),
              spreadText(figure('postgresUs'), 1),
              against('postgresUs'),
              numberText(figure('idleCores').median, 3),
              spreadText(figure('p50Ms'), 2),
              spreadText(figure('p99Ms'), 1),
            ]
          }),
        ),
      },
    ],
    remarks: remarksOf(results),
  }
}

function plot(view: View): string {
  const tones = ['own', 'own-2', 'peer-2'] as const
  const series = (kind: 'Node' | 'Postgres', figure: string): Series[] =>
    INSTANCES.map((instances, i) => ({
      name: `${kind}, ${clusterName(instances)}`,
      tone: tones[i] ?? 'quiet',
      dashed: kind === 'Postgres',
      points: view.levels(SCALE).map((level) => ({
        x: level,
        y: view.spread(SCALE, level, clusterName(instances), figure),
      })),
    }))
  return linePlot({
    title: 'What an event costs as the crowd grows',
    subtitle: `CPU of all instances, and of Postgres, at ${numberText(RATE)} events a second; median, smallest and largest round`,
    x: { label: 'connected users', scale: 'steps' },
    y: { label: 'microseconds of CPU an event', scale: 'linear' },
    series: [...series('Node', 'serverUs'), ...series('Postgres', 'postgresUs')],
  })
}

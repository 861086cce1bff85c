import { BEHIND, STORM } from '../../storm.ts'
import { type PartResults, View } from '../results.ts'
import type { Section } from '../section.ts'
import { numberText, spreadText } from '../table.ts'
import { coresText, remarksOf } from './remarks.ts'

const NOTE = `All clients connect at the same moment to one instance that has just started, each with a cursor ${BEHIND} events behind: tokens verified, heads and events read from Postgres, every event counted and its order checked at the sockets. The delay of the event loop is Node's own histogram (\`monitorEventLoopDelay\`), from just before the first connection to the last event.`

export function stormSection(results: PartResults): Section {
  const view = new View(results.trials)
  return {
    title: 'Storm',
    note: NOTE,
    figures: [],
    tables: [
      {
        columns: [
          'contender',
          'clients',
          'all complete, s',
          'connections/s',
          'event loop delay p99 ms',
          'max ms',
          'server CPU µs/client',
          'Postgres CPU µs/client',
          'client cores',
        ],
        rows: view.levels(STORM).flatMap((level) =>
          view.contenders(STORM, level).map((name) => {
            const figure = (one: string) => view.spread(STORM, level, name, one)
            const complete = figure('completeMs')
            return [
              name,
              numberText(level),
              spreadText(
                { median: complete.median / 1000, min: complete.min / 1000, max: complete.max / 1000 },
                2,
              ),
              spreadText(figure('connectionsPerSecond')),
              spreadText(figure('loopP99Ms')),
              spreadText(figure('loopMaxMs')),
              spreadText(figure('serverUs')),
              spreadText(figure('postgresUs')),
              coresText(figure('clientCores').median),
            ]
          }),
        ),
      },
    ],
    remarks: remarksOf(results),
  }
}

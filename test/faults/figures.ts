import { cpus } from 'node:os'
import { COLUMNS, complaint, number, verdict } from './report.ts'
import type { Outcome } from './run.ts'

/** How a run came about, as its page tells it. */
export interface RunOfAll {
  readonly outcomes: readonly Outcome[]
  /** What was typed after `npm run test:faults --`. */
  readonly words: readonly string[]
  readonly endedAt: Date
  readonly seconds: number
  readonly postgres: string
}

/** A page of docs/ with the figures of a run: written by the run, never by hand. */
export function figuresPage({ outcomes, words, endedAt, seconds, postgres }: RunOfAll): string {
  const [processor] = cpus()
  const proofs = outcomes.filter(({ planted }) => !planted)
  const plants = outcomes.filter(({ planted }) => planted)
  return [
    '# Reliability, in figures',
    `Written by \`npm run test:faults -- ${words.join(' ')}\` on ${endedAt.toISOString().slice(0, 10)}, in ${number(seconds / 60)} min: ` +
      `Node ${process.version}, Postgres ${postgres} with its default durability, ${cpus().length} cores (${processor?.model.trim()}) for ` +
      'Postgres, the instances, the writers and the clients together. [reliability.md](reliability.md) says what is promised.',
    '## The service as it is',
    table(
      ['scenario', ...COLUMNS.map(([name]) => name), 'seconds', 'verdict'],
      proofs.map((outcome) => [
        outcome.scenario.name,
        ...figures(outcome),
        number(outcome.seconds),
        verdict(outcome),
      ]),
    ),
    '`acked`: writes that were acknowledged. `delivered`: events over all clients. `late`: later than the scenario allows. ' +
      "`unkept`: promises broken that are the scenario's own. `max_resume_ms`: the longest anybody was without a stream. " +
      '`max_lag_ms`: the longest from an acknowledgement to the event.',
    '## With a bug planted',
    'Each scenario again, in a copy of the build with one bug in it, which the checker has to find.',
    table(
      ['scenario', 'bug', 'found in', 'count', 'verdict'],
      plants.map((outcome) => {
        const { bug, foundIn } = outcome.scenario.planted
        const count = outcome.figures === undefined ? '–' : number(outcome.figures[foundIn])
        return [outcome.scenario.name, bug.name, foundIn, count, verdict(outcome)]
      }),
    ),
    '## What each scenario does, and its own figures',
    ...proofs.map(section),
    '',
  ].join('\n\n')
}

function section({ scenario, skipped, notes = [], ...outcome }: Outcome): string {
  const lines = skipped === undefined ? notes : [`skipped: ${skipped}`]
  const wrong = outcome.ok ? [] : complaint({ scenario, ...outcome }).slice(2)
  return [
    `**${scenario.name}**: ${scenario.promise}`,
    ...[...lines, ...wrong].map((line) => `- ${line.trim()}`),
  ].join('\n')
}

function figures({ figures: found }: Outcome): string[] {
  return COLUMNS.map(([, figure]) => (found === undefined ? '–' : number(found[figure])))
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}

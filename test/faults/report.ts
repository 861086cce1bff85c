import type { Figures } from './prover/checker.ts'
import type { Outcome } from './run.ts'

/** The columns of every table of outcomes. */
export const COLUMNS: readonly (readonly [string, keyof Figures])[] = [
  ['acked', 'acked'],
  ['delivered', 'delivered'],
  ['lost', 'lost'],
  ['duplicated', 'duplicated'],
  ['misordered', 'misordered'],
  ['late', 'late'],
  ['resets', 'resets'],
  ['unkept', 'unkept'],
  ['max_resume_ms', 'maxResumeMs'],
  ['max_lag_ms', 'maxLagMs'],
]

/** The outcomes as a table; below it, why runs were skipped, and of each that went wrong the first few findings. */
export function report(outcomes: readonly Outcome[]): string {
  const header = ['scenario', ...COLUMNS.map(([name]) => name), 'seconds', 'verdict']
  const rows = [header, ...outcomes.map(row)]
  const widths = header.map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)))
  const lines = rows.map((cells) =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  '),
  )
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  const skipped = outcomes
    .filter(({ planted }) => !planted)
    .flatMap(({ scenario, skipped }) => (skipped === undefined ? [] : [`${scenario.name}: ${skipped}`]))
  const notes = outcomes.flatMap(({ scenario, notes = [] }) =>
    notes.map((note) => `${scenario.name}: ${note}`),
  )
  const wrong = outcomes.filter(({ ok }) => !ok).flatMap((outcome) => complaint(outcome))
  return [lines[0], rule, ...lines.slice(1), ...skipped, ...notes, ...wrong].join('\n')
}

function row(outcome: Outcome): string[] {
  const { scenario, planted, figures, seconds } = outcome
  const name = planted ? `  with "${scenario.planted.bug.name}"` : scenario.name
  const cells = COLUMNS.map(([, figure]) => (figures === undefined ? '–' : number(figures[figure])))
  return [name, ...cells, number(seconds), verdict(outcome)]
}

export function verdict({ planted, skipped, ok }: Outcome): string {
  if (skipped !== undefined) return 'skipped'
  if (planted) return ok ? 'found' : 'NOT FOUND'
  return ok ? 'kept' : 'BROKEN'
}

/** The first few findings of a run, so that one fault that shows at 400 clients is not 400 pages. */
export function complaint({ scenario, planted, findings }: Outcome, limit = 12): string[] {
  const more = findings.length > limit ? [`  … and ${number(findings.length - limit)} more`] : []
  const title = `${scenario.name}${planted ? `, with "${scenario.planted.bug.name}"` : ''}:`
  return ['', title, ...findings.slice(0, limit).map((finding) => `  ${finding}`), ...more]
}

export function number(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

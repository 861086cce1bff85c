import type { SerializedError } from 'vitest'
import type { Reporter, TestModule } from 'vitest/node'
import { SUITES, suiteOf } from './suites.ts'

interface Row {
  readonly suite: string
  cases: number
  failures: number
  skipped: number
  readonly notes: string[]
}

/** Prints one table at the end of a run: suite, cases, failures. */
export class TableReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const rows = new Map<string, Row>(SUITES.map(({ name }) => [name, emptyRow(name)]))
    for (const module of modules) {
      const name = suiteOf(module.relativeModuleId)?.name ?? module.relativeModuleId
      const row = rows.get(name) ?? emptyRow(name)
      rows.set(name, row)
      add(row, module)
    }
    const outside = { ...emptyRow('errors outside of any test'), failures: unhandled.length }
    console.log(`\n${table([...rows.values(), ...(unhandled.length === 0 ? [] : [outside])])}`)
  }
}

const emptyRow = (suite: string): Row => ({ suite, cases: 0, failures: 0, skipped: 0, notes: [] })

function add(row: Row, module: TestModule): void {
  // A file that can't be loaded has no tests: without this it would count as nothing gone wrong.
  row.failures += module.errors().length
  for (const suite of module.children.allSuites()) row.failures += suite.errors().length
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    if (state === 'skipped') {
      row.skipped += 1
      continue
    }
    const { cases = 1, notes = [] } = test.meta()
    row.cases += cases
    row.notes.push(...notes)
    if (state === 'failed') row.failures += 1
  }
}

/** The rows with their sum; a suite without a case is a suite that did not run. */
function table(rows: readonly Row[]): string {
  const total = {
    ...emptyRow('total'),
    cases: rows.reduce((sum, { cases }) => sum + cases, 0),
    failures: rows.reduce((sum, { failures }) => sum + failures, 0),
    skipped: rows.reduce((sum, { skipped }) => sum + skipped, 0),
  }
  const cells = [
    ['suite', 'cases', 'failures', 'notes'],
    ...[...rows, total].map(({ suite, cases, failures, skipped, notes }) => [
      suite,
      cases.toLocaleString('en-US'),
      String(failures),
      [...notes, ...(skipped === 0 ? [] : [`${skipped} skipped`])].join('; '),
    ]),
  ]
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const lines = cells.map(([suite = '', count = '', failures = '', notes = '']) =>
    [suite.padEnd(widths[0] ?? 0), count.padStart(widths[1] ?? 0), failures.padStart(widths[2] ?? 0), notes]
      .join('  ')
      .trimEnd(),
  )
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  return [lines[0], rule, ...lines.slice(1, -1), rule, lines.at(-1)].join('\n')
}

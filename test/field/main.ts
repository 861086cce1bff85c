import { writeFile } from 'node:fs/promises'
import { runSuites } from './suites.ts'
import { Missing, type Prepared, THINGS, type Thing } from './things.ts'

const USAGE = `npm run test:field -- [--all] [--json=<file>] [word…]

Runs the tests beside the real things of the field and prints one table: thing, version, suites, passed, failed. What this
machine can't have is skipped with a word. Words pick the things whose names hold them.
  --all           every suite on every thing; without it a part, that takes some minutes
  --json=<file>   also writes {"passed","failed"} there

${THINGS.map(({ name, suites }) => `  ${name.padEnd(24)} ${suites.join(', ')}`).join('\n')}
`

interface Row {
  readonly thing: string
  readonly version: string
  readonly suites: string
  readonly passed: number
  readonly failed: number
  readonly seconds: number
  /** Why it was skipped. */
  readonly skipped?: string
}

async function run(thing: Thing, all: boolean): Promise<Row> {
  const began = performance.now()
  const suites = all ? thing.allSuites : thing.suites
  const row = {
    thing: thing.name,
    version: '',
    suites: suites.map(shortName).join(' '),
    passed: 0,
    failed: 0,
  }
  const seconds = () => Math.round((performance.now() - began) / 1000)
  if (suites.length === 0) return { ...row, seconds: 0, skipped: 'npm test runs beside it' }
  let prepared: Prepared
  try {
    prepared = await thing.prepare()
  } catch (error) {
    const { message } = error as Error
    if (error instanceof Missing) return { ...row, seconds: seconds(), skipped: message }
    console.error(`${thing.name}: ${message}`)
    return { ...row, failed: 1, seconds: seconds() }
  }
  const { version, environment = {}, node } = prepared
  try {
    const { passed, failed, failures, output } = await runSuites({
      suites,
      environment,
      node,
      pattern: thing.pattern,
    })
    if (failed > 0)
      console.error(
        `${output}\n\n${thing.name} ${version}:\n${failures.map((name) => `  ✗ ${name}`).join('\n')}\n`,
      )
    return { ...row, version, passed, failed, seconds: seconds() }
  } finally {
    await prepared.close?.()
  }
}

const shortName = (suite: string) => suite.replace(/^test\//, '').replace(/\.test\.ts$/, '')

function table(rows: readonly Row[]): string {
  const cells = [
    ['thing', 'version', 'passed', 'failed', 'seconds', 'suites'],
    ...rows.map(({ thing, version, suites, passed, failed, seconds, skipped }) =>
      skipped === undefined
        ? [thing, version, String(passed), String(failed), String(seconds), suites]
        : [thing, '–', '–', '–', '–', `skipped: ${skipped}`],
    ),
  ]
  const widths = [0, 1, 2, 3, 4, 5].map((i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)))
  return cells
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

async function main(words: readonly string[]): Promise<number> {
  const flags = words.filter((word) => word.startsWith('--'))
  const picked = words.filter((word) => !word.startsWith('--')).map((word) => word.toLowerCase())
  const json = flags.find((flag) => flag.startsWith('--json='))?.slice('--json='.length)
  const things = THINGS.filter(
    ({ name }) => picked.length === 0 || picked.some((word) => name.toLowerCase().includes(word)),
  )
  if (things.length === 0 || flags.some((flag) => flag !== '--all' && !flag.startsWith('--json='))) {
    console.error(USAGE)
    return 2
  }
  const rows: Row[] = []
  for (const thing of things) {
    const row = await run(thing, flags.includes('--all'))
    rows.push(row)
    console.error(
      row.skipped === undefined
        ? `${row.thing} ${row.version}: ${row.passed} passed, ${row.failed} failed in ${row.seconds} s`
        : `${row.thing}: skipped: ${row.skipped}`,
    )
  }
  const sum = (key: 'passed' | 'failed') => rows.reduce((total, row) => total + row[key], 0)
  const counts = { passed: sum('passed'), failed: sum('failed') }
  const ran = rows.filter(({ skipped }) => skipped === undefined).length
  console.log(
    `\n${table(rows)}\n\n${counts.passed} tests passed beside ${ran} things, ${counts.failed} failed`,
  )
  if (json !== undefined) await writeFile(json, JSON.stringify(counts))
  return counts.failed > 0 ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))

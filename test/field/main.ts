import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { CURRENT, type FieldPostgres, startPostgres } from './postgres.ts'
import { testFilesOf } from './server-tests.ts'
import { runSuites } from './suites.ts'
import { Missing, type Prepared, THINGS, type Thing } from './things.ts'

const USAGE = `npm run test:field -- [--all] [--json=<file>] [word…]

Runs the tests beside the real things of the field and prints one table: thing, version, suites, passed, failed. What this
machine can't have is skipped with a word. Words pick the things whose names hold them.
  --all           every suite on every thing; without it a part, that takes some minutes
  --abreast=<n>   how many things at a time; 3, of which most wait for a clock
  --json=<file>   also writes {"passed","failed"} there

${THINGS.map(({ name, suites }) => `  ${name.padEnd(24)} ${suites.join(', ')}`).join('\n')}
`

/** What takes longest comes first, so that nothing long is left for the end. */
const LONGEST = [
  ...['Postgres 14', 'Node 26', 'the prover', 'Firefox', 'WebKit', 'client package', 'Chromium'],
  ...['PgBouncer, transaction mode', 'image', 'generated clients', 'beside a database'],
]

/** One for all things that want no other, which would each have to make its own; started for the first of them. */
class SharedServer {
  #started: Promise<FieldPostgres> | undefined

  async url(): Promise<string> {
    this.#started ??= startPostgres(CURRENT)
    return (await this.#started).url
  }

  async stop(): Promise<void> {
    await (await this.#started)?.stop()
  }
}

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

interface Options {
  readonly all: boolean
  readonly abreast: number
  readonly server: SharedServer
}

async function run(thing: Thing, { all, abreast, server }: Options): Promise<Row> {
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
    // With all suites some would meet their own doubles there.
    const shared = all || 'TEST_DATABASE_URL' in environment ? {} : { TEST_DATABASE_URL: await server.url() }
    const { takes } = thing
    const { passed, failed, failures, output } = await runSuites({
      suites: all || takes === undefined ? suites : testFilesOf(suites).filter(takes),
      environment: { ...shared, ...environment },
      node,
      pattern: thing.pattern,
      // Things beside each other keep the cores busy; one alone has them for itself.
      workers: abreast > 1 ? 1 : 2,
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

/** So many at a time, those that take longest first; the rows in the order of the things. */
async function runAll(things: readonly Thing[], all: boolean, abreast: number): Promise<Row[]> {
  const rank = ({ name }: Thing) => (LONGEST.includes(name) ? LONGEST.indexOf(name) : LONGEST.length)
  const waiting = things.toSorted((a, b) => rank(a) - rank(b))
  const rows = new Map<Thing, Row>()
  const server = new SharedServer()
  const work = async () => {
    for (let thing = waiting.shift(); thing !== undefined; thing = waiting.shift()) {
      const row = await run(thing, { all, abreast, server })
      rows.set(thing, row)
      console.error(
        row.skipped === undefined
          ? `${row.thing} ${row.version}: ${row.passed} passed, ${row.failed} failed in ${row.seconds} s`
          : `${row.thing}: skipped: ${row.skipped}`,
      )
    }
  }
  try {
    await Promise.all(Array.from({ length: abreast }, work))
  } finally {
    await server.stop()
  }
  return things.flatMap((thing) => rows.get(thing) ?? [])
}

async function main(words: readonly string[]): Promise<number> {
  const parsed = parse(words)
  if (typeof parsed === 'string') {
    console.error(`${parsed}\n\n${USAGE}`)
    return 2
  }
  const { values, positionals } = parsed
  const picked = positionals.map((word) => word.toLowerCase())
  const things = THINGS.filter(
    ({ name }) => picked.length === 0 || picked.some((word) => name.toLowerCase().includes(word)),
  )
  const abreast = Math.min(Number(values.abreast), things.length)
  if (!(abreast >= 1)) {
    console.error(USAGE)
    return 2
  }
  const rows = await runAll(things, values.all, abreast)
  const sum = (key: 'passed' | 'failed') => rows.reduce((total, row) => total + row[key], 0)
  const counts = { passed: sum('passed'), failed: sum('failed') }
  const ran = rows.filter(({ skipped }) => skipped === undefined).length
  console.log(
    `\n${table(rows)}\n\n${counts.passed} tests passed beside ${ran} things, ${counts.failed} failed`,
  )
  if (values.json !== undefined) await writeFile(values.json, JSON.stringify(counts))
  return counts.failed > 0 ? 1 : 0
}

/** The words; or what is wrong with them. */
function parse(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        all: { type: 'boolean', default: false },
        abreast: { type: 'string', default: '3' },
        json: { type: 'string' },
      },
    })
  } catch (error) {
    return (error as Error).message
  }
}

process.exitCode = await main(process.argv.slice(2))

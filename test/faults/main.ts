import { writeFile } from 'node:fs/promises'
import { clearLeftovers } from '../support/leftovers.ts'
import { figuresPage } from './figures.ts'
import { Progress } from './progress.ts'
import type { Scenario } from './prover/scenario.ts'
import { report } from './report.ts'
import { type Outcome, Runner } from './run.ts'
import { SCENARIOS } from './scenarios/index.ts'

const USAGE = `npm run test:faults -- [scenario…] [--quick] [--no-planted] [--minutes=<n>] [--report=<file>]

Runs the named scenarios, or all, each once as it is and once with a bug planted that must be found.
  --quick       a smaller crowd and fewer repetitions; all of the quick half where none is named
  --no-planted  leave the planted bugs out
  --minutes     how long random-cuts goes on; 2 where it isn't said, 20 for a third of an hour
  --report      also write the figures to a file, as docs/reliability-figures.md was

${SCENARIOS.map(({ name, promise }) => `  ${name.padEnd(24)} ${promise}`).join('\n')}
`

const REPORT = '--report='
const MINUTES = '--minutes='

interface Options {
  readonly scenarios: readonly Scenario[]
  readonly quick: boolean
  readonly planted: boolean
  readonly report: string | undefined
}

function parse(words: readonly string[]): Options | undefined {
  const quick = words.includes('--quick')
  const names = words.filter((word) => !word.startsWith('--'))
  const flags = words.filter((word) => word.startsWith('--'))
  const known = new Map(SCENARIOS.map((scenario) => [scenario.name, scenario]))
  const report = flags.find((flag) => flag.startsWith(REPORT))?.slice(REPORT.length)
  if (report === '') return undefined
  const minutes = flags.find((flag) => flag.startsWith(MINUTES))?.slice(MINUTES.length)
  if (minutes !== undefined) {
    if (!(Number(minutes) > 0)) return undefined
    process.env.GLIMPSE_FAULT_MINUTES = minutes
  }
  const isKnown = (flag: string) =>
    ['--quick', '--no-planted'].includes(flag) || [REPORT, MINUTES].some((start) => flag.startsWith(start))
  if (!flags.every(isKnown)) return undefined
  if (names.some((name) => !known.has(name))) return undefined
  const all = SCENARIOS.filter((scenario) => !quick || scenario.quick)
  return {
    scenarios: names.length === 0 ? all : SCENARIOS.filter(({ name }) => names.includes(name)),
    quick,
    planted: !flags.includes('--no-planted'),
    report,
  }
}

async function main({ scenarios, quick, planted, report: file }: Options): Promise<boolean> {
  await clearLeftovers()
  const startedAt = performance.now()
  const progress = new Progress()
  const runner = await Runner.create({ quick, progress: (text) => progress.show(text) })
  const stop = async () => {
    await runner.close()
    process.exit(130)
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const outcomes: Outcome[] = []
  let postgres = ''
  try {
    postgres = await runner.postgresVersion()
    for (const scenario of scenarios) {
      outcomes.push(await runner.prove(scenario))
      if (planted) outcomes.push(await runner.proveChecker(scenario))
    }
  } finally {
    progress.clear()
    await runner.close()
  }
  console.log(report(outcomes))
  if (file !== undefined) {
    const seconds = (performance.now() - startedAt) / 1000
    const words = process.argv.slice(2)
    await writeFile(file, figuresPage({ outcomes, words, endedAt: new Date(), seconds, postgres }))
  }
  return outcomes.every(({ ok }) => ok)
}

const options = parse(process.argv.slice(2))
if (options === undefined) {
  console.error(USAGE)
  process.exitCode = 2
} else {
  process.exitCode = (await main(options)) ? 0 : 1
}

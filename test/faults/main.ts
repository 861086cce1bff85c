import { clearLeftovers } from '../support/leftovers.ts'
import { Progress } from './progress.ts'
import type { Scenario } from './prover/scenario.ts'
import { report } from './report.ts'
import { type Outcome, Runner } from './run.ts'
import { SCENARIOS } from './scenarios/index.ts'

const USAGE = `npm run test:faults -- [scenario…] [--quick] [--no-planted]

Runs the named scenarios, or all, each once as it is and once with a bug planted that must be found.
  --quick       a smaller crowd and fewer repetitions; all of the quick half where none is named
  --no-planted  leave the planted bugs out

${SCENARIOS.map(({ name, promise }) => `  ${name.padEnd(24)} ${promise}`).join('\n')}
`

interface Options {
  readonly scenarios: readonly Scenario[]
  readonly quick: boolean
  readonly planted: boolean
}

function parse(words: readonly string[]): Options | undefined {
  const quick = words.includes('--quick')
  const names = words.filter((word) => !word.startsWith('--'))
  const flags = words.filter((word) => word.startsWith('--'))
  const known = new Map(SCENARIOS.map((scenario) => [scenario.name, scenario]))
  if (flags.some((flag) => flag !== '--quick' && flag !== '--no-planted')) return undefined
  if (names.some((name) => !known.has(name))) return undefined
  const all = SCENARIOS.filter((scenario) => !quick || scenario.quick)
  return {
    scenarios: names.length === 0 ? all : SCENARIOS.filter(({ name }) => names.includes(name)),
    quick,
    planted: !flags.includes('--no-planted'),
  }
}

async function main({ scenarios, quick, planted }: Options): Promise<boolean> {
  await clearLeftovers()
  const progress = new Progress()
  const runner = await Runner.create({ quick, progress: (text) => progress.show(text) })
  const stop = async () => {
    await runner.close()
    process.exit(130)
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const outcomes: Outcome[] = []
  try {
    for (const scenario of scenarios) {
      outcomes.push(await runner.prove(scenario))
      if (planted) outcomes.push(await runner.proveChecker(scenario))
    }
  } finally {
    progress.clear()
    await runner.close()
  }
  console.log(report(outcomes))
  return outcomes.every(({ ok }) => ok)
}

const options = parse(process.argv.slice(2))
if (options === undefined) {
  console.error(USAGE)
  process.exitCode = 2
} else {
  process.exitCode = (await main(options)) ? 0 : 1
}

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Scenario } from './prover/scenario.ts'
import { complaint } from './report.ts'
import { type Outcome, Runner } from './run.ts'
import { SCENARIOS } from './scenarios/index.ts'

const TIMEOUT_MS = 120_000

let runner: Runner
beforeAll(async () => {
  runner = await Runner.create({ quick: true, progress: () => {} })
}, TIMEOUT_MS)
afterAll(() => runner?.close(), TIMEOUT_MS)

function expectOk(outcome: Outcome): void {
  expect(outcome.ok, complaint(outcome).join('\n')).toBe(true)
}

const quick = SCENARIOS.filter((scenario) => scenario.quick)
/** Each bug is to be found once here; `npm run test:faults` plants it in every scenario. */
const kindOf = ({ planted }: Scenario) => planted.bug.name.replace(/ \d+$/, '')
const finders = quick.filter(
  (scenario, i) => quick.findIndex((other) => kindOf(other) === kindOf(scenario)) === i,
)

describe.each(quick)('$name', (scenario) => {
  const runs = scenario.skip?.() === undefined
  it.runIf(runs)(
    scenario.promise,
    async () => {
      expectOk(await runner.prove(scenario))
    },
    TIMEOUT_MS,
  )

  if (!finders.includes(scenario)) return
  it.runIf(runs)(
    `is found out with the bug "${scenario.planted.bug.name}"`,
    async () => {
      expectOk(await runner.proveChecker(scenario))
    },
    TIMEOUT_MS,
  )
})

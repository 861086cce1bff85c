import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { copyBuild, withEdits } from '../faults/prover/build.ts'
import type { Edit } from '../faults/prover/plants.ts'
import type { Scenario } from '../faults/prover/scenario.ts'
import { complaint } from '../faults/report.ts'
import { Runner } from '../faults/run.ts'
import { SCENARIOS } from '../faults/scenarios/index.ts'

const TIMEOUT_MS = 240_000

/** Bugs that differ only in a number are of one kind. */
const kindOf = ({ planted }: Scenario) => planted.bug.name.replace(/ \d+$/, '')
/** The first scenario for each kind of bug. */
const firstOfKind = (scenarios: readonly Scenario[]) => [
  ...new Map(scenarios.toReversed().map((scenario) => [kindOf(scenario), scenario])).values(),
]

let runner: Runner
beforeAll(async () => {
  // The last test checks the types of them all.
  runner = await Runner.create({ quick: true, checked: false, progress: () => {} })
}, TIMEOUT_MS)
afterAll(() => runner?.close(), TIMEOUT_MS)

// `npm run test:faults` plants each in every scenario.
describe.each(firstOfKind(SCENARIOS.filter(({ quick }) => quick)))('$name', (scenario) => {
  it(`finds the bug "${scenario.planted.bug.name}"`, { timeout: TIMEOUT_MS }, async ({ skip }) => {
    skip(scenario.skip?.() !== undefined, scenario.skip?.())
    const outcome = await runner.proveChecker(scenario)
    expect(outcome.ok, complaint(outcome).join('\n')).toBe(true)
  })
})

it('every planted bug compiles, so that it is found for what it does', { timeout: TIMEOUT_MS }, async () => {
  // Bugs in different places are compiled together: a copy has as many as fit.
  const copies: Edit[][] = []
  const bugs = firstOfKind(SCENARIOS).map(({ planted }) => planted.bug.edits)
  for (const edits of bugs) {
    for (const [i, copy] of [...copies, []].entries()) {
      const together = [...new Set([...copy, ...edits])]
      const fits = await withEdits(together).then(
        () => true,
        () => false,
      )
      if (!fits) continue
      copies[i] = together
      break
    }
  }
  expect(new Set(copies.flat())).toEqual(new Set(bugs.flat()))
  for (const edits of copies) await (await copyBuild(edits)).remove()
})

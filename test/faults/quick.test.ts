import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { complaint } from './report.ts'
import { Runner } from './run.ts'
import { SCENARIOS } from './scenarios/index.ts'

const TIMEOUT_MS = 240_000

let runner: Runner
beforeAll(async () => {
  runner = await Runner.create({ quick: true, progress: () => {} })
}, TIMEOUT_MS)
afterAll(() => runner?.close(), TIMEOUT_MS)

// Each takes seconds of real time: `npm test` runs one, `npm run test:field` the others of the quick half.
const inField = process.env.GLIMPSE_FIELD !== undefined
const scenarios = SCENARIOS.filter(({ quick, name }) => quick && inField === (name !== 'baseline'))

describe.each(scenarios)('$name', (scenario) => {
  it(scenario.promise, { timeout: TIMEOUT_MS }, async ({ skip }) => {
    skip(scenario.skip?.() !== undefined, scenario.skip?.())
    const outcome = await runner.prove(scenario)
    expect(outcome.ok, complaint(outcome).join('\n')).toBe(true)
  })
})

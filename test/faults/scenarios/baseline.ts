import { setTimeout as sleep } from 'node:timers/promises'
import { losesOneIn } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'baseline',
  promise: 'without a fault, everything arrives once and in order',
  quick: true,
  planted: { bug: losesOneIn(200), foundIn: 'lost' },
  async run(bench) {
    await sleep(bench.brief ? 3000 : 15_000)
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

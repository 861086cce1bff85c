import { withoutPostgres } from '../prover/outage.ts'
import { writesBehind } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'kill-postgres',
  promise:
    'the postmaster is killed (-9): 503 meanwhile, streams stay open, all live 5 s after it accepts again',
  quick: true,
  planted: { bug: writesBehind, foundIn: 'lost' },
  async run(bench) {
    await bench.repeat(10, 1, () => withoutPostgres(bench, () => bench.postgres.kill()))
    bench.must(bench.crowd.ends === 0, 'streams stay open')
  },
}

import { withoutPostgres } from '../prover/outage.ts'
import { writesBehind } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'restart-postgres',
  promise:
    'Postgres is restarted, fast and immediate: 503 meanwhile, streams stay open, all live 5 s after it accepts',
  quick: false,
  planted: { bug: writesBehind, foundIn: 'lost' },
  async run(bench) {
    await bench.repeat(10, 2, (nth) =>
      withoutPostgres(bench, () => bench.postgres.stop(nth % 2 === 0 ? 'fast' : 'immediate')),
    )
    bench.must(bench.crowd.ends === 0, 'streams stay open')
  },
}

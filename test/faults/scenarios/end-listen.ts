import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../prover/crowd.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'end-listen',
  promise: 'the LISTEN sessions are ended by pg_terminate_backend: replaced in 5 s, nothing is lost',
  quick: true,
  allowed: { lagMs: 5000 },
  planted: { bug: believesNotify, foundIn: 'lost' },
  async run(bench) {
    await bench.repeat(20, 3, async () => {
      const ended = await bench.sql<{ pid: number }[]>`
        with listening as materialized (
          select pid from pg_stat_activity
           where datname = current_database() and application_name = 'glimpse-listen'
        )
        select pid, pg_terminate_backend(pid) from listening`
      // Something has to happen while nobody listens.
      bench.http.burst(40)
      bench.must(ended.length === bench.instances.length, 'every instance has one LISTEN session')
      const pids = ended.map(({ pid }) => pid)
      const replaced = async () => {
        const [now] = await bench.sql<{ count: number }[]>`
          select count(*)::int as count from pg_stat_activity
           where datname = current_database() and application_name = 'glimpse-listen' and pid <> all(${pids})`
        return now?.count === bench.instances.length
      }
      await bench.within(5000, 'every instance listens again', (ms) => until(ms, replaced))
      await bench.within(5000, 'every instance is then ready', (ms) => bench.untilReady(ms))
      await sleep(300)
    })
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

import { readReplaced, untilReplaced } from '../prover/noticing.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'stopped-listen',
  promise: "a LISTEN session's backend is stopped (SIGSTOP): noticed and replaced in 5 s, nothing is lost",
  quick: false,
  allowed: { lagMs: 5000 },
  planted: { bug: believesNotify, foundIn: 'lost' },
  async run(bench) {
    await bench.repeat(10, 1, async (nth) => {
      const before = await readReplaced(bench)
      const backends = await bench.sql<{ pid: number }[]>`
        select pid from pg_stat_activity
         where datname = current_database() and application_name = 'glimpse-listen'`
      const pid = backends[nth % backends.length]?.pid
      if (pid === undefined) throw new Error('nobody listens')
      process.kill(pid, 'SIGSTOP')
      try {
        await bench.within(5000, 'a stopped LISTEN is noticed', (ms) => untilReplaced(bench, before, 1, ms))
        await bench.within(2000, 'its instance is then ready', (ms) => bench.untilReady(ms))
      } finally {
        // Stopped, it would keep Postgres from stopping.
        process.kill(pid, 'SIGCONT')
      }
    })
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

import { setTimeout as sleep } from 'node:timers/promises'
import { writesBehind } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'kill-instance',
  promise: 'an instance is killed with batches in flight: clients resume elsewhere in 3 s, nothing is lost',
  quick: true,
  planted: { bug: writesBehind, foundIn: 'lost' },
  async run(bench) {
    await bench.repeat(20, 2, async (nth) => {
      const victim = bench.instance(nth)
      bench.http.burst(150)
      // Requests on their way, statement in flight, answers on their way: each kill falls somewhere else.
      await sleep(Math.random() * 40)
      await victim.end('SIGKILL')
      await bench.within(3000, 'everybody is live after a SIGKILL', (ms) => bench.crowd.untilLive(ms))
      await victim.start()
    })
  },
}

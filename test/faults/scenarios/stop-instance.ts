import { setTimeout as sleep } from 'node:timers/promises'
import { resumesOneLate } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const WINDOW_MS = 100
/** Fewer than this say nothing about how they are spread. */
const CROWD = 20

export const scenario: Scenario = {
  name: 'stop-instance',
  promise:
    'an instance is stopped by SIGTERM under load: exit 0 in the drain time, reconnects spread, nothing lost',
  quick: true,
  planted: { bug: resumesOneLate, foundIn: 'lost' },
  async run(bench) {
    const drainMs = Number(bench.setup.environment.DRAIN_TIMEOUT_MS)
    await bench.repeat(20, 2, async (nth) => {
      const victim = bench.instance(nth)
      const since = performance.now()
      const exit = await victim.end('SIGTERM')
      bench.must(exit.code === 0, `SIGTERM ends with exit code 0, not ${exit.signal ?? exit.code}`)
      bench.must(exit.afterMs <= drainMs, `SIGTERM ends within ${drainMs} ms, not ${exit.afterMs}`)
      bench.must(await bench.crowd.untilLive(3000), 'after a SIGTERM everybody is live again within 3 s')
      await sleep(100)
      const share = densestWindow(bench.crowd.opensSince(since))
      bench.must(share <= 0.5, `at most half of the reconnects fall into ${WINDOW_MS} ms, not ${share}`)
      await victim.start()
    })
  },
}

/** The share of all reconnects that fall into the fullest 100 ms; 0 where they are too few to tell. */
function densestWindow(times: readonly number[]): number {
  if (times.length < CROWD) return 0
  let densest = 0
  times.forEach((from, first) => {
    const inside = times.findLastIndex((time) => time < from + WINDOW_MS) - first + 1
    densest = Math.max(densest, inside)
  })
  return densest / times.length
}

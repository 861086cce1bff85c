import { setTimeout as sleep } from 'node:timers/promises'
import { resumesOneLate } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const WINDOW_MS = 100
/** Of reconnects that are spread over a second and more; all at once would be 1. */
const MAX_SHARE = 0.4
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
    let densest = 0
    await bench.repeat(20, 2, async (nth) => {
      const victim = bench.instance(nth)
      const since = performance.now()
      const exit = await victim.end('SIGTERM')
      bench.must(exit.code === 0, `SIGTERM ends with exit code 0, not ${exit.signal ?? exit.code}`)
      bench.took(`exit 0 after SIGTERM, DRAIN_TIMEOUT_MS=${drainMs}`, exit.afterMs)
      bench.must(exit.afterMs <= drainMs, `SIGTERM ends within ${drainMs} ms, not ${exit.afterMs}`)
      await bench.within(3000, 'everybody is live after the exit', (ms) => bench.crowd.untilLive(ms))
      await sleep(100)
      densest = Math.max(densest, densestWindow(bench.crowd.opensSince(since)))
      await victim.start()
    })
    const percent = Math.round(densest * 100)
    bench.note(`reconnects are spread: at most ${percent} % of them in the fullest ${WINDOW_MS} ms`)
    if (!bench.brief)
      bench.must(densest <= MAX_SHARE, `reconnects are spread: not ${percent} % of them in ${WINDOW_MS} ms`)
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

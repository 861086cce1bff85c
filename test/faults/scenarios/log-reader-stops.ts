import { setTimeout as sleep } from 'node:timers/promises'
import { waitsForItsReader } from '../prover/plants-machine.ts'
import { lostLines, makeLogLines } from '../prover/refused.ts'
import type { Scenario } from '../prover/scenario.ts'

/** Some 200 bytes each: more than a pipe and what the service keeps of it, 1 MiB, hold. */
const LINES = 10_000

export const scenario: Scenario = {
  name: 'log-reader-stops',
  promise:
    'whoever reads the logs stops reading: what waits is bounded, the rest is counted, and nobody but the log notices',
  quick: false,
  setup: { environment: { LOG_LEVEL: 'trace', MAX_EVENT_LOOP_DELAY_MS: '10000' } },
  planted: { bug: waitsForItsReader, foundIn: 'unkept' },
  async run(bench) {
    const failures = bench.http.failures
    await bench.repeat(3, 1, async () => {
      for (const instance of bench.instances) instance.logRead = false
      try {
        const [victim] = bench.instances
        if (victim === undefined) throw new Error('no instances')
        const before = await lostLines(victim)
        const answered = await makeLogLines(victim, LINES)
        bench.must(answered, 'requests are answered while nobody reads the logs')
        if (!answered) return
        const lost = (await lostLines(victim)) - before
        bench.must(lost > 0, 'lines past the bound are lost and counted')
        bench.note(`${lost} of ${LINES} lines were lost`)
        bench.must(await bench.untilCaughtUp(5000), 'events arrive while nobody reads the logs')
        await sleep(1000)
      } finally {
        for (const instance of bench.instances) instance.logRead = true
      }
      await bench.within(5000, 'every instance is ready', (ms) => bench.untilReady(ms))
    })
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
    bench.must(bench.http.failures === failures, `${bench.http.failures - failures} writes failed`)
  },
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import type { Instance } from '../prover/instance.ts'
import { takesWhateverTheDelay } from '../prover/plants-machine.ts'
import type { Scenario } from '../prover/scenario.ts'

const STOPPED_MS = 600
const RUNNING_MS = 60

export const scenario: Scenario = {
  name: 'late-loop',
  promise:
    'the machine gives an instance a tenth of its time: new work gets 503, health checks and streams are served, and 5 s after it has its time again it takes work',
  quick: false,
  setup: { environment: { MAX_EVENT_LOOP_DELAY_MS: '200' } },
  allowed: { lagMs: 5000 },
  planted: { bug: takesWhateverTheDelay, foundIn: 'unkept' },
  async run(bench) {
    await bench.repeat(5, 1, async (nth) => {
      const victim = bench.instance(nth)
      await whileStarved(victim, () => expectShedding(bench, victim))
      const since = performance.now()
      await bench.within(5000, 'the instance takes writes again', (ms) =>
        until(ms, () =>
          bench.ledger.operations.some(
            ({ number, sentAt, ackedAt }) =>
              ackedAt !== undefined &&
              sentAt > since &&
              number % bench.instances.length === nth % bench.instances.length,
          ),
        ),
      )
      await bench.within(5000, 'every instance is ready', (ms) => bench.untilReady(ms))
    })
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

/** Stops the process for most of the time, as a machine does that has others to run. */
async function whileStarved(victim: Instance, act: () => Promise<void>): Promise<void> {
  let over = false
  const starved = (async () => {
    while (!over) {
      victim.signal('SIGSTOP')
      await sleep(STOPPED_MS)
      victim.signal('SIGCONT')
      await sleep(RUNNING_MS)
    }
  })()
  try {
    await act()
  } finally {
    over = true
    await starved
  }
}

async function expectShedding(bench: Bench, victim: Instance): Promise<void> {
  const shed = async () => (await victim.metric('glimpse_limited_total{limit="event_loop_delay"}')) > 0
  await bench.within(10_000, 'new work is refused', (ms) => until(ms, shed, 200))
  const answer = await fetch(`${victim.url}/livez`)
  await answer.arrayBuffer()
  bench.must(answer.status === 200, `/livez answers ${answer.status}`)
  await bench.within(10_000, 'everybody has everything although the instance is late', (ms) =>
    bench.untilCaughtUp(ms),
  )
}

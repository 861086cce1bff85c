import { until } from '../prover/crowd.ts'
import { readReplaced, untilReplaced } from '../prover/noticing.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'silent-listen',
  promise:
    'the network of LISTEN swallows everything: readiness says so in 5 s, LISTEN is replaced, nothing is lost',
  quick: true,
  setup: { listenProxy: true },
  allowed: { lagMs: 5000 },
  planted: { bug: believesNotify, foundIn: 'lost' },
  async run(bench) {
    const { listenProxy: network } = bench
    if (network === undefined) throw new Error('no proxy')
    await bench.repeat(6, 1, async (nth) => {
      const before = await readReplaced(bench)
      // Silent one way, what the instances say still arrives, and only the answers don't.
      network.blackhole(nth % 2 === 0 ? undefined : 'toClient')
      try {
        const noticed = async () => {
          const ready = await Promise.all(bench.instances.map((instance) => instance.ready()))
          return !ready.includes(true)
        }
        await bench.within(5000, 'no instance calls itself ready', (ms) => until(ms, noticed))
      } finally {
        network.heal()
      }
      bench.must(await untilReplaced(bench, before, bench.instances.length, 1000), 'LISTEN is replaced')
      await bench.within(5000, 'every instance is ready after the network', (ms) => bench.untilReady(ms))
    })
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

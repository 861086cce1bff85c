import { skipsCatchUp } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

export const scenario: Scenario = {
  name: 'rolling-restart',
  promise: 'all instances are restarted one after the other, as in a deployment: nothing is lost',
  quick: false,
  planted: { bug: skipsCatchUp, foundIn: 'lost' },
  async run(bench) {
    await bench.repeat(3, 1, async () => {
      for (const instance of bench.instances) {
        const exit = await instance.end('SIGTERM')
        bench.must(exit.code === 0, `SIGTERM ends with exit code 0, not ${exit.signal ?? exit.code}`)
        bench.took('exit 0 after SIGTERM', exit.afterMs)
        await instance.start()
      }
      await bench.within(3000, 'everybody is live after the last restart', (ms) => bench.crowd.untilLive(ms))
    })
  },
}

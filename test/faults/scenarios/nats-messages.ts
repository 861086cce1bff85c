import { setTimeout as sleep } from 'node:timers/promises'
import { NatsDropper } from '../../support/nats-dropper.ts'
import { NatsStage, relayingInstance, whileReady } from '../prover/nats-stage.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const LAG_MS = 8000

/** An instance stands still, so that NATS cuts it off as a slow consumer where there is enough for it. */
function stoppedInstance(): Scenario {
  const nats = new NatsStage()
  return {
    name: 'nats-slow-consumer',
    promise:
      'an instance stands still (SIGSTOP), the relay among them, until NATS and Postgres have given it up: nothing is lost',
    quick: false,
    // Its clients hear nothing while it stands.
    allowed: { lagMs: LAG_MS + 6000 },
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      await bench.repeat(4, 2, async (nth) => {
        const victim = nth % 2 === 0 ? ((await relayingInstance(bench)) ?? 0) : nth
        const { pid } = bench.instance(victim)
        if (pid === undefined) throw new Error('it does not run')
        process.kill(pid, 'SIGSTOP')
        try {
          await sleep(6000)
        } finally {
          process.kill(pid, 'SIGCONT')
        }
        await bench.within(LAG_MS, 'everybody has everything', (ms) => bench.untilCaughtUp(ms))
        await bench.within(LAG_MS, 'every instance is ready', (ms) => bench.untilReady(ms))
      })
    },
  }
}

/** One message in twenty never comes, canaries and gaps too. */
function dropped(): Scenario {
  const nats = new NatsStage()
  let dropper: NatsDropper | undefined
  return {
    name: 'nats-drops',
    promise: '5 % of the messages never come: each is found in the log, within a sweep and a read',
    quick: false,
    allowed: { lagMs: LAG_MS },
    skip: nats.skip,
    prepare: async (server, database) => {
      const prepared = await nats.prepare(server, database)
      const way = await NatsDropper.start(nats.server.port, 0.05)
      dropper = way
      return {
        environment: { ...prepared.environment, BUS_URL: `nats://127.0.0.1:${way.port}` },
        close: async () => {
          await way.close()
          await prepared.close()
        },
      }
    },
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      await whileReady(bench, () => sleep(bench.brief ? 6000 : 30_000))
      const { passed = 0, dropped = 0 } = dropper ?? {}
      bench.note(`${dropped} of ${passed + dropped} messages were dropped`)
      bench.must(dropped > 0, 'messages were dropped')
      bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
    },
  }
}

export const natsMessageScenarios: readonly Scenario[] = [dropped(), stoppedInstance()]

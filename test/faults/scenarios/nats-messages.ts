import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '@nats-io/transport-node'
import { Subjects } from '../../../src/bus/subjects.ts'
import { NatsDropper } from '../../support/nats-dropper.ts'
import { NatsStage, relayingInstance, untilFallback, whileReady } from '../prover/nats-stage.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const LAG_MS = 8000

/** It has no payload, so that it means nothing to an instance. */
const MESSAGE = 'x'.repeat(1_000_000)
/** More than the 64 MB that a server keeps for one client, and what the kernel holds besides. */
const FLOOD_MESSAGES = 200

/** Sends messages to one instance until the server has cut it off. @returns whether it has */
async function floodUntilCut(nats: NatsStage, instance: string): Promise<boolean> {
  const before = await nats.slowConsumers()
  const cut = async () => (await nats.slowConsumers()) > before
  const connection = await connect({ servers: nats.server.url })
  const subject = new Subjects('glimpse').instance(instance)
  try {
    for (let sent = 0; sent < FLOOD_MESSAGES && !(await cut()); sent++) {
      connection.publish(subject, MESSAGE)
      await connection.flush()
    }
    return await cut()
  } finally {
    await connection.close()
  }
}

/** An instance stands still while there is much for it, so that NATS cuts it off as a slow consumer. */
function stoppedInstance(): Scenario {
  const nats = new NatsStage()
  return {
    name: 'nats-slow-consumer',
    promise:
      'an instance stands still (SIGSTOP), the relay among them, until NATS has cut it off as a slow consumer: nothing is lost',
    quick: false,
    // Its clients hear nothing while it stands.
    allowed: { lagMs: LAG_MS + 6000 },
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      await bench.repeat(4, 2, async (nth) => {
        const victim = nth % 2 === 0 ? ((await relayingInstance(bench)) ?? 0) : nth
        const { pid, name } = bench.instance(victim)
        if (pid === undefined || name === undefined) throw new Error('it does not run')
        process.kill(pid, 'SIGSTOP')
        try {
          const standing = sleep(6000)
          bench.must(await floodUntilCut(nats, name), 'NATS cuts the instance off')
          await standing
        } finally {
          process.kill(pid, 'SIGCONT')
        }
        await bench.within(LAG_MS, 'everybody has everything', (ms) => bench.untilCaughtUp(ms))
        await bench.within(LAG_MS, 'every instance is ready', (ms) => bench.untilReady(ms))
        // One that reads what is left of the connection that was cut can't be cut off again.
        await bench.within(20_000, 'every instance has left LISTEN', (ms) => untilFallback(bench, 0, ms))
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

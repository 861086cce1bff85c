import { setTimeout as sleep } from 'node:timers/promises'
import { NatsStage, untilFallback, whileReady } from '../prover/nats-stage.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

/** A sweep, its read, and a machine that is busy. */
const LAG_MS = 8000
/** To the first late canary, the spread, and LISTEN in force. */
const FALLBACK_MS = 12_000

function restarted(): Scenario {
  const nats = new NatsStage()
  return {
    name: 'nats-restarted',
    promise:
      'the NATS server is killed and comes back at once: nothing is lost, all instances hear of it again',
    quick: false,
    allowed: { lagMs: LAG_MS },
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      await whileReady(bench, () =>
        bench.repeat(5, 1, async () => {
          await nats.server.kill()
          bench.http.burst(40)
          await nats.server.launch()
          await bench.within(LAG_MS, 'everybody has everything', (ms) => bench.untilCaughtUp(ms))
          await sleep(500)
        }),
      )
      bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
    },
  }
}

/** The server is gone, or stands still, for a while. */
function away(how: 'killed' | 'stopped'): Scenario {
  const nats = new NatsStage()
  return {
    name: how === 'killed' ? 'nats-away' : 'nats-stopped',
    promise:
      how === 'killed'
        ? 'NATS is away for 15 s: LISTEN takes over, no instance is unready because of it, nothing is lost; NATS takes it back'
        : 'the NATS server is stopped (SIGSTOP) for 15 s: noticed as if it were gone, nothing is lost',
    quick: false,
    allowed: { lagMs: LAG_MS },
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      const { length } = bench.instances
      await whileReady(bench, () =>
        bench.repeat(2, 1, async () => {
          const until = performance.now() + (bench.brief ? 12_000 : 15_000)
          if (how === 'killed') await nats.server.kill()
          else nats.server.signal('SIGSTOP')
          try {
            bench.http.burst(40)
            await bench.within(FALLBACK_MS, 'every instance listens to Postgres', (ms) =>
              untilFallback(bench, length, ms),
            )
            await bench.within(LAG_MS, 'everybody has everything meanwhile', (ms) => bench.untilCaughtUp(ms))
            await sleep(Math.max(0, until - performance.now()))
          } finally {
            if (how === 'killed') await nats.server.launch()
            else nats.server.signal('SIGCONT')
          }
          await bench.within(20_000, 'every instance has left LISTEN', (ms) => untilFallback(bench, 0, ms))
        }),
      )
      bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
    },
  }
}

function bothRestarted(): Scenario {
  const nats = new NatsStage()
  return {
    name: 'nats-and-postgres',
    promise: 'NATS and Postgres are restarted together: both are found again, nothing acknowledged is lost',
    quick: false,
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      await bench.repeat(3, 1, async () => {
        await Promise.all([nats.server.kill(), bench.postgres.stop()])
        await Promise.all([nats.server.launch(), bench.postgres.start()])
        await bench.clearErrors()
        await bench.within(20_000, 'every instance is ready', (ms) => bench.untilReady(ms))
        await bench.within(LAG_MS, 'everybody has everything', (ms) => bench.untilCaughtUp(ms))
      })
      bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
    },
  }
}

function cluster(): Scenario {
  const nats = new NatsStage({ servers: 3 })
  return {
    name: 'nats-cluster',
    promise:
      'each of three NATS servers is lost in turn: the others take over, LISTEN is not needed, nothing is lost',
    quick: false,
    allowed: { lagMs: LAG_MS },
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      await whileReady(bench, () =>
        bench.repeat(6, 3, async (nth) => {
          const server = nats.servers[nth % nats.servers.length]
          await server?.kill()
          bench.http.burst(40)
          await bench.within(LAG_MS, 'everybody has everything', (ms) => bench.untilCaughtUp(ms))
          await server?.launch()
          await sleep(1000)
        }),
      )
      bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
    },
  }
}

export const natsServerScenarios: readonly Scenario[] = [
  restarted(),
  away('killed'),
  away('stopped'),
  cluster(),
  bothRestarted(),
]

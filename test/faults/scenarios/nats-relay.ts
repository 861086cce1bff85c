import { setTimeout as sleep } from 'node:timers/promises'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { NatsStage, RelayProcess, whileReady } from '../prover/nats-stage.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const LAG_MS = 8000

/** Two relays in processes of their own, of which one works; each reaches Postgres and NATS by proxies of its own. */
class Relays {
  readonly #bench: Bench
  readonly #nats: NatsStage
  readonly all: { readonly process: RelayProcess; readonly ways: readonly TcpProxy[] }[] = []

  constructor(bench: Bench, nats: NatsStage) {
    this.#bench = bench
    this.#nats = nats
  }

  async start(): Promise<void> {
    const { database } = this.#bench
    const ways = await Promise.all([TcpProxy.before(database.url), TcpProxy.before(this.#nats.server.url)])
    const [postgres, nats] = ways
    const process = new RelayProcess(this.#bench, {
      DATABASE_URL: postgres.urlFor(database.url),
      BUS_URL: nats.urlFor(this.#nats.server.url),
    })
    this.all.push({ process, ways })
  }

  get working() {
    return this.all.find(({ process }) => process.relaying)
  }

  get elections(): number {
    return this.all.reduce((sum, { process }) => sum + process.elections, 0)
  }

  untilElected(elections: number, timeoutMs: number): Promise<boolean> {
    return until(timeoutMs, () => this.elections > elections)
  }

  async remove(relay: (typeof this.all)[number]): Promise<void> {
    this.all.splice(this.all.indexOf(relay), 1)
    relay.process.signal('SIGCONT')
    await relay.process.end('SIGKILL')
    await Promise.all(relay.ways.map((way) => way.close()))
  }

  async close(): Promise<void> {
    for (const relay of [...this.all]) await this.remove(relay)
  }
}

/** What befalls the relay that works; another takes over within `limitMs`. */
function relayScenario(
  name: string,
  promise: string,
  limitMs: number,
  befall: (relay: Relays['all'][number], bench: Bench) => Promise<unknown> | undefined,
): Scenario {
  const nats = new NatsStage({ environment: { BUS_RELAY: 'off' } })
  return {
    name,
    promise,
    quick: false,
    allowed: { lagMs: LAG_MS + limitMs },
    skip: nats.skip,
    prepare: nats.prepare,
    planted: { bug: believesNotify, foundIn: 'lost' },
    async run(bench) {
      const relays = new Relays(bench, nats)
      try {
        await Promise.all([relays.start(), relays.start()])
        await bench.within(20_000, 'a relay works', (ms) => relays.untilElected(0, ms))
        // The instances came before any relay, and had to listen to Postgres.
        const fallbacks = () => bench.instances.map((each) => each.metric('glimpse_bus_fallback'))
        await bench.within(30_000, 'every instance has left LISTEN', (ms) =>
          until(ms, async () => !(await Promise.all(fallbacks())).includes(1), 100),
        )
        await whileReady(bench, () =>
          bench.repeat(5, 2, async () => {
            const victim = relays.working
            if (victim === undefined) throw new Error('no relay works')
            const { elections } = relays
            await befall(victim, bench)
            bench.http.burst(40)
            await bench.within(limitMs, 'a relay works again', (ms) => relays.untilElected(elections, ms))
            await bench.within(LAG_MS, 'everybody has everything', (ms) => bench.untilCaughtUp(ms))
            await relays.remove(victim)
            await relays.start()
            // On a busy machine a process takes longer to start than a relay to take over.
            await bench.within(30_000, 'another stands by', (ms) =>
              until(ms, () => relays.all.every(({ process }) => process.connected)),
            )
            await sleep(2000)
          }),
        )
        bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
      } finally {
        await relays.close()
      }
    },
  }
}

export const natsRelayScenarios: readonly Scenario[] = [
  relayScenario(
    'relay-killed',
    'the relay is killed (SIGKILL): another takes over in half a second, nothing is lost',
    3000,
    ({ process }) => process.end('SIGKILL'),
  ),
  relayScenario(
    'relay-stopped',
    'the relay is stopped (SIGSTOP): another ends its session and takes over in 3.5 s, nothing is lost',
    8000,
    ({ process }) => {
      process.signal('SIGSTOP')
      return undefined
    },
  ),
  relayScenario(
    'relay-session-ended',
    "the relay's session is ended by pg_terminate_backend: one takes over in half a second, nothing is lost",
    3000,
    (_, bench) => bench.sql`
      select pg_terminate_backend(pid) from pg_locks
       where locktype = 'advisory' and granted and classid::bigint = ${0x676c_696d}::bigint
         and database = (select oid from pg_database where datname = current_database())`,
  ),
  relayScenario(
    'relay-silent',
    "the relay's host falls silent, to Postgres and to NATS: another takes over, nothing is lost",
    10_000,
    ({ ways }) => {
      for (const way of ways) way.blackhole()
      return undefined
    },
  ),
]

import { setTimeout as sleep } from 'node:timers/promises'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { needlessResets, untilToldOfHistory } from '../prover/histories.ts'
import { operationNumber } from '../prover/operations.ts'
import { numbersProve, type Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'
import { Standby } from '../prover/standby.ts'

const believesItsEars: Plant = {
  name: 'the bus is taken to speak of the history that is read',
  edits: [
    {
      file: 'src/hub/subscriber.ts',
      find: 'this.#hub.traffic.pushed += this.#offer(epoch, run, false)',
      put: 'for (const { epoch: read } of this.connections) this.#hub.traffic.pushed += this.#offer(read, run, false)',
    },
    numbersProve,
  ],
}

/** Where DATABASE_URL leads; LISTEN_DATABASE_URL and the SQL writers go straight to the old primary. */
const primary = { host: '127.0.0.1', port: 0 }
let way: TcpProxy | undefined

/** While there were two primaries: what the old one acknowledged then is lost with it. */
const apart = { from: Infinity, to: -Infinity }

export const scenario: Scenario = {
  name: 'unfenced-primary',
  promise:
    'the service writes to a promoted standby while LISTEN stays with the old primary, which goes on: not ready, told once (reset epoch), and never an event of one history under the name of the other',
  quick: false,
  setup: { postgres: { wal_keep_size: '512MB' } },
  allowed: {
    resets: true,
    forgotten: ({ ackedAt = 0 }) => ackedAt >= apart.from && ackedAt <= apart.to,
  },
  async prepare(server, database) {
    primary.port = server.port
    const proxy = await TcpProxy.start(primary)
    way = proxy
    return {
      environment: { DATABASE_URL: proxy.urlFor(database.url), LISTEN_DATABASE_URL: database.url },
      close: () => proxy.close(),
    }
  },
  planted: { bug: believesItsEars, foundIn: 'unkept' },
  async run(bench) {
    const before = await bench.readHeads()
    const standby = await Standby.follow(bench.postgres)
    apart.from = performance.now()
    apart.to = Infinity
    await standby.catchUp()
    await standby.promote()
    primary.port = standby.port
    way?.resetAll()
    const noneReady = await until(5000, async () => {
      const ready = await Promise.all(bench.instances.map((instance) => instance.ready()))
      return !ready.includes(true)
    })
    bench.must(noneReady, 'within 5 s no instance calls itself ready')
    bench.must(await untilToldOfHistory(bench, apart.from, 5000), 'within 5 s everybody was told')
    await sleep(6000)

    await bench.postgres.stop('immediate')
    apart.to = performance.now()
    await standby.takeOver()
    primary.port = bench.postgres.port
    await bench.postgres.start()
    bench.must(await bench.untilReady(5000), 'within 5 s of the one primary every instance is ready')
    const needless = needlessResets(bench, apart.from)
    bench.must(needless === 0, `everybody is told once, and of nothing else, not ${needless} times more`)
    await sleep(1000)
    await bench.stopWriting()
    const strange = await strangeEvents(bench, before.epoch)
    bench.must(strange === 0, `no event of the old history comes under the new one's name, not ${strange}`)
  },
}

/** Events that clients got in the new history and that it doesn't have. */
async function strangeEvents(bench: Bench, oldEpoch: string): Promise<number> {
  const rows = await bench.sql<{ body: string }[]>`select body from glimpse.events`
  const stored = new Set(rows.map(({ body }) => operationNumber(JSON.parse(body).data)))
  return bench.crowd.clients
    .flatMap(({ entries }) => entries)
    .filter((entry) => entry.type === 'event' && entry.epoch !== oldEpoch && !stored.has(entry.operation))
    .length
}

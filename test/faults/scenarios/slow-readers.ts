import { setTimeout as sleep } from 'node:timers/promises'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Bench } from '../prover/bench.ts'
import type { Client } from '../prover/client.ts'
import { until } from '../prover/crowd.ts'
import { FLOOD_EVENT_BYTES, Flood } from '../prover/flood.ts'
import type { Instance } from '../prover/instance.ts'
import { deliveryP99, type Span, spanOf, within2x } from '../prover/latency.ts'
import { OUTBOXES_ENVIRONMENT, OutboxWatch } from '../prover/outboxes.ts'
import { holdsAll } from '../prover/plants-load.ts'
import type { Scenario } from '../prover/scenario.ts'

const OUTBOX_BYTES = 65_536
/** An outbox may end up one piece of a run past its bound: 16 KB, the last event of which may begin just before. */
const PIECE_BYTES = 16_384 + 2 * FLOOD_EVENT_BYTES
/** At 1 KB/s a peer's kernel asks for more only once a minute: who reads so slowly must not be taken for stalled here. */
const STALL_MS = 25_000
/** Events a second over all streams of the slow: a trickle, and what fills outbox and kernel, 4 MB a connection. */
const TRICKLE = 50
const TORRENT = 600
const FULL_MS = 60_000
const USERS = ['slow-1', 'slow-2', 'slow-3', 'slow-4', 'slow-5']

export const scenario: Scenario = {
  name: 'slow-readers',
  promise:
    "200 of 400 clients read 1 KB/s, then nothing: the others' p99 within 2x, memory bounded, the slow complete later",
  quick: false,
  setup: {
    clients: { sse: 100, ws: 100, poll: 10 },
    environment: {
      ...OUTBOXES_ENVIRONMENT,
      OUTBOX_MAX_BYTES: String(OUTBOX_BYTES),
      STALL_TIMEOUT_MS: String(STALL_MS),
      MAX_CONNECTIONS_PER_USER: '50',
    },
    settleMs: 60_000,
  },
  planted: { bug: holdsAll, foundIn: 'unkept' },
  async run(bench) {
    const healthy = [...bench.crowd.clients]
    const networks = await Promise.all(bench.instances.map(({ url }) => TcpProxy.before(url)))
    const flood = new Flood(bench.sql, USERS, TRICKLE)
    const outboxes = await OutboxWatch.start(bench.instances)
    let direct = false
    const urls = () => bench.instances.map(({ url }, i) => (direct ? url : (networks[i]?.urlFor(url) ?? url)))
    try {
      bench.progress('alone')
      const alone = await spanOf(() => sleep(bench.brief ? 3000 : 10_000))

      for (const network of networks) network.shape({ bytesPerSecond: 1024 }, 'toClient')
      const slow = await addSlow(bench, urls)
      bench.must(await bench.crowd.untilLive(10_000), 'the slow are connected')

      bench.progress('filling')
      flood.perSecond = TORRENT
      const filling = await spanOf(() => until(FULL_MS, () => outboxes.full >= slow.length))
      bench.must(outboxes.full >= slow.length, `only ${outboxes.full} of ${slow.length} outboxes were full`)
      flood.perSecond = TRICKLE

      bench.progress('1 KB/s')
      const trickling = await spanOf(() => sleep(bench.brief ? 3000 : 8000))
      const ends = slow.reduce(
        (sum, { entries }) => sum + entries.filter(({ type }) => type === 'end').length,
        0,
      )
      bench.must(ends === 0, `who reads slowly keeps the connection, but for ${ends} times`)

      bench.progress('nothing')
      const silent = await untilStalled(bench, networks, slow.length)
      await flood.stop()
      await outboxes.stop()

      tellMemory(bench, outboxes, slow.length)
      const p99 = (span: Span) => Math.round(deliveryP99(bench, span, healthy))
      bench.note(
        `p99 of the ${healthy.length} healthy: alone ${p99(alone)} ms, while outboxes fill ${p99(filling)} ms, ` +
          `then beside 1 KB/s ${p99(trickling)} ms, beside nothing ${p99(silent)} ms`,
      )
      for (const under of bench.brief ? [] : [trickling, silent])
        bench.must(
          within2x(p99(under), p99(alone)),
          `the healthy's p99 went from ${p99(alone)} to ${p99(under)} ms`,
        )

      bench.progress('all read again')
      for (const network of networks) {
        network.shape({})
        network.heal()
      }
      const recovery = await spanOf(() => bench.untilCaughtUp(bench.setup.settleMs))
      bench.note(`the slow were complete ${Math.round((recovery.to - recovery.from) / 1000)} s after`)
    } finally {
      direct = true
      await flood.stop()
      await outboxes.stop()
      await Promise.all(networks.map((network) => network.close()))
      await bench.crowd.untilLive(5000)
    }
  },
}

/** As many as there are healthy streams. A client that gives up on a silent network would end before it is ended. */
async function addSlow(bench: Bench, urls: () => readonly string[]): Promise<Client[]> {
  const traits = { urls, silenceMs: Number.POSITIVE_INFINITY }
  return [
    ...(await bench.crowd.add('sse', bench.setup.clients.sse, USERS, traits)),
    ...(await bench.crowd.add('ws', bench.setup.clients.ws, USERS, traits)),
  ]
}

/** Nothing passes any more, until every slow connection was ended as stalled. */
async function untilStalled(bench: Bench, networks: readonly TcpProxy[], slow: number): Promise<Span> {
  const before = await readStalled(bench.instances)
  for (const network of networks) network.blackhole('toClient')
  let stalled = 0
  const span = await spanOf(() =>
    until(
      1.5 * STALL_MS + 5000,
      async () => {
        stalled = (await readStalled(bench.instances)) - before
        return stalled >= slow
      },
      100,
    ),
  )
  bench.must(stalled >= slow, `only ${stalled} of ${slow} that read nothing were closed as stalled`)
  return span
}

async function readStalled(instances: readonly Instance[]): Promise<number> {
  const counts = await Promise.all(
    instances.flatMap((instance) =>
      ['sse', 'websocket'].map((transport) =>
        instance.metric(`glimpse_connections_closed_total{transport="${transport}",reason="stalled"}`),
      ),
    ),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

function tellMemory(bench: Bench, { worst }: OutboxWatch, slow: number): void {
  const each = Math.ceil(slow / bench.instances.length)
  const bound = OUTBOX_BYTES + PIECE_BYTES
  bench.must(worst.most <= bound, `an outbox held ${worst.most} bytes, more than ${bound}`)
  bench.note(
    `unsent: at most ${kilobytes(worst.most)} kB on one connection, ${kilobytes(worst.all)} kB in all of an instance ` +
      `(OUTBOX_MAX_BYTES x ${each} connections = ${kilobytes(OUTBOX_BYTES * each)} kB); its memory grew by at most ` +
      `${Math.round(worst.grown / 2 ** 20)} MB`,
  )
}

function kilobytes(bytes: number): number {
  return Math.round(bytes / 1024)
}

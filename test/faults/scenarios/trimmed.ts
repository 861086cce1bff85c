import { setTimeout as sleep } from 'node:timers/promises'
import { trimEvents } from '../../../src/store/retention.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Bench } from '../prover/bench.ts'
import type { Client } from '../prover/client.ts'
import { until } from '../prover/crowd.ts'
import { Flood } from '../prover/flood.ts'
import { measureWrites, spanOf, within2x } from '../prover/latency.ts'
import { operationNumber } from '../prover/operations.ts'
import { trimsInSilence } from '../prover/plants-load.ts'
import type { Scenario } from '../prover/scenario.ts'

const HOURS = 168
/** What there is to trim in each stream of somebody long gone. */
const OLD_EVENTS_PER_STREAM = 500
const LAGGARD = 'laggard'
/** Until the kernel's buffers, 4 MB a connection, and the outbox are full. */
const LAG_MS = 6000
/** The discard port: nobody listens. */
const NOWHERE = 'http://127.0.0.1:9'

/** What trimming took, which is then not lost. */
const trimmed = new Set<number>()

export const scenario: Scenario = {
  name: 'trimmed',
  promise:
    'history is trimmed under sleeping and lagging clients: told by stream.reset, complete from there; writers go on',
  quick: false,
  allowed: { resets: true, forgotten: ({ number }) => trimmed.has(number) },
  planted: { bug: trimsInSilence, foundIn: 'lost' },
  async run(bench) {
    trimmed.clear()
    const [author = ''] = bench.authors
    const network = await TcpProxy.before(bench.instance(0).url)
    let asleep = false
    let direct = false
    const sleeping = { urls: () => (asleep ? [NOWHERE] : bench.instances.map(({ url }) => url)) }
    const lagging = {
      urls: () => [direct ? bench.instance(0).url : network.urlFor(bench.instance(0).url)],
      silenceMs: Number.POSITIVE_INFINITY,
    }
    const clients: Client[] = []
    try {
      for (const transport of ['sse', 'ws', 'poll'] as const)
        clients.push(...(await bench.crowd.add(transport, 1, [author], sleeping)))
      const sleepers = [...clients]
      for (const transport of ['sse', 'ws'] as const)
        clients.push(...(await bench.crowd.add(transport, 1, [LAGGARD], lagging)))
      bench.must(await bench.crowd.untilLive(5000), 'all are live at first')

      bench.progress('some sleep, some lag')
      asleep = true
      for (const client of sleepers) client.cut()
      network.shape({ bytesPerSecond: 1024 }, 'toClient')
      const flood = new Flood(bench.sql, [LAGGARD], 1000)
      const calm = await spanOf(() => sleep(LAG_MS))
      await flood.stop()

      bench.progress('trimming')
      const streams = bench.brief ? 100 : 400
      await insertOld(bench, streams)
      await makeOld(bench, [author, LAGGARD])
      let slowestMs = 0
      const during = await spanOf(async () => {
        slowestMs = await trimAll(bench)
        await sleep(2000)
      })
      const others = new Set(bench.authors.slice(1))
      const before = await measureWrites(bench, calm, others)
      const under = await measureWrites(bench, during, others)
      bench.note(
        `${streams * OLD_EVENTS_PER_STREAM} old events trimmed, the longest statement took ${Math.round(slowestMs)} ms; ` +
          `writes p99 ${Math.round(before.p99)} → ${Math.round(under.p99)} ms`,
      )
      bench.must(under.refused === 0, `${under.refused} writes were refused while history was trimmed`)
      if (!bench.brief)
        bench.must(within2x(under.p99, before.p99), `write p99 went from ${before.p99} to ${under.p99} ms`)

      bench.progress('waking')
      asleep = false
      network.shape({})
      await until(8000, () => clients.every((client) => resetOf(client) !== undefined))
      for (const client of clients)
        bench.must(resetOf(client) === 'trimmed', `${client.client} is told that history was trimmed`)
      bench.must(await bench.untilCaughtUp(5000), 'everybody is complete again')
    } finally {
      direct = true
      await network.close()
      await bench.crowd.untilLive(5000)
    }
  },
}

/** Why a client was reset first; undefined where it never was. */
function resetOf({ entries }: Client): string | undefined {
  return entries.find((entry) => entry.type === 'reset')?.reason
}

/** Streams of people who are long gone, as a log has after a week. */
async function insertOld({ sql }: Bench, streams: number): Promise<void> {
  await sql`
    insert into glimpse.streams (user_id, head, oldest_at)
    select 'gone-' || n, ${OLD_EVENTS_PER_STREAM}, now() - make_interval(hours => ${HOURS + 1})
      from generate_series(1, ${streams}) n`
  await sql`
    insert into glimpse.events (user_id, seq, body, logged_at)
    select 'gone-' || n, seq, '{"seq":' || seq || ',"type":"test.old","data":{}}', now() - make_interval(hours => ${HOURS + 1})
      from generate_series(1, ${streams}) n, generate_series(1, ${OLD_EVENTS_PER_STREAM}) seq`
}

/** Makes all that these users have in the log old enough to be trimmed. */
async function makeOld({ sql }: Bench, users: readonly string[]): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`
      update glimpse.streams set oldest_at = now() - make_interval(hours => ${HOURS + 1}) where user_id in ${sql(users)}`
    const rows = await transaction<{ body: string }[]>`
      update glimpse.events set logged_at = now() - make_interval(hours => ${HOURS + 1}) where user_id in ${sql(users)}
      returning body`
    for (const { body } of rows) {
      const number = operationNumber(JSON.parse(body).data)
      if (number !== undefined) trimmed.add(number)
    }
  })
}

/** As the service does, in small statements with pauses between. @returns how long the longest took, ms */
async function trimAll({ sql }: Bench): Promise<number> {
  let slowestMs = 0
  for (;;) {
    const { from, to } = await spanOf(() => trimEvents(sql, HOURS))
    slowestMs = Math.max(slowestMs, to - from)
    const [row] = await sql<{ old: number }[]>`
      select count(*)::int as old from glimpse.streams where oldest_at < now() - make_interval(hours => ${HOURS})`
    if (row?.old === 0) return slowestMs
    await sleep(20)
  }
}

import { measureWrites, spanOf } from '../prover/latency.ts'
import { OUTBOXES_ENVIRONMENT, OutboxWatch } from '../prover/outboxes.ts'
import { losesOneIn } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'
import { SqlWriter } from '../prover/sql-writer.ts'

const VIEWS = 20_000
const ROWS = 100
const REQUESTS_AT_ONCE = 250
const OUTBOX_BYTES = 65_536
/** An outbox may end up one piece of a run past its bound: 32 events, none longer than this on the wire. */
const PIECE_BYTES = 32 * 600
/** What is left of 10,000 requests until it is collected; unsent, the burst would be 10 MB. */
const GROWN_BYTES = 200 * 2 ** 20

export const scenario: Scenario = {
  name: 'viral-author',
  promise:
    '20,000 views of one author in a burst, HTTP and SQL, with 20 more connections open: complete on all, memory bounded',
  quick: true,
  setup: {
    environment: {
      ...OUTBOXES_ENVIRONMENT,
      OUTBOX_MAX_BYTES: String(OUTBOX_BYTES),
      MAX_CONNECTIONS_PER_USER: '40',
    },
  },
  planted: { bug: losesOneIn(1000), foundIn: 'lost' },
  async run(bench) {
    const [viral = ''] = bench.authors
    await bench.crowd.add('sse', 10, [viral])
    await bench.crowd.add('ws', 10, [viral])
    bench.must(await bench.crowd.untilLive(5000), 'all 20 connections open')
    const views = bench.brief ? VIEWS / 4 : VIEWS
    const stories = new Map([[viral, bench.stories.get(viral) ?? '']])
    const sqlWriter = new SqlWriter(bench.database.url, stories, bench.ledger)
    const outboxes = await OutboxWatch.start(bench.instances)

    bench.progress('burst')
    const burst = await spanOf(() =>
      Promise.all([
        inParallel(REQUESTS_AT_ONCE, views / 2, () => bench.http.write(viral, 'view')),
        inParallel(2, views / 2 / ROWS, () => sqlWriter.write(ROWS)),
      ]),
    )
    await sqlWriter.close()
    const caughtUp = await spanOf(async () => {
      bench.must(await bench.untilCaughtUp(10_000), 'all connections have all of it 10 s after the burst')
    })
    await outboxes.stop()
    const writes = await measureWrites(bench, burst, new Set([viral]))
    bench.must(writes.refused === 0, `${writes.refused} views were refused`)
    const { most, all, grown } = outboxes.worst
    bench.must(most <= OUTBOX_BYTES + PIECE_BYTES, `an outbox held ${most} bytes`)
    bench.must(grown <= GROWN_BYTES, `an instance grew by ${grown} bytes`)
    bench.note(
      `${writes.count} views in ${((burst.to - burst.from) / 1000).toFixed(1)} s (write p99 ${Math.round(writes.p99)} ms), ` +
        `everybody had all ${Math.round(caughtUp.to - caughtUp.from)} ms later; unsent at most ` +
        `${Math.round(most / 1024)} kB on one connection, ${Math.round(all / 1024)} kB in an instance, ` +
        `which grew by at most ${Math.round(grown / 2 ** 20)} MB`,
    )
  },
}

async function inParallel(workers: number, times: number, step: () => Promise<unknown>): Promise<void> {
  let left = times
  const work = async () => {
    while (left-- > 0) await step()
  }
  await Promise.all(Array.from({ length: workers }, work))
}

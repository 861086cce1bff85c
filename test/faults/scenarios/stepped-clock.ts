import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type * as Retention from '../../../src/store/retention.ts'
import type { Bench } from '../prover/bench.ts'
import { operationNumber } from '../prover/operations.ts'
import type { Plant } from '../prover/plants.ts'
import { faketimeLibrary } from '../prover/postgres-server.ts'
import type { Scenario } from '../prover/scenario.ts'

const HOUR_S = 3600
/** What trimming took, which is then not lost. */
const trimmed = new Set<number>()

/** What version 0.1 did: whatever is old goes, wherever it stands. */
const trimsByAge: Plant = {
  name: 'rows are trimmed by age',
  edits: [
    {
      file: 'src/store/retention.ts',
      find: 'where e.user_id = k.user_id and e.seq < coalesce(k.seq, k.behind)',
      put: "where e.user_id = k.user_id and e.logged_at < now() - interval '1 hour'",
    },
  ],
}

export const scenario: Scenario = {
  name: 'stepped-clock',
  promise:
    "Postgres' clock is stepped back by two hours and forward again, and history is trimmed: only prefixes go, every stream stays dense, nobody gets an event under another number",
  quick: false,
  setup: { shiftedClock: true },
  skip: () =>
    faketimeLibrary() === undefined ? 'libfaketime is not installed (faketime of Debian)' : undefined,
  allowed: { resets: true, forgotten: ({ number }) => trimmed.has(number) },
  planted: { bug: trimsByAge, foundIn: 'unkept' },
  async run(bench) {
    trimmed.clear()
    await bench.repeat(3, 1, async () => {
      for (const shift of [-2 * HOUR_S, 0, 2 * HOUR_S, 0]) {
        await bench.postgres.setClock(shift)
        await sleep(1500)
      }
    })
    await bench.postgres.setClock(2 * HOUR_S)
    await trim(bench)
    const holed = await holedStreams(bench)
    bench.must(holed.length === 0, `trimming leaves no hole; it did in ${holed.join(', ')}`)
    await sleep(1000)
    await bench.postgres.setClock(0)
  },
}

/** What a retention of an hour leaves by the clock that Postgres has now. */
async function trim({ sql, main }: Bench): Promise<void> {
  const { trimEvents } = (await import(
    new URL('store/retention.js', pathToFileURL(main)).href
  )) as typeof Retention
  const rows = () => sql<{ user_id: string; seq: number; body: string }[]>`
    select user_id, seq::float8 as seq, body from glimpse.events`
  const before = await rows()
  for (;;) {
    const { streams } = await trimEvents(sql, 1)
    if (streams === 0) break
  }
  const left = new Set((await rows()).map(({ user_id, seq }) => `${user_id} ${seq}`))
  for (const { user_id, seq, body } of before) {
    const number = left.has(`${user_id} ${seq}`) ? undefined : operationNumber(JSON.parse(body).data)
    if (number !== undefined) trimmed.add(number)
  }
}

/** Users whose log lacks a number between the oldest that is kept and the head. */
async function holedStreams({ sql }: Bench): Promise<string[]> {
  const rows = await sql<{ user_id: string }[]>`
    select user_id from glimpse.streams s
     where (select count(*) from glimpse.events e where e.user_id = s.user_id) <> s.head - s.oldest + 1`
  return rows.map(({ user_id }) => user_id)
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../prover/bench.ts'
import type { Client } from '../prover/client.ts'
import { until } from '../prover/crowd.ts'
import { operationNumber } from '../prover/operations.ts'
import type { Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

/** What version 0.1 did: the rows of a page are taken for consecutive numbers. */
const numbersByPlace: Plant = {
  name: 'rows are numbered by their place in a page',
  edits: [
    { file: 'src/hub/continuation.ts', find: 'following !== seq + 1', put: 'false' },
    { file: 'src/hub/continuation.ts', find: 'first: following,', put: 'first: seq + 1,' },
    {
      file: 'src/hub/continuation.ts',
      find: "while (seqs[last] === following + last - next && isBodyOf(following + last - next, bodies[last] ?? '')) {",
      put: 'while (last < seqs.length) {',
    },
  ],
}

/** The discard port: nobody listens. */
const NOWHERE = 'http://127.0.0.1:9'

/** What somebody removed by hand. */
const removed = new Set<number>()

export const scenario: Scenario = {
  name: 'holes',
  promise:
    'rows of the log are removed by hand (one, several, the newest, all): who needed them is told by stream.reset (gap), nobody gets an event under another number, streams go on',
  quick: false,
  allowed: { resets: true, forgotten: ({ number }) => removed.has(number) },
  planted: { bug: numbersByPlace, foundIn: 'unkept' },
  async run(bench) {
    removed.clear()
    const kinds = ['one', 'several', 'the newest', 'all'] as const
    const authors = bench.authors.slice(0, kinds.length)
    let asleep = false
    const sleeping = { urls: () => (asleep ? [NOWHERE] : bench.instances.map(({ url }) => url)) }
    const sleepers: Client[] = []
    for (const transport of ['sse', 'ws', 'poll'] as const)
      sleepers.push(...(await bench.crowd.add(transport, authors.length, authors, sleeping)))
    bench.must(await bench.crowd.untilLive(5000), 'all are live at first')

    asleep = true
    for (const client of sleepers) client.cut()
    const { heads: before } = await bench.readHeads()
    await until(10_000, async () => {
      const { heads } = await bench.readHeads()
      return authors.every((author) => (heads.get(author) ?? 0) >= (before.get(author) ?? 0) + 12)
    })
    await bench.stopWriting()
    await sleep(1500)

    bench.progress('rows are removed')
    const { heads } = await bench.readHeads()
    for (const [i, author] of authors.entries()) {
      const head = heads.get(author) ?? 0
      const from = (before.get(author) ?? 0) + 1
      const seqs = {
        one: [from + 3],
        several: [from + 2, from + 3, from + 5],
        'the newest': [head],
        all: Array.from({ length: head }, (_, n) => n + 1),
      }[kinds[i] ?? 'one']
      await remove(bench, author, seqs)
    }
    asleep = false
    const told = await until(10_000, () => sleepers.every((client) => resetOf(client) === 'gap'))
    bench.must(told, `all who slept are told of a gap: ${sleepers.map(resetOf).join(', ')}`)
    bench.startWriting()
    await sleep(2000)
    await bench.stopWriting()
    bench.must(await bench.untilCaughtUp(8000), 'everybody is complete from there on')
  },
}

/** Why a client was reset first; undefined where it never was. */
function resetOf({ entries }: Client): string | undefined {
  return entries.find((entry) => entry.type === 'reset')?.reason
}

async function remove({ sql }: Bench, author: string, seqs: readonly number[]): Promise<void> {
  const rows = await sql<{ body: string }[]>`
    delete from glimpse.events where user_id = ${author} and seq = any (${[...seqs]}::bigint[]) returning body`
  for (const { body } of rows) {
    const number = operationNumber(JSON.parse(body).data)
    if (number !== undefined) removed.add(number)
  }
}

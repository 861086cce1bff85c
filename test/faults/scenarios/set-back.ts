import { cp, rename } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { poll } from '../../support/clients/poll.ts'
import { signToken } from '../../support/token.ts'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { comeBackLate } from '../prover/histories.ts'
import { numbersProve, type Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

/** What version 0.1 did: within an epoch, a number is its event. */
const numbersAlone: Plant = {
  name: 'a cursor proves nothing',
  edits: [
    numbersProve,
    {
      file: 'src/cursor.ts',
      find: 'return check === undefined || check === this.check(time)',
      put: 'return true',
    },
    {
      file: 'src/hub/continuation.ts',
      find: 'if (time !== undefined && known !== undefined && time !== known)',
      put: 'if (false)',
    },
    { file: 'src/hub/subscriber.ts', find: 'time !== end.time)', put: 'false)' },
  ],
}

/** What was acknowledged between the snapshot and the moment it was put back is gone with it. */
const gone = { from: Infinity, to: -Infinity }

export const scenario: Scenario = {
  name: 'set-back',
  promise:
    'a snapshot of the data folder is put back under live clients, and the log goes on differently: who has seen lost events is told, everybody else goes on',
  quick: false,
  // A server of its own, because it is set back.
  setup: { postgres: { max_wal_size: '256MB' } },
  allowed: {
    resets: true,
    forgotten: ({ sentAt, ackedAt = Infinity }) => ackedAt >= gone.from && sentAt <= gone.to,
  },
  planted: { bug: numbersAlone, foundIn: 'unkept' },
  async run(bench) {
    const { postgres: server } = bench
    const folder = server.dataFolder
    await bench.stopWriting()
    bench.must(await bench.untilCaughtUp(5000), 'before, everybody has everything')
    const before = await cursorsOf(bench)

    bench.progress('a snapshot')
    await server.stop()
    await cp(folder, `${folder}-snapshot`, { recursive: true, preserveTimestamps: true })
    await server.start()
    bench.must(await bench.untilReady(10_000), 'ready again after the snapshot')
    gone.from = performance.now()
    bench.startWriting()
    await sleep(bench.brief ? 1500 : 3000)
    await bench.stopWriting()
    bench.must(await bench.untilCaughtUp(8000), 'everybody has what will be lost')
    const lost = await cursorsOf(bench)
    const { heads } = await bench.readHeads()

    bench.progress('put back')
    gone.to = performance.now()
    await server.stop()
    await rename(folder, `${folder}-lost`)
    await rename(`${folder}-snapshot`, folder)
    await server.start()
    const backAt = performance.now()
    // The log goes on before anybody is told, and past the numbers that clients have seen.
    bench.startWriting()
    bench.must(await bench.untilReady(10_000), 'ready again after the snapshot was put back')
    const told = await until(10_000, () => bench.crowd.clients.every(({ entries }) => entries.some(isTold)))
    bench.must(told, 'within a sweep everybody who has seen lost events is told')
    await until(10_000, async () => {
      const now = await bench.readHeads()
      return bench.authors.every((author) => (now.heads.get(author) ?? 0) > (heads.get(author) ?? 0))
    })
    for (const author of bench.authors.slice(0, 5)) {
      for (const wrong of await comeBackLate(bench, author, lost.get(author) ?? '')) bench.must(false, wrong)
      const other = lost.get(bench.authors.at(-1) ?? '') ?? ''
      for (const wrong of await comeBackLate(bench, author, other))
        bench.must(false, `another user's: ${wrong}`)
      const page = await pageAfter(bench, author, before.get(author) ?? '')
      bench.must(
        page.reset === null,
        `${author} resumes a cursor from before the snapshot: ${JSON.stringify(page.reset)}`,
      )
    }

    function isTold(entry: (typeof bench.crowd.clients)[number]['entries'][number]): boolean {
      return (
        entry.type === 'reset' && entry.at >= backAt && (entry.reason === 'epoch' || entry.reason === 'ahead')
      )
    }
  },
}

/** The cursor at the end of each author's stream. */
async function cursorsOf(bench: Bench): Promise<Map<string, string>> {
  const cursors = new Map<string, string>()
  for (const author of bench.authors) {
    const { json } = await poll({ url: bench.instance(0).url, token: await signToken(author) })
    cursors.set(author, json.cursor)
  }
  return cursors
}

async function pageAfter(bench: Bench, author: string, lastEventId: string) {
  const { json } = await poll({ url: bench.instance(0).url, token: await signToken(author), lastEventId })
  return json
}

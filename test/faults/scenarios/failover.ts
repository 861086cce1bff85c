import { setTimeout as sleep } from 'node:timers/promises'
import { comeBackLate, needlessResets, untilToldOfHistory } from '../prover/histories.ts'
import type { Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'
import { Standby } from '../prover/standby.ts'

/** Another timeline of the same cluster looks like the same history. */
const forgetsTimeline: Plant = {
  name: 'the epoch leaves out the timeline',
  edits: [
    {
      file: 'migrations/0008_history.sql',
      find: '    timeline,\n',
      put: '',
    },
  ],
}

/** While the old primary went on by itself: what it acknowledged then is lost with it. */
const alone: { readonly from: number; to: number }[] = []

export const scenario: Scenario = {
  name: 'failover',
  promise:
    'a standby is promoted while the primary still takes writes, which are lost with it: everybody is told (reset epoch) and goes on in the new history',
  quick: false,
  setup: { postgres: { wal_keep_size: '512MB' } },
  allowed: {
    resets: true,
    forgotten: ({ ackedAt = 0 }) => alone.some(({ from, to }) => ackedAt >= from && ackedAt <= to),
  },
  planted: { bug: forgetsTimeline, foundIn: 'unkept' },
  async run(bench) {
    await bench.repeat(3, 1, async () => {
      const standby = await Standby.follow(bench.postgres)
      const [author = ''] = bench.authors
      const { epoch, heads } = await bench.readHeads()
      const split = { from: performance.now(), to: Infinity }
      await standby.catchUp()
      alone.push(split)
      await standby.promote()
      await sleep(500)
      await bench.postgres.stop('immediate')
      split.to = performance.now()
      // One half stays connected, the other comes back with its cursors, some of which the new history has as well.
      bench.crowd.clients.forEach((client, nth) => {
        if (nth % 2 === 0) client.cut()
      })
      await standby.takeOver()
      await bench.postgres.start()

      bench.must(await bench.untilReady(5000), 'within 5 s of the new primary every instance is ready')
      bench.must(await bench.crowd.untilLive(5000), 'within 5 s of the new primary everybody is live')
      const told = await untilToldOfHistory(bench, split.to, 5000)
      bench.must(told, 'within 5 s of the new primary everybody was told of the new history')
      const needless = needlessResets(bench, split.to)
      bench.must(needless === 0, `everybody is told once, and of nothing else, not ${needless} times more`)
      for (const cursor of [`${epoch}.1`, `${epoch}.${heads.get(author)}`])
        for (const wrong of await comeBackLate(bench, author, cursor)) bench.must(false, wrong)
      await sleep(2000)
    })
  },
}

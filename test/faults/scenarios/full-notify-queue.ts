import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

/** More than a sweep's interval. */
const PHASE_MS = 5000

export const scenario: Scenario = {
  name: 'full-notify-queue',
  promise:
    'a stuck session pins the NOTIFY queue until it is full: every write succeeds, the sweep delivers in 5 s',
  quick: true,
  setup: { postgres: { max_notify_queue_pages: '64' } },
  allowed: { lagMs: 5000 },
  planted: { bug: believesNotify, foundIn: 'lost' },
  async run(bench) {
    const stuck = postgres(bench.database.adminUrl, { max: 1, onnotice: () => {} })
    try {
      const session = await stuck.reserve()
      await session`listen somewhere`
      await session`begin`
      await session`select 1`
      if (!bench.brief) {
        bench.progress('the queue is over half full')
        await fillQueue(bench.sql, 0.6)
        await sleep(PHASE_MS)
      }
      bench.progress('the queue is full')
      await fillQueue(bench.sql, 1)
      await sleep(PHASE_MS)
    } finally {
      await stuck.end({ timeout: 0 })
    }
    bench.progress('the stuck session is gone')
    bench.must(
      await untilQueueIsEmpty(bench),
      'the queue is empty 5 s after the session is gone, nobody else asking',
    )
    bench.must(await bench.untilReady(5000), 'every instance is ready 5 s after the session is gone')
    await bench.untilCaughtUp(5000)
    const healedAt = performance.now()
    await sleep(2000)
    const lagMs = median(bench.crowd.lags(bench.ledger.operations, healedAt))
    bench.must(
      lagMs < 500,
      `then NOTIFY brings the events again, not the sweep (median after ${Math.round(lagMs)} ms)`,
    )
    bench.must(bench.http.failures === 0, `every POST succeeds, not all but ${bench.http.failures}`)
    bench.must(bench.sqlWriter.failures === 0, `every INSERT succeeds: ${bench.sqlWriter.lastFailure}`)
  },
}

/** Sends what nobody hears until so much of the queue is taken; 1: until Postgres refuses. */
async function fillQueue(sql: postgres.Sql, share: number): Promise<void> {
  for (let n = 0; ; n++) {
    try {
      const [row] = await sql<{ usage: number }[]>`
        select pg_notify('nowhere', repeat('x', 7900) || ${n}), pg_notification_queue_usage() as usage`
      if (share < 1 && (row?.usage ?? 0) >= share) return
    } catch (error) {
      if ((error as Error).message.includes('too many notifications')) return
      throw error
    }
  }
}

/** By the instances' own metric: asking Postgres ourselves would mend it. */
function untilQueueIsEmpty(bench: Bench): Promise<boolean> {
  return until(5000, async () => {
    const usage = await Promise.all(
      bench.instances.map((instance) => instance.metric('glimpse_notify_queue_usage_ratio')),
    )
    return Math.max(...usage) < 0.1
  })
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.POSITIVE_INFINITY
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { writesBehind } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'
import { SmallDisk, whyNoMount } from '../prover/small-disk.ts'

const DISK_MB = 200

export const scenario: Scenario = {
  name: 'disk-full',
  promise:
    "the database's disk is full, first for its tables, then for its log: 503s only, nothing acknowledged is lost, writes work within 5 s of space",
  quick: false,
  skip: whyNoMount,
  setup: { postgres: { min_wal_size: '32MB', max_wal_size: '64MB' } },
  planted: { bug: writesBehind, foundIn: 'lost' },
  async run(bench) {
    await bench.postgres.stop()
    const disk = await SmallDisk.under(bench.postgres, DISK_MB)
    await bench.postgres.start()
    try {
      bench.must(await bench.untilReady(5000), 'on the small disk every instance is ready')
      await bench.repeat(3, 1, async () => {
        await whileFull(bench, disk, 'tables', async () => {})
        // A full disk under its log makes Postgres give up, and it can't recover before there is space.
        await whileFull(bench, disk, 'log', () => useUpLog(bench))
      })
    } finally {
      await disk.free()
      if (runs(bench.postgres.pid)) await bench.postgres.stop()
      await disk.remove()
      await bench.postgres.start()
    }
  },
}

async function whileFull(bench: Bench, disk: SmallDisk, of: string, act: () => Promise<void>): Promise<void> {
  const refusedBefore = bench.http.answers.get(503) ?? 0
  let full = true
  const keptFull = (async () => {
    for (; full; await sleep(50)) await disk.fill()
  })()
  try {
    const refused = await until(15_000, () => (bench.http.answers.get(503) ?? 0) > refusedBefore + 20)
    bench.must(refused, `a disk without space for ${of} makes writes fail`)
    await act()
    await sleep(2000)
  } finally {
    full = false
    await keptFull
    await disk.free()
  }
  const spaceAt = performance.now()
  // What Postgres does not survive, whoever watches over it starts again.
  if (!runs(bench.postgres.pid)) {
    await bench.postgres.start()
    await bench.clearErrors()
  }
  const writes = await until(5000, () => ackedSince(bench, spaceAt))
  bench.must(writes, `within 5 s of space writes work again (${of})`)
  bench.must(await bench.untilReady(5000), `within 5 s of space every instance is ready (${of})`)
  await sleep(500)
}

/**
 * Goes through the segments that are prepared, until Postgres ends because there is none and no space for one; or has
 * just room enough to recover, and then lets nobody in, because each session begins with writing a file.
 */
async function useUpLog(bench: Bench): Promise<void> {
  const { pid } = bench.postgres
  const over = await until(30_000, async () => {
    if (!runs(pid)) return true
    const outcome = bench.sql`select pg_logical_emit_message(false, 'prover', ''), pg_switch_wal()`.then(
      () => '',
      ({ message }: Error) => message,
    )
    // The driver's own attempts grow apart.
    return (await Promise.race([outcome, sleep(1000, '')])).includes('could not write init file')
  })
  bench.must(over, 'a disk without space for its log ends Postgres, or closes it')
}

/** Every instance and the SQL writer had a write acknowledged that was sent since then. */
function ackedSince(bench: Bench, since: number): boolean {
  const acked = bench.ledger.operations.filter(
    ({ sentAt, ackedAt }) => sentAt >= since && ackedAt !== undefined,
  )
  const byInstance = new Set(acked.map(({ number }) => number % bench.instances.length))
  return byInstance.size === bench.instances.length
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

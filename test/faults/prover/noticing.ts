import type { Bench } from './bench.ts'
import { until } from './crowd.ts'

const REPLACED = 'glimpse_bus_replaced_total'

/** How many LISTEN sessions each instance has given up so far. */
export function readReplaced(bench: Bench): Promise<number[]> {
  return Promise.all(bench.instances.map((instance) => instance.metric(REPLACED)))
}

/** Waits until so many instances have given up a LISTEN session since `before` was read. Whether they had in time. */
export function untilReplaced(
  bench: Bench,
  before: readonly number[],
  count: number,
  timeoutMs: number,
): Promise<boolean> {
  return until(timeoutMs, async () => {
    const now = await readReplaced(bench)
    return now.filter((replaced, i) => replaced > (before[i] ?? 0)).length >= count
  })
}

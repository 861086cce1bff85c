/** What an instance holds at one moment. */
export interface Sample {
  readonly memoryMiB: number
  readonly heapMiB: number
  readonly descriptors: number
  readonly timers: number
  readonly backends: number
}

export interface Verdict {
  readonly what: keyof Sample
  readonly before: number
  readonly after: number
  readonly may: number
  readonly flat: boolean
}

/** How much more the last third may hold than the second: the load itself comes and goes by as much. */
const MAY_GROW: Readonly<Record<keyof Sample, (before: number) => number>> = {
  memoryMiB: (before) => Math.max(30, before * 0.15),
  heapMiB: (before) => Math.max(10, before * 0.3),
  descriptors: () => 15,
  timers: () => 15,
  backends: () => 3,
}

/**
 * Compares the last third with the second; the first is warming up. Of the heap the lowest sample counts, which is what a
 * collection left: what was not collected yet differs by tens of MiB. Of all else the median.
 */
export function judge(samples: readonly Sample[]): Verdict[] {
  const third = Math.floor(samples.length / 3)
  if (third === 0) throw new Error('too few samples')
  const middle = samples.slice(third, 2 * third)
  const end = samples.slice(2 * third)
  return (Object.keys(MAY_GROW) as (keyof Sample)[]).map((what) => {
    const [before = 0, after = 0] = [middle, end].map((samples) => {
      const values = samples.map((sample) => sample[what])
      return what === 'heapMiB' ? Math.min(...values) : median(values)
    })
    const may = MAY_GROW[what](before)
    return { what, before, after, may, flat: after - before <= may }
  })
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0
}

export function table(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ what, before, after, may, flat }) => [
    what,
    before.toFixed(0),
    after.toFixed(0),
    `+${may.toFixed(0)}`,
    flat ? 'flat' : 'GROWS',
  ])
  return [['what', 'before', 'after', 'may', 'verdict'], ...rows]
    .map((cells) => cells.map((cell, i) => (i === 0 ? cell.padEnd(12) : cell.padStart(8))).join(' '))
    .join('\n')
}

import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import { describe, expect, it, vi } from 'vitest'
import { Pressure } from '../../src/limits/pressure.ts'
import { createLogger } from '../../src/observability/log.ts'

vi.mock('node:v8')

function scene() {
  const heap = { share: 0.2, reads: 0 }
  const lines: string[] = []
  const fields: Record<string, unknown>[] = []
  const onRefused = vi.fn()
  const pressure = new Pressure({
    maxDelayMs: 500,
    maxHeapShare: 0.85,
    log: createLogger('info', {
      write(line) {
        const { msg, delayMs, percent } = JSON.parse(line)
        lines.push(msg)
        fields.push({ delayMs, percent })
      },
    }),
    onRefused,
    heapShare() {
      heap.reads++
      return heap.share
    },
  })
  const ticks = (count: number, lateMs: number) => {
    for (let i = 0; i < count; i++) pressure.tick(lateMs)
  }
  return { pressure, heap, lines, fields, onRefused, ticks }
}

it('a lone pause of two seconds refuses nobody', () => {
  const { pressure, ticks, lines } = scene()
  ticks(10, 1)
  ticks(1, 2000)
  pressure.admitWork()
  ticks(10, 1)
  pressure.admitWork()
  expect(lines).toEqual([])
})

it('an event loop that stays late refuses new work until it keeps up', () => {
  const { pressure, ticks, lines, onRefused } = scene()
  ticks(10, 700)
  expect(() => pressure.admitWork()).toThrow(expect.objectContaining({ code: 'overloaded' }))
  expect(onRefused).toHaveBeenCalledWith('event_loop_delay')
  pressure.admitStream()
  ticks(10, 1)
  pressure.admitWork()
  expect(lines).toEqual(['the event loop is late: new work is refused', 'the event loop keeps up again'])
})

it('a heap that is nearly full refuses new streams, and only those, until it has room', () => {
  const { pressure, ticks, heap, lines, onRefused } = scene()
  heap.share = 0.86
  ticks(5, 0)
  expect(() => pressure.admitStream()).toThrow(expect.objectContaining({ code: 'full' }))
  expect(onRefused).toHaveBeenCalledWith('heap')
  pressure.admitWork()
  heap.share = 0.8
  ticks(5, 0)
  expect(() => pressure.admitStream()).toThrow()
  heap.share = 0.7
  ticks(5, 0)
  pressure.admitStream()
  expect(lines).toEqual(['the heap is nearly full: new streams are refused', 'the heap has room again'])
})

it('what is refused says why, and when to come back', () => {
  const { pressure, ticks, heap } = scene()
  heap.share = 0.9
  ticks(10, 700)
  expect(() => pressure.admitWork()).toThrow(
    expect.objectContaining({
      code: 'overloaded',
      details: { detail: 'This instance is busy; try again.', retryAfter: 1 },
    }),
  )
  expect(() => pressure.admitStream()).toThrow(
    expect.objectContaining({
      code: 'full',
      details: { detail: 'This instance has no memory for more streams.', retryAfter: 5 },
    }),
  )
})

it('the log tells how late the event loop is, and how full the heap', () => {
  const { ticks, heap, fields } = scene()
  heap.share = 0.876
  ticks(1, 2600.7)
  expect(fields).toEqual([
    { delayMs: 520, percent: undefined },
    { delayMs: undefined, percent: 88 },
  ])
})

it('a delay at its bound is accepted; after a refusal it must fall below nine tenths of it', () => {
  const { pressure, ticks, lines } = scene()
  // A fifth of each tick's delay counts, so this is an average of 500 ms.
  ticks(1, 2500)
  pressure.admitWork()
  ticks(1, 505)
  expect(() => pressure.admitWork()).toThrow()
  ticks(1, 246)
  // Exactly nine tenths.
  expect(() => pressure.admitWork()).toThrow()
  ticks(1, 440)
  pressure.admitWork()
  // Above nine tenths again, and not above the bound.
  ticks(1, 600)
  pressure.admitWork()
  expect(lines).toHaveLength(2)
})

it('a heap at its bound is accepted; after a refusal it must fall below nine tenths of it', () => {
  const { pressure, ticks, heap, lines } = scene()
  const admits = [0.85, 0.8501, 0.8499, 0.765, 0.7649, 0.849, 0.86].map((share) => {
    heap.share = share
    ticks(5, 0)
    try {
      pressure.admitStream()
      return true
    } catch {
      return false
    }
  })
  expect(admits).toEqual([true, false, false, false, true, true, false])
  expect(lines).toHaveLength(3)
})

it('the heap is read at the first tick and at every fifth after it', () => {
  const { ticks, heap } = scene()
  const reads = Array.from({ length: 12 }, () => {
    ticks(1, 0)
    return heap.reads
  })
  expect(reads).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3])
})

describe('the share of the heap that is in use', () => {
  const MIB = 1_048_576

  /** Whether streams are refused above a third of the heap. */
  function refusesAboveAThird(usedMib: number, limitMib: number): boolean {
    vi.mocked(getHeapStatistics).mockReturnValue({
      used_heap_size: usedMib * MIB,
      heap_size_limit: limitMib * MIB,
    } as ReturnType<typeof getHeapStatistics>)
    vi.mocked(getHeapSpaceStatistics).mockReturnValue(
      [
        ['new_space', 10],
        ['new_large_object_space', 5],
        ['old_space', usedMib - 25],
        ['large_object_space', 10],
      ].map(([space_name, mib]) => ({
        space_name,
        space_used_size: (mib as number) * MIB,
      })) as ReturnType<typeof getHeapSpaceStatistics>,
    )
    const pressure = new Pressure({
      maxDelayMs: 500,
      maxHeapShare: 1 / 3,
      log: createLogger('silent'),
      onRefused: () => {},
    })
    pressure.tick(0)
    try {
      pressure.admitStream()
      return false
    } catch {
      return true
    }
  }

  it('is that of old space: what is young counts neither as used nor into the limit', () => {
    // 348 MiB less 48 for the young generation are 300, of which a third may be used beside 15 young ones.
    expect([refusesAboveAThird(115, 348), refusesAboveAThird(116, 348)]).toEqual([false, true])
  })

  it('is more than all where the limit leaves nothing beside the young generation', () => {
    expect(refusesAboveAThird(30, 48)).toBe(true)
    expect(refusesAboveAThird(30, 20)).toBe(true)
  })
})

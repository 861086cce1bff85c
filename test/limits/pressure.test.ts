import { expect, it, vi } from 'vitest'
import { Pressure } from '../../src/limits/pressure.ts'
import { createLogger } from '../../src/observability/log.ts'

function scene() {
  const heap = { share: 0.2 }
  const lines: string[] = []
  const onRefused = vi.fn()
  const pressure = new Pressure({
    maxDelayMs: 500,
    maxHeapShare: 0.85,
    log: createLogger('info', { write: (line) => void lines.push(JSON.parse(line).msg) }),
    onRefused,
    heapShare: () => heap.share,
  })
  const ticks = (count: number, lateMs: number) => {
    for (let i = 0; i < count; i++) pressure.tick(lateMs)
  }
  return { pressure, heap, lines, onRefused, ticks }
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

it('its own clock measures how late each tick comes, and stops', () => {
  vi.useFakeTimers()
  try {
    const { pressure } = scene()
    const tick = vi.spyOn(pressure, 'tick')
    pressure.start()
    vi.advanceTimersByTime(300)
    expect(tick.mock.calls.map(([late]) => Math.round(late))).toEqual([0, 0, 0])
    pressure.stop()
    vi.advanceTimersByTime(1000)
    expect(tick).toHaveBeenCalledTimes(3)
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

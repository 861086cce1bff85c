import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { EventLoopDelay, TICK_MS } from '../../src/observability/event-loop-delay.ts'
import { parseSamples } from '../support/metrics.ts'

function scene() {
  const registry = new Registry()
  const delay = new EventLoopDelay()
  delay.register(registry)
  onTestFinished(() => delay.stop())
  const scraped = async () => {
    const samples = parseSamples(await registry.metrics())
    return (which: string) => samples.get(`nodejs_eventloop_lag_${which}seconds`) ?? Number.NaN
  }
  return { delay, scraped, registry }
}

const block = (ms: number) => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

it('a stall of 200 ms is seen, by whoever sheds load too', async () => {
  const { delay, scraped } = scene()
  const heard: number[] = []
  delay.start((lateMs) => heard.push(lateMs))
  await sleep(2 * TICK_MS)
  block(200)
  await sleep(2 * TICK_MS)
  const lag = await scraped()
  expect(lag('max_')).toBeGreaterThan(0.095)
  expect(lag('max_') * 1000).toBeCloseTo(Math.max(...heard), 0)
  expect(lag('p99_')).toBeGreaterThan(0.095)
})

it('values are of the time since the last scrape', async () => {
  const { delay, scraped } = scene()
  delay.record(5000)
  const first = await scraped()
  expect([first(''), first('max_')]).toEqual([5, expect.closeTo(5, 1)])
  for (let i = 0; i < 10; i++) delay.record(2)
  const second = await scraped()
  expect(['', 'min_', 'max_', 'mean_', 'p50_', 'p90_', 'p99_'].map(second)).toEqual(
    Array(7).fill(expect.closeTo(0.002, 4)),
  )
  expect(second('stddev_')).toBeCloseTo(0, 4)
  // Two that scrape at once: the second still sees something.
  expect((await scraped())('p99_')).toBeCloseTo(0.002, 4)
})

it('percentiles are those of what comes at any time, long turns included', async () => {
  const { delay, scraped } = scene()
  // A minute, one second of it in a single turn: 1.7 % of the time.
  for (let i = 0; i < 590; i++) delay.record(1)
  delay.record(950)
  const lag = await scraped()
  expect(lag('p90_')).toBeCloseTo(0.001, 3)
  expect(lag('p99_')).toBeCloseTo(0.35, 2)
})

it('a night in which the process was stopped is counted at once', async () => {
  const { delay, scraped } = scene()
  const before = performance.now()
  delay.record(8 * 3_600_000)
  expect(performance.now() - before).toBeLessThan(100)
  expect((await scraped())('max_')).toBeCloseTo(3600, -1)
})

describe('its clock', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.restoreAllMocks()
    vi.useRealTimers()
  })

  it('ticks ten times a second and no more, and stops', () => {
    const { delay } = scene()
    const onTick = vi.fn()
    delay.start(onTick)
    vi.advanceTimersByTime(1000)
    expect(onTick.mock.calls.map(([late]) => Math.round(late))).toEqual(Array(10).fill(0))
    delay.stop()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('measures how late each tick comes after the one before', () => {
    const { delay } = scene()
    const onTick = vi.fn()
    const now = vi.spyOn(performance, 'now').mockReturnValue(5000)
    delay.start(onTick)
    // Due at 5100, 5450, 5550 and 5645: the third comes a little early.
    for (const at of [5350, 5450, 5545, 5655]) {
      now.mockReturnValue(at)
      vi.advanceTimersByTime(100)
    }
    expect(onTick.mock.calls).toEqual([[250], [0], [0], [10]])
  })
})

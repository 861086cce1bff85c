import { describe, expect, it } from 'vitest'
import { RateLimit } from '../../src/limits/rate-limit.ts'

/** A limit of `perMinute` on a clock that stands still until it is moved. */
function stopped(perMinute: number, maxKeys?: number) {
  const clock = { now: 1000 }
  const limit = new RateLimit({
    most: perMinute,
    now: () => clock.now,
    ...(maxKeys === undefined ? {} : { maxKeys }),
  })
  const passes = (key: string, attempts: number) =>
    Array.from({ length: attempts }, () => limit.take(key)).filter((waitMs) => waitMs === 0).length
  return { clock, limit, passes }
}

describe('a rate limit', () => {
  it("lets ten seconds' worth pass at once, and no more", () => {
    const { passes } = stopped(600)
    expect(passes('alice', 500)).toBe(100)
  })

  it('lets pass what it says per minute in the long run, however fast the attempts come', () => {
    const { clock, passes } = stopped(600)
    let passed = 0
    for (let ms = 0; ms < 600_000; ms += 10) {
      clock.now += 10
      passed += passes('alice', 3)
    }
    expect(passed).toBeGreaterThan(6000)
    expect(passed).toBeLessThanOrEqual(6000 + 100)
  })

  it('never refuses who stays within the rate', () => {
    const { clock, passes } = stopped(600)
    for (let i = 0; i < 10_000; i += 1) {
      clock.now += 100
      expect(passes('alice', 1)).toBe(1)
    }
  })

  it('says how long to wait, and lets one pass just then', () => {
    const { clock, limit, passes } = stopped(60)
    passes('alice', 10)
    const waitMs = limit.take('alice')
    expect(waitMs).toBeGreaterThan(0)
    clock.now += waitMs - 1
    expect(limit.take('alice')).toBeGreaterThan(0)
    clock.now += 1
    expect(passes('alice', 5)).toBe(1)
  })

  it('is not prolonged by attempts that it refuses', () => {
    const { clock, limit, passes } = stopped(60)
    passes('alice', 10)
    const waitMs = limit.take('alice')
    passes('alice', 1000)
    expect(limit.take('alice')).toBe(waitMs)
    clock.now += 10_000
    expect(passes('alice', 20)).toBe(10)
  })

  it('lets a lone attempt pass, however slow the rate', () => {
    const { clock, passes } = stopped(1)
    expect(passes('alice', 3)).toBe(1)
    clock.now += 60_000
    expect(passes('alice', 3)).toBe(1)
  })

  it("lets a day's worth pass at once, and what it says per day in the long run", () => {
    const clock = { now: 1000 }
    const limit = new RateLimit({ most: 4, per: 'day', now: () => clock.now })
    const waits = () => Array.from({ length: 6 }, () => limit.take('alice'))
    expect(waits()).toEqual([0, 0, 0, 0, 21_600_000, 21_600_000])
    clock.now += 21_600_000
    expect(waits().filter((waitMs) => waitMs === 0)).toHaveLength(1)
  })

  it('takes an attempt back that came to nothing', () => {
    const { limit, passes } = stopped(60)
    passes('alice', 10)
    limit.giveBack('alice')
    expect(passes('alice', 10)).toBe(1)
  })

  it('counts each key alone', () => {
    const { passes } = stopped(60)
    passes('alice', 100)
    expect(passes('bob', 100)).toBe(10)
  })

  it('remembers no more keys than it may, and those in use for longest', () => {
    const { limit, passes } = stopped(60, 1000)
    passes('alice', 10)
    for (let i = 0; i < 100_000; i += 1) {
      limit.take(`flood ${i}`)
      if (i % 100 === 0) expect(limit.take('alice')).toBeGreaterThan(0)
    }
    expect(passes('flood 99999', 100)).toBe(9)
    expect(passes('flood 98000', 100)).toBe(10)
  })
})

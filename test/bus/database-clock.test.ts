import { expect, it } from 'vitest'
import { DatabaseClock } from '../../src/bus/database-clock.ts'

/** A local clock, and Postgres' own, which is `ahead` of it. */
function clocks(ahead: number) {
  let local = 1000
  const clock = new DatabaseClock(() => local)
  return {
    clock,
    /** One canary: what it takes to get there, and back. */
    canary(there: number, back: number) {
      const sentAt = local
      local += there
      const shown = local + ahead
      local += back
      clock.read(shown, sentAt)
    },
    get truth() {
      return local + ahead
    },
  }
}

it('knows nothing before the first reading', () => {
  expect(clocks(5).clock.now).toBeUndefined()
})

it('is right where the way there takes as long as the way back, however far the clocks are apart', () => {
  const world = clocks(-90_000)
  world.canary(3, 3)
  expect(world.clock.now).toBe(world.truth)
})

it('is off by less than the quickest round trip, whichever part of each took long', () => {
  const world = clocks(1_763_906_000_000)
  world.canary(0, 800)
  world.canary(0.4, 0)
  world.canary(500, 0)
  expect(Math.abs((world.clock.now ?? 0) - world.truth)).toBeLessThanOrEqual(0.2)
})

it('follows a clock that was set, or another one, at the first reading', () => {
  const clock = new DatabaseClock(() => 0)
  clock.read(500, 0, 0.1)
  clock.read(500, 0, 0.1)
  clock.read(2000, 0, 10)
  expect(clock.now).toBe(1995)
})

it('believes the readings together, those too that only just agree', () => {
  const clock = new DatabaseClock(() => 0)
  clock.read(10, 0, 10)
  clock.read(20, 0, 10)
  expect(clock.now).toBe(10)
})

it('keeps the reading that showed that the clock was set', () => {
  const clock = new DatabaseClock(() => 0)
  clock.read(500, 0, 0.1)
  clock.read(2000, 0, 10)
  clock.read(2100, 0, 200)
  expect(clock.now).toBe(1995)
})

it('forgets a reading after nineteen others, because the clock may have drifted', () => {
  const clock = new DatabaseClock(() => 0)
  clock.read(500, 0, 0)
  for (let n = 0; n < 19; n++) clock.read(700, 0, 300)
  expect(clock.now).toBe(500)
  clock.read(700, 0, 300)
  expect(clock.now).toBe(550)
})

import { expect, it } from 'vitest'
import { REST_MS, ReadingPace } from '../../src/bus/reading-pace.ts'

/** Whether reading rests after each read, given as how many ms it comes after the one before and how many nobody waited for. */
function rests(reads: readonly (readonly [afterMs: number, unwanted: number])[]): boolean[] {
  let now = 0
  const pace = new ReadingPace(() => now)
  return reads.map(([afterMs, unwanted]) => {
    now += afterMs
    return pace.read(unwanted)
  })
}

it('rests once five notifications that nobody waited for came within ten milliseconds', () => {
  expect(rests(Array.from({ length: 5 }, () => [2, 1] as const))).toEqual([...Array(4).fill(false), true])
  expect(rests([[0, 5]])).toEqual([true])
})

it('reads a quiet stream at once, for however long it goes on', () => {
  expect(rests(Array.from({ length: 1000 }, () => [REST_MS / 4 + 0.1, 1] as const))).not.toContain(true)
})

it('never rests for notifications that are waited for here', () => {
  expect(rests(Array.from({ length: 1000 }, () => [0, 0] as const))).not.toContain(true)
})

it('rests again and again while they come thick, and no longer than that', () => {
  expect(
    rests([
      [0, 5],
      [REST_MS, 20],
      [REST_MS, 5],
      [REST_MS, 4],
      [REST_MS, 4],
      [1, 1],
    ]),
  ).toEqual([true, true, true, false, false, true])
})

it('counts the ten milliseconds from the first notification that nobody waited for', () => {
  expect(
    rests([
      [0, 0],
      [REST_MS - 1, 4],
      [2, 1],
    ]),
  ).toEqual([false, false, true])
})

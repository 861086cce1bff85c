import { describe, expect, it } from 'vitest'
import { fitLine, ratios, spread } from '../../bench/report/statistics.ts'

describe('spread', () => {
  it('takes the middle one of an odd number, and the mean of the middle two of an even one', () => {
    expect(spread([30, 10, 20])).toEqual({ median: 20, min: 10, max: 30 })
    expect(spread([40, 10, 20, 30])).toEqual({ median: 25, min: 10, max: 40 })
  })

  it('leaves out rounds that failed', () => {
    expect(spread([Number.NaN, 5, 7])).toEqual({ median: 6, min: 5, max: 7 })
  })

  it('has nothing to say of no rounds', () => {
    expect(spread([])).toEqual({ median: Number.NaN, min: Number.NaN, max: Number.NaN })
  })
})

describe('ratios', () => {
  it('compares round by round, so that a slow minute falls out', () => {
    // The machine halves its speed from round to round; the one is twice as fast throughout.
    expect(ratios([800, 400, 200], [400, 200, 100])).toEqual({ median: 2, min: 2, max: 2 })
    // The ratio of the medians would be 1.
    expect(ratios([90, 100, 110], [30, 100, 110]).median).toBe(1)
    expect(ratios([10, 100, 100], [5, 50, 100]).median).toBe(2)
  })

  it('leaves out rounds in which one of the two failed', () => {
    expect(ratios([10, Number.NaN, 30], [5, 5, Number.NaN])).toEqual({ median: 2, min: 2, max: 2 })
    expect(ratios([10, 20], [5]).median).toBe(2)
  })
})

describe('fitLine', () => {
  it('finds intercept and slope', () => {
    const { intercept, slope } = fitLine([
      [1, 13],
      [2, 16],
      [4, 22],
    ])
    expect(intercept).toBeCloseTo(10)
    expect(slope).toBeCloseTo(3)
  })

  it('gives no line through a single level', () => {
    expect(fitLine([[1, 13]]).slope).toBeNaN()
  })
})

import { describe, expect, it } from 'vitest'
import { spread } from '../../bench/report/statistics.ts'
import { barPlot } from '../../bench/report/svg/bar-plot.ts'
import { linePlot } from '../../bench/report/svg/line-plot.ts'
import { linearScale, logScale, stepScale } from '../../bench/report/svg/scale.ts'

const pixels = { from: 0, to: 100 }

describe('scales', () => {
  it('begin at zero and end at a round number above the largest', () => {
    expect(linearScale(0.93, pixels).ticks.at(-1)).toBeCloseTo(1)
    expect(linearScale(10_200, pixels).ticks).toEqual([0, 2500, 5000, 7500, 10_000, 12_500])
    expect(linearScale(50, pixels).at(50)).toBe(100)
  })

  it('spread powers of ten evenly', () => {
    const scale = logScale(0.3, 70, pixels)
    expect(scale.ticks).toEqual([0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    expect(scale.at(2) - scale.at(0.2)).toBeCloseTo(scale.at(20) - scale.at(2))
    expect(logScale(0.06, 2300, pixels).ticks).toEqual([0.01, 0.1, 1, 10, 100, 1000, 10_000])
    expect(logScale(5, 5, pixels).ticks.length).toBeGreaterThan(1)
  })

  it('give each step the same room', () => {
    expect([1, 64, 1000].map(stepScale([1, 64, 1000], pixels).at)).toEqual([0, 50, 100])
  })
})

const marks = (svg: string) =>
  [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)] as const)

describe('linePlot', () => {
  const svg = linePlot({
    title: 'Views & more <fast>',
    subtitle: 'as measured',
    x: { label: 'connections', scale: 'steps' },
    y: { label: 'requests a second', scale: 'linear' },
    series: [
      { name: 'Glimpse', tone: 'own', points: [1, 64].map((x) => ({ x, y: spread([x * 10, x * 12]) })) },
      { name: 'peer', tone: 'peer', points: [1, 64].map((x) => ({ x, y: spread([x * 11]) })) },
      { name: 'absent', tone: 'quiet', points: [{ x: 1, y: spread([]) }] },
    ],
  })

  it('puts larger values higher and later levels to the right', () => {
    const [first, second] = marks(svg)
    expect(second?.[0]).toBeGreaterThan(first?.[0] as number)
    expect(second?.[1]).toBeLessThan(first?.[1] as number)
  })

  it('labels axes, titles and series, and leaves out who was not measured', () => {
    for (const words of ['connections', 'requests a second', 'as measured', 'Glimpse', 'peer'])
      expect(svg).toContain(`>${words}</text>`)
    expect(svg).not.toContain('absent')
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('keeps names of lines that end together apart', () => {
    const heights = [...svg.matchAll(/<text x="[\d.]+" y="([\d.]+)" class="name"/g)].map(([, y]) => Number(y))
    expect(heights).toHaveLength(2)
    expect(Math.abs((heights[0] as number) - (heights[1] as number))).toBeGreaterThanOrEqual(16)
  })

  it('escapes text, and knows light and dark', () => {
    expect(svg).toContain('Views &#38; more &#60;fast&#62;')
    expect(svg).toContain('prefers-color-scheme:dark')
  })
})

describe('barPlot', () => {
  const svg = barPlot({
    title: 'Deliveries',
    subtitle: 'by contender',
    label: 'a second',
    levels: ['1,000 connections', '10,000 connections'],
    bars: [
      { name: 'Glimpse', tone: 'own', values: [spread([30, 40, 50]), spread([20])] },
      { name: 'peer', tone: 'peer', values: [spread([20]), spread([])] },
    ],
  })

  it('draws lengths in proportion, and a dash for what was not measured', () => {
    const widths = [...svg.matchAll(/<rect x="226" y="[\d.]+" width="([\d.]+)"/g)].map(([, width]) =>
      Number(width),
    )
    expect(widths).toHaveLength(3)
    expect((widths[0] as number) / (widths[1] as number)).toBeCloseTo(2, 1)
    expect(svg).toContain('>–</text>')
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })
})

import { describe, expect, it } from 'vitest'
import { drawn } from '../../bench/report/plot.ts'
import { spread } from '../../bench/report/statistics.ts'

const line = drawn({
  file: 'line.svg',
  alt: 'Views',
  title: 'Views & more <fast>',
  subtitle: 'as "measured"',
  x: { label: 'connections', scale: 'steps' },
  y: { label: 'requests a second', scale: 'value' },
  series: [
    { name: 'Glimpse', tone: 'own', points: [1, 64].map((x) => ({ x, y: spread([x * 10, x * 12]) })) },
    { name: 'peer', tone: 'peer', dashed: true, points: [1, 64].map((x) => ({ x, y: spread([x * 11]) })) },
    { name: 'absent', tone: 'quiet', points: [{ x: 1, y: spread([]) }] },
  ],
})
const bars = drawn({
  file: 'bars.svg',
  alt: 'Deliveries',
  title: 'Deliveries',
  subtitle: 'by contender',
  label: 'a second',
  scale: 'value',
  digits: 0,
  tones: { Glimpse: 'own', peer: 'peer' },
  bars: {
    '1,000 connections': (name) => spread(name === 'Glimpse' ? [30, 40, 50] : [20]),
    '10,000 connections': (name) => spread(name === 'Glimpse' ? [20] : []),
  },
})
const words = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text)

describe('plots', () => {
  it('name axes, ticks, title and every line that was measured', () => {
    expect(words(line)).toEqual(
      expect.arrayContaining(['connections', 'requests a second', '1', '64', 'Glimpse', 'peer']),
    )
    expect(words(line)).not.toContain('absent')
  })

  it('say the median beside each bar, and a dash for what was not measured', () => {
    expect(words(bars)).toEqual(
      expect.arrayContaining(['Glimpse', 'peer', '1,000 connections', '40', '20', '–']),
    )
  })

  it.each([
    ['line', line],
    ['bar', bars],
  ])('are files that every viewer reads, in light and dark: %s', (_kind, svg) => {
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg).toContain('prefers-color-scheme:dark')
    // Well-formed: the library does not escape a quote in an attribute.
    const tag = /<[/\w]+(\s+[\w:-]+="[^"<]*")*\s*\/?>/g
    expect(svg.replace(/<!\[CDATA\[[\s\S]*?\]\]>/g, '').replace(tag, '')).not.toMatch(/[<>]/)
  })
})

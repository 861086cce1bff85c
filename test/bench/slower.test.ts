import { describe, expect, it } from 'vitest'
import * as delivery from '../../bench/delivery.ts'
import * as latency from '../../bench/latency.ts'
import { slowerList } from '../../bench/report/pages.ts'
import type { PartResults } from '../../bench/report/results.ts'
import * as writes from '../../bench/writes.ts'
import { partResults, trial } from '../support/bench-results.ts'

/** Glimpse at `own`, its peers at 100; more is better but for milliseconds. */
const results = (own: number) => ({
  writes: partResults('writes', [
    ...[1, 16].flatMap((level) => [
      trial(writes.DISTINCT, level, writes.GLIMPSE, { perSecond: own * level }),
      trial(writes.DISTINCT, level, writes.INSERT, { perSecond: 100 }),
    ]),
  ]),
  latency: partResults('latency', [
    trial(latency.STEADY, 100, latency.POST_TO_SSE, { p50Ms: 100 / own }),
    trial(latency.STEADY, 100, latency.BASE, { p50Ms: 1 }),
  ]),
  delivery: partResults('delivery', [
    trial(delivery.FASTEST, 1000, delivery.GLIMPSE_SSE, { deliveriesPerSecond: own }),
    trial(delivery.FASTEST, 1000, delivery.NCHAN_SSE, { deliveriesPerSecond: 100 }),
  ]),
})

describe('where Glimpse is slower', () => {
  it('has a line for each peer that is faster, with both figures', () => {
    expect(slowerList(results(50)).split('\n').slice(0, 3)).toEqual([
      expect.stringMatching(/lone view.* records 50 views .* 100 \(0\.50×\)\. With 16 .* more \(8\.00×\)/),
      expect.stringMatching(/p50: at 100 a second 2\.00 ms, a bare INSERT \+ NOTIFY 1\.00 ms/),
      expect.stringMatching(/1,000 connections Glimpse delivers 50 .* Nchan delivers 100/),
    ])
    expect(slowerList(results(50), 1)).toMatch(/^- .*\n\nMeasured on 2026-01-02, commit abc1234\.$/)
  })

  it('names every run that the figures are of, once', () => {
    const { latency: later, ...first } = results(50)
    const list = slowerList({ ...first, latency: { ...(later as PartResults), commit: 'def5678' } }, 1)
    expect(list).toMatch(/Measured on 2026-01-02, commit abc1234, and on 2026-01-02, commit def5678\.$/)
  })

  it('says nothing of a peer that is as fast or slower, or that was not measured', () => {
    expect(slowerList(results(100))).toBe('')
    expect(slowerList(results(200))).toBe('')
    expect(slowerList({})).toBe('')
  })
})

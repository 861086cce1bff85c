import { Registry } from 'prom-client'
import { expect, it } from 'vitest'
import { BatchedHistogram } from '../../src/observability/batched-histogram.ts'

it.each([0, 1, 255, 256, 257, 1000])('shows each of %i observations once, at every scrape', async (count) => {
  const registry = new Registry()
  const histogram = new BatchedHistogram({
    name: 'seconds',
    help: 'h',
    buckets: [1, 10],
    registers: [registry],
  })
  for (let i = 0; i < count; i++) histogram.observe(i % 2 === 0 ? 0.5 : 20)
  const inFirst = Math.ceil(count / 2)
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await registry.metrics()
    expect(text).toContain(`seconds_bucket{le="1"} ${inFirst}\n`)
    expect(text).toContain(`seconds_bucket{le="+Inf"} ${count}\n`)
    expect(text).toContain(`seconds_count ${count}\n`)
    expect(text).toContain(`seconds_sum ${inFirst * 0.5 + (count - inFirst) * 20}\n`)
  }
})

import { expect, it, onTestFinished } from 'vitest'
import { Hub } from '../../src/hub/hub.ts'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { headOf, pageOf } from '../support/stream-state.ts'

it('draining a crowd takes the time it was given, however late each sleep of a loaded process ends', async () => {
  const stream = { ...headOf(), askedTime: undefined }
  let now = 0
  const hub = new Hub({
    eventLog: {
      head: async () => stream,
      heads: async () => [],
      page: async () => pageOf(0, []),
    },
    limits: {
      outboxMaxBytes: 1024,
      heartbeatIntervalMs: 60_000,
      stallTimeoutMs: 60_000,
      maxConnections: 1000,
      maxConnectionsPerUser: 1000,
      maxConnectionsPerAddress: 1000,
    },
    clock: { wall: Date.now, monotonic: () => now },
    log: createLogger('silent'),
    metrics: createMetrics(),
  })
  onTestFinished(() => hub.close())
  for (let n = 0; n < 400; n++) await hub.enter('alice', { from: 'now' }, Date.now() + 60_000, '192.0.2.1')
  const left: number[] = []
  await hub.drain(4000, async (ms) => {
    left.push(hub.connections)
    now += ms + 20
  })
  expect(hub.connections).toBe(0)
  expect(now).toBeLessThan(4000 + 20)
  // Spread evenly all the same: no step ends more than its share.
  expect(left[39]).toBe(200)
})

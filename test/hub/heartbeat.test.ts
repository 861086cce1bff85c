import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Hub } from '../../src/hub/hub.ts'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { headOf, pageOf } from '../support/stream-state.ts'

it('a connection whose opening took longer than a tick of the wheel is kept alive all the same', async () => {
  const stream = { ...headOf(), askedTime: undefined }
  const hub = new Hub({
    eventLog: {
      // A head that is slow to come, as from a busy database.
      head: () => sleep(120, stream),
      heads: async () => [],
      page: async () => pageOf(0, []),
    },
    limits: {
      outboxMaxBytes: 1024,
      heartbeatIntervalMs: 40,
      stallTimeoutMs: 60_000,
      maxConnections: 1,
      maxConnectionsPerUser: 1,
      maxConnectionsPerAddress: 1,
    },
    clock: { wall: Date.now, monotonic: () => performance.now() },
    log: createLogger('silent'),
    metrics: createMetrics(),
  })
  onTestFinished(() => hub.close())
  const place = await hub.enter('alice', { from: 'now' }, Date.now() + 60_000, '192.0.2.1')
  const heartbeat = vi.fn(() => true)
  place.begin({
    transport: 'sse',
    codec: { encode: () => '' },
    unsent: 0,
    sent: 0,
    write: () => {},
    control: () => {},
    heartbeat,
    close: () => {},
    destroy: () => {},
  })
  await vi.waitFor(() => expect(heartbeat.mock.calls.length).toBeGreaterThanOrEqual(3), 20_000)
})

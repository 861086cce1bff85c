import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { Limits } from '../../src/limits/limits.ts'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'

/** The limits of a configuration that sets none of them, on a clock that is moved by hand. */
function defaults() {
  const parsed = parseConfig({})
  if (!parsed.ok) throw new Error(parsed.problems.join('; '))
  const clock = { now: 0 }
  return {
    clock,
    limits: new Limits(parsed.config, createMetrics(), createLogger('silent'), () => clock.now),
    config: parsed.config,
  }
}

const OFFICE = '203.0.113.7'

describe('limits that nobody set', () => {
  it('leave alone a page that records 50 views a second for one user, with ten tabs that reconnect', () => {
    const { clock, limits } = defaults()
    for (let second = 0; second < 300; second += 1) {
      for (let view = 0; view < 50; view += 1) {
        clock.now = second * 1000 + view * 20
        limits.count('address_requests', OFFICE)
        limits.count('user_requests', 'alice')
      }
      // A bare EventSource comes back every two seconds.
      if (second % 2 === 0) for (let tab = 0; tab < 10; tab += 1) limits.count('user_connects', 'alice')
    }
  })

  it('leave alone 10,000 users behind one address, who come back together and then ask twelve times a minute', () => {
    const { clock, limits, config } = defaults()
    expect(config.maxConnectionsPerAddress).toBeGreaterThanOrEqual(20_000)
    for (let user = 0; user < 10_000; user += 1) {
      // Two tabs each, spread over the seconds in which another instance drained.
      clock.now = user * 0.8
      for (let tab = 0; tab < 2; tab += 1) {
        limits.count('address_requests', OFFICE)
        limits.count('address_connects', OFFICE)
        limits.count('user_connects', `user ${user}`)
      }
    }
    for (let round = 1; round <= 24; round += 1) {
      for (let user = 0; user < 10_000; user += 1) {
        clock.now = 8000 + round * 5000 + user * 0.5
        limits.count('address_requests', OFFICE)
        limits.count('user_requests', `user ${user}`)
      }
    }
  })
})

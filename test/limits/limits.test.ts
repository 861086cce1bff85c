import type { IncomingMessage } from 'node:http'
import { describe, expect, it, vi } from 'vitest'
import type { Config } from '../../src/config.ts'
import { Limits } from '../../src/limits/limits.ts'
import type { Logger } from '../../src/observability/log.ts'
import type { Metrics } from '../../src/observability/metrics.ts'

/** Two at once, and the next after this time. */
const SOON = 5000
const HALF_A_DAY = 43_200_000
const RATES = {
  user_requests: 12,
  address_requests: 12,
  user_connects: 12,
  address_connects: 12,
  user_stories: 2,
  reaction_changes: 2,
}

function scene({ on = true, trustProxy = 0 } = {}) {
  const clock = { now: 0 }
  const inc = vi.fn()
  const warn = vi.fn()
  const limits = new Limits(
    { rates: on ? RATES : undefined, trustProxy } as Config,
    { limited: { inc } } as unknown as Metrics,
    { warn } as unknown as Logger,
    () => clock.now,
  )
  return { clock, inc, warn, limits }
}

const request = (headers: Record<string, string>) =>
  ({ headers, socket: { remoteAddress: '192.0.2.1' } }) as unknown as IncomingMessage

function refusalOf(work: () => void): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}

describe('limits', () => {
  it.each([
    ['user_requests', 'This user sends too many requests.', SOON],
    ['address_requests', 'Too many requests come from this address.', SOON],
    ['user_connects', 'This user opens too many connections in too short a time.', SOON],
    ['address_connects', 'This address opens too many connections in too short a time.', SOON],
    ['user_stories', 'This user has posted too many stories within a day.', HALF_A_DAY],
    [
      'reaction_changes',
      'This user has changed the reaction to this story too often within a day.',
      HALF_A_DAY,
    ],
  ] as const)('of %s are each for themselves, by name and within their time', (limit, detail, waitMs) => {
    const { clock, inc, limits } = scene()
    limits.count(limit, 'alice')
    limits.count(limit, 'alice')
    const refusal = (retryAfter: number) => ({ code: 'too_many_requests', details: { detail, retryAfter } })
    expect(refusalOf(() => limits.count(limit, 'alice'))).toMatchObject(refusal(waitMs / 1000))
    expect(inc.mock.calls).toEqual([[{ limit }]])
    limits.count(limit, 'bob')
    clock.now = waitMs - 1
    expect(refusalOf(() => limits.count(limit, 'alice'))).toMatchObject(refusal(1))
    clock.now = waitMs
    limits.count(limit, 'alice')
  })

  it('that are off count nothing', async () => {
    const { limits } = scene({ on: false })
    for (let i = 0; i < 100; i++) limits.count('user_requests', 'alice')
    expect(await limits.counted('user_stories', 'alice', async () => 'done')).toBe('done')
    const fails = () => Promise.reject(new Error('disk full'))
    await expect(limits.counted('user_stories', 'alice', fails)).rejects.toThrow('disk full')
  })

  it('go by the clock of the process unless they are given one', () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(1000)
    try {
      const metrics = { limited: { inc: () => {} } } as unknown as Metrics
      const limits = new Limits({ rates: RATES, trustProxy: 0 } as Config, metrics, {} as Logger)
      const refused = () => refusalOf(() => limits.count('user_requests', 'alice')) !== undefined
      expect([refused(), refused(), refused()]).toEqual([false, false, true])
      now.mockReturnValue(1000 + SOON)
      expect(refused()).toBe(false)
    } finally {
      now.mockRestore()
    }
  })

  it('count a work that succeeded and changed something, and no other', async () => {
    const { limits } = scene()
    const fails = () => limits.counted('user_stories', 'alice', () => Promise.reject(new Error('no')))
    const nothing = () =>
      limits.counted(
        'user_stories',
        'alice',
        async () => 'same',
        (so) => so !== 'same',
      )
    for (let i = 0; i < 5; i++) {
      await expect(fails()).rejects.toThrow('no')
      expect(await nothing()).toBe('same')
    }
    const posts = () => limits.counted('user_stories', 'alice', async () => 'posted')
    expect([await posts(), await posts()]).toEqual(['posted', 'posted'])
    const work = vi.fn(async () => 'posted')
    await expect(limits.counted('user_stories', 'alice', work)).rejects.toMatchObject({
      code: 'too_many_requests',
    })
    expect(work).not.toHaveBeenCalled()
  })

  it('are told once that a proxy forwards whom nobody trusts', () => {
    const { limits, warn } = scene()
    expect(limits.networkOf(request({}))).toBe('192.0.2.1')
    expect(warn).not.toHaveBeenCalled()
    for (let i = 0; i < 2; i++)
      expect(limits.networkOf(request({ 'x-forwarded-for': '198.51.100.7' }))).toBe('192.0.2.1')
    expect(warn.mock.calls).toEqual([['X-Forwarded-For received, but TRUST_PROXY is 0']])
  })

  it('are counted for the client that a trusted proxy names', () => {
    const { limits, warn } = scene({ trustProxy: 1 })
    expect(limits.networkOf(request({ 'x-forwarded-for': '198.51.100.7' }))).toBe('198.51.100.7')
    expect(warn).not.toHaveBeenCalled()
  })
})

import { describe, expect, it, vi } from 'vitest'
import { Gate } from '../../src/limits/gate.ts'
import { Quota } from '../../src/limits/quota.ts'
import { withTimeout } from '../../src/limits/with-timeout.ts'

describe('a gate', () => {
  it('lets so many wait, refuses the next at once, and takes one again when one is through', async () => {
    const refused = vi.fn()
    const gate = new Gate(2, refused)
    const ends: ((value: string) => void)[] = []
    const pass = () => gate.pass(() => new Promise<string>((resolve) => ends.push(resolve)))
    const inside = [pass(), pass()]
    expect(gate.waiting).toBe(2)
    await expect(pass()).rejects.toMatchObject({
      code: 'overloaded',
      details: { detail: 'Too many requests are waiting; try again.', retryAfter: 1 },
    })
    expect([refused.mock.calls.length, ends.length]).toEqual([1, 2])
    ends[0]?.('done')
    expect(await inside[0]).toBe('done')
    expect(gate.waiting).toBe(1)
    const next = pass()
    for (const end of ends) end('too')
    expect(await Promise.all([inside[1], next])).toEqual(['too', 'too'])
    expect([gate.waiting, refused.mock.calls.length]).toEqual([0, 1])
  })

  it('counts out what fails, and says how', async () => {
    const gate = new Gate(1, () => {})
    await expect(gate.pass(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(gate.waiting).toBe(0)
    expect(await gate.pass(async () => 'in')).toBe('in')
  })
})

describe('a quota', () => {
  it('is held per key, up to its bound', () => {
    const quota = new Quota(2)
    expect([quota.take('a'), quota.take('a'), quota.take('a'), quota.take('b')]).toEqual([
      true,
      true,
      false,
      true,
    ])
    expect([quota.has('a'), quota.has('b'), quota.has('b', 2)]).toEqual([false, true, false])
    quota.release('a')
    expect(quota.take('a')).toBe(true)
  })

  it('can be passed by what is counted whatever it is, and is given back as it was', () => {
    const quota = new Quota(10)
    quota.add('a', 15)
    expect(quota.has('a')).toBe(false)
    quota.release('a', 5)
    expect(quota.has('a')).toBe(false)
    quota.release('a', 1)
    expect(quota.has('a')).toBe(true)
    // More than was held leaves nothing, and no debt.
    quota.release('a', 100)
    expect([quota.has('a', 10), quota.has('a', 11)]).toEqual([true, false])
  })
})

describe('a work with a time', () => {
  it('settles as the work does, and leaves no timer', async () => {
    vi.useFakeTimers()
    try {
      const late = vi.fn(() => new Error('late'))
      expect(await withTimeout(1000, Promise.resolve('done'), late)).toBe('done')
      await expect(withTimeout(1000, Promise.reject(new Error('own')), late)).rejects.toThrow('own')
      expect([vi.getTimerCount(), late.mock.calls.length]).toEqual([0, 0])
    } finally {
      vi.useRealTimers()
    }
  })

  it('is given up when its time is over, and not before', async () => {
    vi.useFakeTimers()
    try {
      let ended: unknown
      const work = withTimeout(1000, new Promise<never>(() => {}), () => new Error('late')).catch((error) => {
        ended = error
      })
      await vi.advanceTimersByTimeAsync(999)
      expect(ended).toBeUndefined()
      await vi.advanceTimersByTimeAsync(1)
      await work
      expect(ended).toMatchObject({ message: 'late' })
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BatchLoader } from '../../src/store/batch-loader.ts'

/** A coalescer whose statements are recorded, and answered by each request's own text. */
function recorded(options: { readonly pauseMs?: number } = {}) {
  const statements: (readonly string[])[] = []
  const coalescer = new BatchLoader(
    async (requests: readonly string[]) => {
      statements.push(requests)
      return requests.map((request) => request.toUpperCase())
    },
    { maxRequests: 100, concurrency: 2, ...options },
  )
  return { coalescer, statements }
}

describe('a coalescer with a pause', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'setImmediate'] }))
  afterEach(() => void vi.useRealTimers())

  it('sends at once what is asked alone, and what follows together after the pause', async () => {
    const { coalescer, statements } = recorded({ pauseMs: 2 })
    const first = coalescer.ask('a')
    await vi.advanceTimersByTimeAsync(0)
    expect(await first).toBe('A')
    const more = ['b', 'c', 'd'].map((request) => coalescer.ask(request))
    await vi.advanceTimersByTimeAsync(1)
    expect(statements).toEqual([['a']])
    await vi.advanceTimersByTimeAsync(1)
    expect(await Promise.all(more)).toEqual(['B', 'C', 'D'])
    expect(statements).toEqual([['a'], ['b', 'c', 'd']])
  })
})

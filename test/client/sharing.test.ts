import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/index.ts'
import { FakeService, jwt } from '../support/fake-service.ts'

// As where the server of the page's scripts does not answer: a bundler makes a chunk of this module.
vi.mock('../../src/client/tabs.ts', () => new Promise(() => {}))

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('tab sharing whose module does not load', () => {
  const token = jwt({ sub: 'alice' })

  it('leaves the tab with a connection of its own', async () => {
    const service = new FakeService()
    const seqs: number[] = []
    const stream = connect({
      ...service.options,
      token,
      share: 'tabs',
      onEvent: ({ seq }) => void seqs.push(seq),
    })
    await vi.advanceTimersByTimeAsync(11_000)
    expect(stream.state.name).toBe('live')
    service.make('alice', 2)
    await vi.advanceTimersByTimeAsync(100)
    expect(seqs).toEqual([1, 2])
    stream.close()
    await vi.advanceTimersByTimeAsync(1000)
    await stream.done
  })

  it('does not keep close() waiting', async () => {
    const stream = connect({ ...new FakeService().options, token, share: 'tabs' })
    await vi.advanceTimersByTimeAsync(100)
    stream.close()
    await vi.advanceTimersByTimeAsync(1000)
    await stream.done
    expect(stream.state.name).toBe('closed')
  })
})

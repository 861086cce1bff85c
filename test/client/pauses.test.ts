import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { NEVER, Pauses, type Wakeable } from '../../src/client/pauses.ts'
import { pass } from '../support/fake-client.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A pause, and whether it has ended. */
function paused(ms: number, wakeable: Wakeable) {
  const pauses = new Pauses()
  const pause = { pauses, ended: false }
  void pauses.pause(ms, wakeable).then(() => {
    pause.ended = true
  })
  return pause
}

describe('a pause', () => {
  it('ends after its time', async () => {
    const pause = paused(1000, 'no')
    await pass(999)
    expect(pause.ended).toBe(false)
    await pass(1)
    expect(pause.ended).toBe(true)
  })

  it('without a time sets no timer', async () => {
    const pause = paused(NEVER, 'any')
    await pass(10)
    expect([pause.ended, vi.getTimerCount()]).toEqual([false, 0])
    pause.pauses.wake(false)
    await pass(0)
    expect(pause.ended).toBe(true)
  })

  it.each<[Wakeable, boolean, boolean]>([
    ['any', true, true],
    ['look', false, true],
    ['no', false, false],
  ])('that "%s" may cut short is cut short by any sign: %s, by a look: %s', async (wakeable, bySign, byLook) => {
    for (const [look, ends] of [
      [false, bySign],
      [true, byLook],
    ] as const) {
      const pause = paused(1000, wakeable)
      pause.pauses.wake(look)
      await pass(0)
      expect([pause.ended, vi.getTimerCount()]).toEqual(ends ? [true, 0] : [false, 1])
      await pass(1000)
    }
  })

  it('ends with the stream, whatever else it waits for, and there is none after that', async () => {
    const pause = paused(NEVER, 'no')
    pause.pauses.end()
    await pass(0)
    expect(pause.ended).toBe(true)
    await pause.pauses.pause(NEVER, 'no')
  })
})

describe('a pause of a connection', () => {
  it('rejects with the reason for which the connection ends', async () => {
    const connection = new AbortController()
    const pause = expect(new Pauses().pauseUnless(connection.signal, 1000)).rejects.toThrow('offline')
    connection.abort(new Error('offline'))
    await pause
    expect(vi.getTimerCount()).toBe(0)
  })

  it('ends after its time, and by any sign, and leaves nothing behind', async () => {
    const connection = new AbortController()
    const removed = vi.spyOn(connection.signal, 'removeEventListener')
    const pauses = new Pauses()
    const first = pauses.pauseUnless(connection.signal, 1000)
    await pass(1000)
    await first
    const second = pauses.pauseUnless(connection.signal, 1000)
    pauses.wake(false)
    await second
    expect(removed.mock.calls.map(([type]) => type)).toEqual(['abort', 'abort'])
  })
})

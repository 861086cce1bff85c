import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { contextOf } from '../../src/client/context.ts'
import { StreamError } from '../../src/client/index.ts'
import { Session } from '../../src/client/session.ts'
import type { ConnectOptions } from '../../src/client/types.ts'
import { pass } from '../support/fake-client.ts'
import { jwt } from '../support/fake-service.ts'

const HEARTBEAT_MS = 10_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function scene(options: Partial<ConnectOptions> = {}) {
  const fail = vi.fn()
  const context = contextOf({ url: 'http://service.test', ...options }, new AbortController().signal, fail)
  return { fail, session: new Session(context, 'sse', context.tokens.token, undefined) }
}

describe('a connection that nothing is heard of', () => {
  it('is dead after the time in which it should have opened', async () => {
    const { session } = scene({ timing: { openTimeoutMs: 8000 } })
    session.attempt.probe = vi.fn()
    await pass(8000)
    expect([session.interruption, session.isOpen, session.livedMs]).toEqual([undefined, false, 0])
    await pass(1000)
    expect([session.interruption, session.signal.aborted]).toEqual(['silent', true])
    expect(session.attempt.probe).not.toHaveBeenCalled()
  })

  it('is dead after two and a half heartbeats where it cannot be probed', async () => {
    const { session } = scene()
    session.opened(HEARTBEAT_MS)
    await pass(1000)
    session.attempt.alive()
    await pass(25_000)
    expect([session.interruption, session.isOpen]).toEqual([undefined, true])
    await pass(3125)
    expect([session.interruption, session.livedMs]).toEqual(['silent', 29_125])
  })

  it('is probed after half of that, and dead if it does not answer in the other half', async () => {
    const { session } = scene({ timing: { openTimeoutMs: 25_000 } })
    session.opened(HEARTBEAT_MS)
    const probe = vi.fn()
    session.attempt.probe = probe
    await pass(12_500)
    expect(probe).not.toHaveBeenCalled()
    await pass(3125)
    expect(probe).toHaveBeenCalledTimes(1)
    await pass(12_500)
    expect(session.interruption).toBeUndefined()
    await pass(3125)
    expect([session.interruption, probe.mock.calls.length]).toEqual(['silent', 1])
  })

  it('is alive if it answers the probe', async () => {
    const { session } = scene()
    session.opened(HEARTBEAT_MS)
    session.attempt.probe = () => void setTimeout(() => session.attempt.alive(), 100)
    await pass(3_600_000)
    expect(session.interruption).toBeUndefined()
  })

  it('is alive while a handler runs, and the time begins anew after it', async () => {
    const { session } = scene()
    session.opened(HEARTBEAT_MS)
    let end = () => {}
    const busy = session.whileBusy(() => new Promise((resolve) => (end = resolve)))
    await pass(3_600_000)
    end()
    await busy
    await pass(20_000)
    expect(session.interruption).toBeUndefined()
    await pass(10_000)
    expect(session.interruption).toBe('silent')
  })
})

describe('a connection, when somebody looks at the page,', () => {
  it('that does not answer within five seconds is dead soon after', async () => {
    const { session } = scene({ timing: { openTimeoutMs: 100_000 } })
    session.opened(4 * HEARTBEAT_MS)
    session.attempt.probe = vi.fn()
    await pass(5001)
    session.lookAfter('look')
    expect(session.attempt.probe).toHaveBeenCalledTimes(1)
    await pass(5000)
    expect(session.interruption).toBeUndefined()
    await pass(1300)
    expect(session.interruption).toBe('silent')
  })

  it('that cannot be probed is replaced only if the network was gone, and not before it is open', () => {
    const { session } = scene()
    session.lookAfter('online')
    expect(session.interruption).toBeUndefined()
    session.opened(HEARTBEAT_MS)
    session.lookAfter('look')
    expect(session.interruption).toBeUndefined()
    session.lookAfter('online')
    expect([session.interruption, session.restartsAtOnce]).toEqual(['online', true])
  })

  it('that was silent while the machine slept is dead at once', () => {
    const { session } = scene()
    session.opened(HEARTBEAT_MS)
    vi.setSystemTime(Date.now() + 3_600_000)
    session.lookAfter('look')
    expect(session.interruption).toBe('silent')
  })
})

describe('the end of a connection', () => {
  it.each([
    ['renewed', true],
    ['online', true],
    ['upgrade', true],
    ['busy', true],
    ['away', true],
    ['offline', false],
    ['silent', false],
    ['gap', false],
    ['closed', false],
  ] as const)('because of "%s" is followed by another at once: %s', (why, atOnce) => {
    const { session } = scene()
    session.interrupt(why)
    session.interrupt('silent')
    expect([session.interruption, session.restartsAtOnce]).toEqual([why, atOnce])
    expect(session.signal.reason).toEqual(new Error(why))
  })

  it('leaves no timer behind', async () => {
    const { session } = scene()
    session.after(60_000, () => {})
    session.end()
    expect([vi.getTimerCount(), session.signal.aborted]).toEqual([0, true])
    const other = scene().session
    other.interrupt('offline')
    await pass(5000)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('the token of a connection', () => {
  const lasting = (n: number) => jwt({ sub: 'alice', n, exp: Math.floor(Date.now() / 1000) + 100 })

  it('is replaced before its end: over the connection, or by another one', async () => {
    const { session } = scene({ token: lasting(1), getToken: () => lasting(2) })
    const renew = vi.fn()
    session.attempt.renew = renew
    session.opened(3_600_000)
    await pass(80_000)
    expect(renew).toHaveBeenCalledExactlyOnceWith(session.attempt.token)
    session.renewed(session.attempt.token)
    session.renewed(undefined)
    expect([renew.mock.calls.length, session.interruption]).toEqual([1, undefined])
    delete session.attempt.renew
    session.renewed(lasting(3))
    expect([session.interruption, session.attempt.token]).toEqual(['renewed', lasting(3)])
  })

  it('is asked for again where there is none at the moment, not more than once a second', async () => {
    const asked: number[] = []
    const { session, fail } = scene({
      token: lasting(1),
      getToken: () => {
        asked.push(Date.now())
        return Promise.reject(new Error('away'))
      },
    })
    session.opened(3_600_000)
    await pass(99_000)
    expect(asked.length).toBeGreaterThan(2)
    for (const [i, at] of asked.slice(1).entries()) expect(at - (asked[i] ?? 0)).toBeGreaterThanOrEqual(1000)
    expect(fail).not.toHaveBeenCalled()
  })

  it('of another user ends the stream', async () => {
    const { fail } = scene({ token: lasting(1), getToken: () => jwt({ sub: 'bob' }) })
    await pass(80_000)
    expect(fail).toHaveBeenCalledExactlyOnceWith(new StreamError('another_user', 'a token of another user'))
  })

  it.each([
    ['comes', (give: { resolve(token: string): void }) => give.resolve(lasting(2))],
    ['fails to come', (give: { reject(error: unknown): void }) => give.reject(new Error('away'))],
  ])('that %s after the end of the connection is not for it', async (_, answer) => {
    let give = { resolve: (_: string) => {}, reject: (_: unknown) => {} }
    const { session } = scene({
      token: lasting(1),
      getToken: () => new Promise<string>((resolve, reject) => (give = { resolve, reject })),
    })
    session.opened(3_600_000)
    const { token } = session.attempt
    await pass(76_000)
    session.end()
    answer(give)
    await pass(0)
    expect([session.attempt.token, session.interruption, vi.getTimerCount()]).toEqual([token, undefined, 0])
  })
})

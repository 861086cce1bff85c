import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Refused } from '../../src/client/attempt.ts'
import { contextOf } from '../../src/client/context.ts'
import { StreamError } from '../../src/client/index.ts'
import { type Pause, Recovery } from '../../src/client/recovery.ts'
import type { Session } from '../../src/client/session.ts'
import { TransportFallback } from '../../src/client/transport-fallback.ts'
import type { ConnectOptions } from '../../src/client/types.ts'
import { FinalClose } from '../../src/client/websocket.ts'
import { jwt, problem } from '../support/fake-service.ts'

const AT_ONCE = { ms: 0, reason: '' }
const LOST = 'the connection was lost'
const UNREACHABLE = 'the service cannot be reached'

/** A connection as its end leaves it: open for a second, over SSE. */
const ended = (known: Partial<Session> = {}): Session =>
  ({ livedMs: 1000, restartsAtOnce: false, isOpen: true, transport: 'sse', ...known }) as Session

const dismissed = (
  reason: string,
  more: { reconnect?: boolean; retry_ms?: number } = {},
  known: Partial<Session> = {},
) => ended({ ...known, closeMessage: { reason, reconnect: true, retry_ms: 2000, ...more } as never })

const refusal = (status: number, { retryAfterMs = 0, isProblem = true } = {}) =>
  new Refused(status, `status ${status}`, retryAfterMs, isProblem)

/** The rules of one stream, and what they decide after a connection. */
function scene(options: Partial<ConnectOptions> = {}) {
  const fallback = new TransportFallback(options.transport ?? 'auto', true, new URL('http://service.test/'))
  const context = contextOf(
    {
      url: 'http://service.test',
      token: jwt({ sub: 'alice' }),
      fetch: async () => Response.json({}),
      ...options,
    },
    new AbortController().signal,
    () => {},
  )
  const recovery = new Recovery(context, fallback)
  return {
    context,
    fallback,
    recovery,
    decide: (session: Session, cause?: unknown): Promise<Pause> => recovery.after(session, cause, 'e1.4'),
  }
}

const getToken = () => jwt({ sub: 'alice', n: 2 })

beforeEach(() => {
  vi.useFakeTimers()
  // The longest wait of each backoff, in place of a random one.
  vi.spyOn(Math, 'random').mockReturnValue(1)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

describe('after a connection that the client ended itself', () => {
  it('the next begins at once, where there is a reason to', async () => {
    expect(await scene().decide(ended({ restartsAtOnce: true }), new Error('lost'))).toEqual(AT_ONCE)
  })

  it('it waits while the browser is offline', async () => {
    expect(await scene().decide(ended({ interruption: 'offline' }))).toEqual({
      ms: 500,
      reason: 'the browser is offline',
    })
  })
})

describe('after a connection that was lost', () => {
  it('the waits double, up to half a minute, and begin anew after a connection of more than five seconds', async () => {
    const { decide } = scene()
    const waits: number[] = []
    for (const livedMs of [0, 1000, 5000, 0, 0, 0, 0, 0, 5001, 0])
      waits.push((await decide(ended({ livedMs }))).ms)
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 500, 1000])
    expect(await decide(ended())).toMatchObject({ reason: LOST })
  })

  it('each client waits another part of that, but never no time at all', async () => {
    const { decide } = scene()
    vi.mocked(Math.random).mockReturnValueOnce(0.5).mockReturnValueOnce(0)
    expect([(await decide(ended())).ms, (await decide(ended())).ms]).toEqual([250, 1])
  })

  it('over the poll, it is the service that cannot be reached', async () => {
    const lost = ended({ isOpen: false, transport: 'poll' })
    expect(await scene().decide(lost, new Error('refused'))).toEqual({ ms: 500, reason: UNREACHABLE })
  })
})

describe('after a goodbye of the service', () => {
  it('the next comes no sooner than it asks, and up to half as much later', async () => {
    const { decide } = scene()
    const reason = 'the service says: draining'
    expect(await decide(dismissed('draining'))).toEqual({ ms: 3000, reason, wakeable: 'no' })
    vi.mocked(Math.random).mockReturnValueOnce(0)
    expect(await decide(dismissed('draining'))).toEqual({ ms: 2000, reason, wakeable: 'no' })
  })

  it('before its stream began, the waits grow too', async () => {
    const { decide } = scene()
    const full = dismissed('overloaded', {}, { isOpen: false })
    const reason = 'the service says: overloaded'
    expect(await decide(full)).toEqual({ ms: 2500, reason, wakeable: 'no' })
    expect(await decide(full)).toEqual({ ms: 3000, reason, wakeable: 'no' })
  })

  it('that says nothing more, it connects again without a wait', async () => {
    expect(await scene().decide(ended({ closeMessage: {} as never }))).toEqual({
      ms: 0,
      reason: 'the service says: ',
      wakeable: 'no',
    })
  })

  it('for good, the stream has ended', async () => {
    const error = await scene()
      .decide(dismissed('closed', { reconnect: false }))
      .catch((error) => error)
    expect([error.reason, error.message]).toEqual(['ended', 'the service says: closed'])
  })
})

describe('after the token has expired', () => {
  it('the stream ends if there is no other', async () => {
    const error = await scene()
      .decide(dismissed('token_expired'))
      .catch((error) => error)
    expect([error.reason, error.message]).toEqual(['token_expired', 'the token has expired'])
  })

  it('another is asked for: at once, or after a wait if the connection did not last', async () => {
    const { decide, context } = scene({ getToken })
    expect(await decide(dismissed('token_expired', {}, { livedMs: 5001 }))).toEqual(AT_ONCE)
    expect(context.tokens.token).toBeUndefined()
    expect(await decide(dismissed('token_expired', {}, { livedMs: 5000 }))).toEqual({
      ms: 500,
      reason: 'the token has expired',
    })
  })
})

describe('where a token was set a moment ago, what the service refuses may be the one before', () => {
  const fresh = jwt({ sub: 'alice', n: 3 })

  it.each<[string, Session, cause?: unknown]>([
    ['refused', ended({ transport: 'poll' }), refusal(401)],
    ['expired', dismissed('token_expired')],
  ])('%s: the new one is tried for half a minute', async (_, session, cause) => {
    const { decide, context } = scene()
    context.tokens.set(fresh)
    await vi.advanceTimersByTimeAsync(29_999)
    expect(await decide(session, cause)).toMatchObject({ ms: 500 })
    expect(context.tokens.token).toBe(fresh)
    await vi.advanceTimersByTimeAsync(1)
    await expect(decide(session, cause)).rejects.toThrow(StreamError)
  })
})

describe('after a newer connection took its place', () => {
  const replaced = dismissed('replaced', { reconnect: false })
  const reason = 'a newer connection took its place'

  it('the stream ends where there is no page to look at', async () => {
    for (const [session, cause] of [[replaced], [ended(), new FinalClose(4500, '')]] as const) {
      const error = await scene()
        .decide(session, cause)
        .catch((error) => error)
      expect([error.reason, error.message]).toEqual(['replaced', reason])
    }
  })

  it('a page waits until somebody looks at it', async () => {
    vi.stubGlobal('document', {})
    vi.stubGlobal('addEventListener', () => {})
    const pause = { ms: Number.POSITIVE_INFINITY, reason, wakeable: 'look' }
    expect(await scene().decide(replaced)).toEqual(pause)
    expect(await scene().decide(ended(), new FinalClose(4500, ''))).toEqual(pause)
  })

  it('it connects again if the service says so', async () => {
    expect(await scene().decide(dismissed('replaced'))).toMatchObject({ ms: 3000, wakeable: 'no' })
  })
})

it.each([
  ['another_user', 'this token is of another user'],
  ['refused', 'too many messages'],
])('a close code that forbids connecting again ends the stream as %s', async (reason, words) => {
  const error = await scene()
    .decide(ended(), new FinalClose(1008, words))
    .catch((error) => error)
  expect(error).toBeInstanceOf(StreamError)
  expect([error.reason, error.message]).toEqual([reason, words])
})

describe('after a refusal', () => {
  it.each([
    400, 403, 404, 499,
  ])('with the status %i the stream ends, with the words of the service', async (status) => {
    const error = await scene()
      .decide(ended({ isOpen: false }), refusal(status))
      .catch((error) => error)
    expect([error.reason, error.message, error.status]).toEqual(['refused', `status ${status}`, status])
  })

  it.each([
    408, 429, 500, 503,
  ])('with the status %i it waits, and longer where it is asked to', async (status) => {
    const { decide } = scene()
    const reason = `status ${status}`
    expect(await decide(ended({ isOpen: false }), refusal(status))).toEqual({ ms: 500, reason })
    expect(await decide(ended({ isOpen: false }), refusal(status, { retryAfterMs: 7000 }))).toEqual({
      ms: 8000,
      reason,
      wakeable: 'no',
    })
  })

  it('of a proxy it waits, whatever the status', async () => {
    const { decide } = scene()
    const poll = ended({ isOpen: false, transport: 'poll' })
    expect(await decide(poll, refusal(404, { isProblem: false }))).toEqual({ ms: 500, reason: 'status 404' })
    expect(await decide(ended(), refusal(404, { isProblem: false }))).toEqual({
      ms: 1000,
      reason: 'status 404',
    })
  })
})

describe('after a refused token', () => {
  const refuse = (decide: ReturnType<typeof scene>['decide']) =>
    decide(ended({ isOpen: false }), refusal(401))

  it('the stream ends if there is no other', async () => {
    const error = await refuse(scene().decide).catch((error) => error)
    expect([error.reason, error.message, error.status]).toEqual(['unauthorized', 'status 401', 401])
  })

  it('another is tried at once, and after that with waits', async () => {
    const { decide, context } = scene({ getToken })
    expect(await refuse(decide)).toEqual(AT_ONCE)
    expect(context.tokens.token).toBeUndefined()
    expect([await refuse(decide), await refuse(decide)]).toEqual([
      { ms: 500, reason: 'status 401' },
      { ms: 1000, reason: 'status 401' },
    ])
  })

  it('the same is tried again, with a wait, where it may only be too early', async () => {
    const { decide } = scene({ token: jwt({ sub: 'alice', nbf: Date.now() / 1000 + 2 }) })
    expect(await refuse(decide)).toEqual({ ms: 500, reason: 'status 401' })
  })

  it('the stream ends after three minutes and more than four refusals, not with either alone', async () => {
    const { decide, recovery } = scene({ getToken })
    for (let n = 0; n < 10; n++) await refuse(decide)
    await vi.advanceTimersByTimeAsync(180_000)
    await refuse(decide)
    await vi.advanceTimersByTimeAsync(1)
    await expect(refuse(decide)).rejects.toMatchObject({ reason: 'unauthorized', status: 401 })
    // A token that was accepted meanwhile makes it begin anew.
    recovery.opened()
    for (let n = 0; n < 4; n++) {
      await refuse(decide)
      await vi.advanceTimersByTimeAsync(180_001)
    }
    await expect(refuse(decide)).rejects.toMatchObject({ reason: 'unauthorized' })
  })
})

describe('a connection that did not open', () => {
  const failed = ended({ isOpen: false, transport: 'websocket' })

  it('is explained by the poll: if that is answered, the network blocks the transport, and another is tried at once', async () => {
    const requests: [url: string, authorization: string | null][] = []
    const { decide, fallback } = scene({
      fetch: async (input, init) => {
        requests.push([String(input), new Headers(init?.headers).get('authorization')])
        return Response.json({})
      },
    })
    expect(await decide(failed, new Error('no'))).toEqual(AT_ONCE)
    expect(fallback.current).toBe('sse')
    expect(requests).toEqual([
      ['http://service.test/events?limit=1&after=e1.4', `Bearer ${jwt({ sub: 'alice' })}`],
    ])
  })

  it('is tried again after a wait where there is no other transport', async () => {
    const { decide } = scene({ transport: 'websocket' })
    expect(await decide(failed)).toEqual({ ms: 500, reason: 'websocket does not get through' })
  })

  it('is explained by a refusal of the poll', async () => {
    const { decide } = scene({ fetch: async () => problem(403) })
    await expect(decide(failed)).rejects.toMatchObject({ reason: 'refused', status: 403 })
  })

  it('is the fault of no transport where the poll fails too', async () => {
    const { decide, fallback } = scene({ fetch: () => Promise.reject(new TypeError('fetch failed')) })
    expect(await decide(failed)).toEqual({ ms: 500, reason: UNREACHABLE })
    expect(fallback.current).toBe('websocket')
  })

  it('is not waited for longer than a connection may take to open', async () => {
    const { decide } = scene({ fetch: () => new Promise(() => {}), timing: { openTimeoutMs: 3000 } })
    let pause: Pause | undefined
    void decide(failed).then((decided) => {
      pause = decided
    })
    await vi.advanceTimersByTimeAsync(2999)
    expect(pause).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(pause).toEqual({ ms: 500, reason: UNREACHABLE })
  })

  it('ends the stream where nobody is signed in any more', async () => {
    const { decide } = scene({ token: undefined, getToken: () => null })
    await expect(decide(failed)).rejects.toMatchObject({ reason: 'signed_out' })
  })

  it('is explained by the six connections of a browser where streams have taken them', async () => {
    const name = 'glimpse sse service.test'
    const page = (count: number) => {
      vi.stubGlobal('document', {})
      vi.stubGlobal('addEventListener', () => {})
      const held = [...Array(count).fill({ name }), { name: 'another lock' }]
      vi.stubGlobal('navigator', { locks: { query: async () => ({ held }) } })
    }
    const fetch = () => Promise.reject(new TypeError('fetch failed'))
    page(6)
    expect(await scene({ fetch }).decide(failed)).toMatchObject({
      reason: 'other streams hold the browser’s six HTTP/1.1 connections',
    })
    page(5)
    expect(await scene({ fetch }).decide(failed)).toMatchObject({ reason: UNREACHABLE })
  })
})

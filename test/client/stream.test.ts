import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ConnectOptions, connect, StreamError } from '../../src/client/index.ts'
import { openFake, pass, tokenOf } from '../support/fake-client.ts'
import { FakeService, problem } from '../support/fake-service.ts'

// The middle of each random wait.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0.5))
afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

/** A browser's page: `fire` makes an event of its window, `show` makes it visible or hidden. */
function page() {
  const window = new EventTarget()
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  vi.stubGlobal('document', document)
  vi.stubGlobal('navigator', {})
  vi.stubGlobal('addEventListener', window.addEventListener.bind(window))
  vi.stubGlobal('sessionStorage', { getItem: () => null, setItem: () => {} })
  return {
    fire: (type: string) => window.dispatchEvent(new Event(type)),
    show: (visibilityState: 'visible' | 'hidden') => {
      document.visibilityState = visibilityState
      document.dispatchEvent(new Event('visibilitychange'))
    },
    freeze: () => document.dispatchEvent(new Event('freeze')),
  }
}

const count = (service: FakeService, what: string) =>
  service.asked.filter((request) => request.startsWith(what)).length

async function live(options: Partial<ConnectOptions> = {}, service = new FakeService()) {
  const client = openFake(options, service)
  await pass(100)
  expect(client.stream.state.name).toBe('live')
  return client
}

describe('a stream', () => {
  it('begins by waiting, and says what it does', async () => {
    const client = openFake()
    expect(client.stream.state).toEqual({ name: 'waiting', reason: 'starting', retryInMs: 0 })
    expect([client.stream.cursor, client.stream.unread]).toEqual([undefined, 0])
    await pass(100)
    expect(client.states).toEqual([
      { name: 'connecting', transport: 'sse' },
      { name: 'live', transport: 'sse' },
    ])
    client.service.make('alice', 2)
    await pass(0)
    expect([client.stream.cursor, client.stream.unread]).toEqual(['e.2.calice', 2])
    client.stream.close()
    await pass(0)
    expect(client.stream.state).toEqual({ name: 'closed', reason: 'by_caller' })
    expect(client.ended).toBe(true)
  })

  it('needs a WebSocket where nothing else is wanted', () => {
    vi.stubGlobal('WebSocket', undefined)
    expect(() => connect({ url: 'http://service.test', transport: 'websocket' })).toThrow(
      new TypeError('connect: no WebSocket here; pass the option WebSocket'),
    )
  })

  it('ends with the caller’s signal, also if that was aborted before', async () => {
    const signal = new AbortController()
    const client = await live({ signal: signal.signal })
    signal.abort()
    await pass(0)
    expect([client.ended, client.service.open]).toEqual([true, 0])
    const late = openFake({ signal: signal.signal }, new FakeService())
    await pass(0)
    expect([late.ended, late.service.asked]).toEqual([true, []])
  })

  it('ends once, for the first reason', async () => {
    const client = await live()
    client.stream.close()
    client.stream.setToken(null)
    await pass(0)
    expect(client.stream.state).toEqual({ name: 'closed', reason: 'by_caller' })
  })

  it('is traced, with each state and each end of a connection', async () => {
    const traced: string[] = []
    const client = await live({ debug: (what) => void traced.push(what) })
    client.service.cut()
    await pass(0)
    expect(traced).toEqual([
      '{"name":"connecting","transport":"sse"}',
      '{"name":"live","transport":"sse"}',
      'the connection has ended: undefined',
      '{"name":"waiting","reason":"the connection was lost","retryInMs":250}',
    ])
  })
})

describe('retry()', () => {
  it('ends a wait, but not one that the service has asked for', async () => {
    const client = await live()
    client.service.cut()
    await pass(0)
    client.stream.retry()
    await pass(0)
    expect(client.stream.state.name).toBe('live')
    client.service.say({
      type: 'stream.close',
      data: { reason: 'draining', reconnect: true, retry_ms: 4000 },
    })
    client.service.cut()
    await pass(0)
    client.stream.retry()
    await pass(4999)
    expect(client.stream.state).toEqual({
      name: 'waiting',
      reason: 'the service says: draining',
      retryInMs: 5000,
    })
    await pass(2)
    expect(client.stream.state.name).toBe('live')
  })
})

it('a goodbye after which the service keeps the connection is followed by its end within a second', async () => {
  const client = await live()
  client.service.say({ type: 'stream.close', data: { reason: 'draining', reconnect: true, retry_ms: 0 } })
  await pass(999)
  expect(client.service.open).toBe(1)
  await pass(1)
  await pass(10)
  expect([client.service.open, count(client.service, 'GET /events')]).toEqual([1, 2])
})

describe('markRead', () => {
  it('marks what was handled last, or what the caller names', async () => {
    const client = await live()
    client.service.make('alice', 3)
    await pass(0)
    await client.stream.markRead('e.1.calice')
    expect([client.service.read.get('alice'), client.stream.unread]).toEqual([1, 2])
    await client.stream.markRead()
    expect([client.service.read.get('alice'), client.stream.unread]).toEqual([3, 0])
  })

  it('asks nothing where nothing was handled', async () => {
    const client = openFake({ after: 'oldest' })
    await client.stream.markRead()
    await client.stream.markRead('0')
    expect(count(client.service, 'PUT')).toBe(0)
  })

  it('rejects with the service’s words where it refuses, and the stream goes on', async () => {
    const client = await live()
    client.service.intercept = (request) => (request.startsWith('PUT') ? problem(403) : undefined)
    const error = await client.stream.markRead('e.1.calice').catch((error) => error)
    expect(error).toBeInstanceOf(StreamError)
    expect([error.reason, error.status, error.message]).toEqual(['refused', 403, 'status 403'])
    expect(client.stream.state.name).toBe('live')
  })
})

describe('in a page', () => {
  it('that is offline the stream waits, and continues as soon as the network is back', async () => {
    const { fire } = page()
    const client = await live()
    fire('offline')
    await pass(0)
    expect(client.stream.state).toMatchObject({ name: 'waiting', reason: 'the browser is offline' })
    client.service.make('alice')
    fire('online')
    await pass(0)
    expect([client.stream.state.name, client.seqs]).toEqual(['live', [1]])
  })

  it('a connection over SSE is replaced when the network comes back, not when somebody looks', async () => {
    const { fire, show } = page()
    const { service } = await live()
    fire('focus')
    show('visible')
    await pass(0)
    expect(count(service, 'GET /events')).toBe(1)
    fire('online')
    await pass(0)
    expect([count(service, 'GET /events'), service.open]).toEqual([2, 1])
  })

  it('a connection over WebSocket is probed when somebody looks, and replaced if it does not answer', async () => {
    const { fire } = page()
    const { service } = await live({ transport: 'websocket' })
    fire('focus')
    await pass(6000)
    expect([count(service, 'ws ping'), count(service, 'GET /ws')]).toEqual([1, 1])
    service.silent = true
    fire('online')
    await pass(4900)
    expect(count(service, 'GET /ws')).toBe(1)
    await pass(1500)
    expect(count(service, 'GET /ws')).toBe(2)
  })

  it.each([
    'pagehide',
    'freeze',
  ])('that is put away (%s) the stream asks nothing, until the page is back', async (how) => {
    const { fire, freeze } = page()
    const client = await live()
    if (how === 'freeze') freeze()
    else fire(how)
    await pass(0)
    const put = { name: 'waiting', reason: 'the page is put away', retryInMs: Number.POSITIVE_INFINITY }
    expect([client.stream.state, client.service.open]).toEqual([put, 0])
    // Neither the network nor the caller brings it back.
    fire('online')
    client.stream.retry()
    await pass(3_600_000)
    expect([client.stream.state, count(client.service, 'GET /events')]).toEqual([put, 1])
    client.service.make('alice')
    fire('pageshow')
    await pass(0)
    expect([client.stream.state.name, client.seqs]).toEqual(['live', [1]])
  })

  it('that is hidden the poll asks ten times less often, and at once when it is seen', async () => {
    const { show } = page()
    const { service } = await live({ transport: 'poll' })
    const asked = () => count(service, 'GET /events')
    await pass(29_800)
    expect(asked()).toBe(10)
    show('hidden')
    await pass(3000)
    expect(asked()).toBe(11)
    await pass(26_000)
    expect(asked()).toBe(11)
    show('visible')
    await pass(10)
    expect(asked()).toBe(12)
  })

  it('a newer connection takes the stream’s place until somebody looks', async () => {
    const { fire } = page()
    const client = await live()
    client.service.say({ type: 'stream.close', data: { reason: 'replaced', reconnect: false } })
    client.service.cut()
    await pass(3_600_000)
    fire('online')
    await pass(0)
    expect(client.stream.state).toMatchObject({ reason: 'a newer connection took its place' })
    fire('focus')
    await pass(0)
    expect(client.stream.state.name).toBe('live')
  })
})

it('a stream that fell back to the poll tries the better transports again after five minutes', async () => {
  const service = new FakeService()
  let blocked = true
  // A proxy that lets neither WebSocket nor an open stream through.
  service.intercept = (request, init) =>
    blocked &&
    (request.startsWith('POST /tickets') || new Headers(init.headers).get('accept') === 'text/event-stream')
      ? new Response('', { status: 502 })
      : undefined
  const client = await live({ transport: 'auto' }, service)
  expect(client.stream.state).toEqual({ name: 'live', transport: 'poll' })
  await pass(290_000)
  expect(client.stream.state).toEqual({ name: 'live', transport: 'poll' })
  blocked = false
  await pass(20_000)
  expect(client.stream.state).toEqual({ name: 'live', transport: 'websocket' })
})

it('a token that cannot be had is asked for again, and the reason is said', async () => {
  let away = true
  const client = openFake({ getToken: () => (away ? Promise.reject(new Error('503')) : tokenOf('alice')) })
  await pass(0)
  expect(client.stream.state).toEqual({ name: 'waiting', reason: 'no token: 503', retryInMs: 250 })
  away = false
  await pass(250)
  await pass(0)
  expect(client.stream.state.name).toBe('live')
})

import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { State } from '../../src/client/index.ts'
import { openFake, pass, tokenOf } from '../support/fake-client.ts'
import { FakeService, problem } from '../support/fake-service.ts'

const HEARTBEAT_MS = 10_000
const STREAMING = ['sse', 'websocket'] as const

/** The longest wait of each backoff, in place of a random one. */
function withoutJitter(): void {
  vi.spyOn(Math, 'random').mockReturnValue(1)
  onTestFinished(() => void vi.restoreAllMocks())
}

/** What was asked for, each with the number of times. */
const count = (service: FakeService, what: string) =>
  service.asked.filter((request) => request.startsWith(what)).length

/** How long it waited before each attempt that was not at once. */
const waits = (states: readonly State[]) =>
  states.flatMap((state) => (state.name === 'waiting' && state.retryInMs > 0 ? [state.retryInMs] : []))

describe.each(STREAMING)('a connection over %s', (transport) => {
  const opening = transport === 'sse' ? 'GET /events' : 'GET /ws'
  const open = async () => {
    const service = Object.assign(new FakeService(), { heartbeatMs: HEARTBEAT_MS })
    const client = openFake({ transport }, service)
    await pass(100)
    expect(client.stream.state.name).toBe('live')
    return client
  }

  it('is kept while its other end sends something', async () => {
    const { service } = await open()
    await pass(3_600_000)
    expect(count(service, opening)).toBe(1)
  })

  it('is replaced after two and a half heartbeats of silence, not before; nothing is missing', async () => {
    const client = await open()
    client.service.silent = true
    await pass(2.4 * HEARTBEAT_MS - 200)
    expect(count(client.service, opening)).toBe(1)
    client.service.silent = false
    client.service.make('alice')
    await pass(100)
    client.service.silent = true
    await pass(3 * HEARTBEAT_MS)
    client.service.silent = false
    await pass(1000)
    expect(count(client.service, opening)).toBe(2)
    client.service.make('alice')
    await pass(100)
    expect(client.seqs).toEqual([1, 2])
    expect(client.service.open).toBe(1)
  })

  it('gets a new token before the old one expires, and misses nothing', async () => {
    const service = new FakeService()
    const lives = () => tokenOf('alice', { exp: Math.floor(Date.now() / 1000) + 60 })
    const client = openFake({ transport, getToken: async () => lives() }, service)
    await pass(100)
    for (let i = 0; i < 10; i++) {
      service.make('alice')
      await pass(30_000)
    }
    expect(client.seqs).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(client.reasons.slice(1)).toEqual([])
    // In band where the transport can; else by the next connection.
    expect(count(service, 'ws auth')).toBe(transport === 'sse' ? 0 : 6)
    expect(count(service, opening)).toBe(transport === 'sse' ? 7 : 1)
  })
})

describe('a service that cannot be reached', () => {
  it('is asked after waits that double up to 30 s, and begin anew after a connection of 5 s', async () => {
    withoutJitter()
    const client = openFake()
    client.service.intercept = () => Promise.reject(new TypeError('fetch failed'))
    await pass(120_000)
    expect(waits(client.states)).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
    expect(new Set(client.reasons.filter((reason) => reason !== ''))).toEqual(
      new Set(['the service cannot be reached']),
    )
    client.service.intercept = () => undefined
    await pass(36_000)
    expect(client.stream.state.name).toBe('live')
    const before = client.states.length
    client.service.intercept = () => Promise.reject(new TypeError('fetch failed'))
    client.service.cut()
    await pass(2000)
    expect(waits(client.states.slice(before))).toEqual([500, 1000, 2000])
  })

  it('is asked less and less often if its connections end at once', async () => {
    withoutJitter()
    const client = openFake()
    for (let i = 0; i < 5; i++) {
      await vi.waitFor(() => expect(client.stream.state.name).toBe('live'))
      client.service.cut()
      await pass(600 * 2 ** i)
    }
    expect(waits(client.states)).toEqual([500, 1000, 2000, 4000, 8000])
  })

  it.each([
    ['503', 503],
    ['429', 429],
  ])('is asked no earlier than it says with %s', async (_, status) => {
    withoutJitter()
    const client = openFake()
    client.service.intercept = () => problem(status, { 'retry-after': '7' })
    await pass(7300)
    client.stream.retry()
    await pass(100)
    expect(count(client.service, 'GET /events')).toBe(1)
    client.service.intercept = () => undefined
    await pass(200)
    expect(client.stream.state.name).toBe('live')
  })
})

it('a service that says when to reconnect is not asked earlier, nor by all clients at the same moment', async () => {
  const comeBack = { type: 'stream.close', data: { reason: 'draining', reconnect: true, retry_ms: 4000 } }
  const clients = Array.from({ length: 10 }, () => openFake())
  await pass(100)
  for (const { service } of clients) {
    service.say(comeBack)
    service.cut()
  }
  await pass(100)
  const waiting = clients.flatMap(({ states }) => waits(states))
  expect(new Set(waiting).size).toBe(10)
  expect(Math.min(...waiting)).toBeGreaterThanOrEqual(4000)
  expect(Math.max(...waiting)).toBeLessThanOrEqual(6000)
  await pass(3700)
  expect(clients.map(({ service }) => count(service, 'GET /events'))).toEqual(Array(10).fill(1))
  await pass(2300)
  expect(clients.map(({ stream }) => stream.state.name)).toEqual(Array(10).fill('live'))
})

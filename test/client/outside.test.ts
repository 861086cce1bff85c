import { describe, expect, it } from 'vitest'
import type { ConnectOptions, Transport } from '../../src/client/index.ts'
import { never, openFake, pass, tokenOf } from '../support/fake-client.ts'
import { FakeService } from '../support/fake-service.ts'

const TRANSPORTS: readonly Transport[] = ['sse', 'websocket', 'poll']

/** Everything that the client waits for and that may never come. */
const HANGS: Record<string, Partial<ConnectOptions>> = {
  getToken: { getToken: never },
  'store.load': { store: { load: never, save: () => {} } },
  'store.save': { store: { load: () => null, save: never } },
  'an event’s handler': { onEvent: never },
  'a handler of resets': { onReset: never, after: 'x.1.y' },
  'a fetch that heeds no signal': { fetch: never },
  'a WebSocket that never opens': {
    transport: 'websocket',
    WebSocket: class {
      onopen = null
      onmessage = null
      onclose = null
      onerror = null
      readonly readyState = 0
      send() {}
      close() {}
    },
  },
}

describe('close()', () => {
  it.each(Object.entries(HANGS))('ends a stream within a second while %s hangs', async (_, options) => {
    const client = openFake(options)
    await pass(100)
    client.service.make('alice')
    client.service.say({ type: 'stream.reset', data: { reason: 'epoch', cursor: 'e.1.c', oldest: 1 } })
    await pass(100)
    client.stream.close()
    await pass(1000)
    expect(client.ended).toBe(true)
    expect(client.stream.state).toEqual({ name: 'closed', reason: 'by_caller' })
    expect(client.service.open).toBe(0)
  })

  it.each(
    TRANSPORTS,
  )('lets a handler finish that takes less, and keeps its place: over %s', async (transport) => {
    const saved: string[] = []
    const client = openFake({
      transport,
      timing: { pollIntervalMs: 100 },
      store: { load: () => null, save: (cursor) => void saved.push(cursor) },
      onEvent: () => new Promise((resolve) => setTimeout(resolve, 500)),
    })
    await pass(100)
    client.service.make('alice', 2)
    await pass(200)
    client.stream.close()
    await pass(1000)
    expect(client.seqs).toEqual([1])
    expect(saved.at(-1)).toBe('e.1.calice')
  })

  it('leaves the cursor before an event whose handler takes longer', async () => {
    const saved: string[] = []
    const client = openFake({
      store: { load: () => null, save: (cursor) => void saved.push(cursor) },
      onEvent: () => new Promise((resolve) => setTimeout(resolve, 5000)),
    })
    await pass(100)
    client.service.make('alice')
    await pass(100)
    client.stream.close()
    await pass(10_000)
    expect(saved).toEqual(['e.0.calice'])
    expect(client.stream.cursor).toBe('e.0.calice')
  })

  it('can be waited for within a handler', async () => {
    let settled = false
    const client = openFake({
      onEvent: async () => {
        client.stream.close()
        await client.stream.done
        settled = true
      },
    })
    await pass(100)
    client.service.make('alice')
    await pass(1100)
    expect(settled).toBe(true)
  })

  it('ends a markRead that is not answered', async () => {
    const client = openFake()
    await pass(100)
    client.service.make('alice')
    await pass(100)
    client.service.intercept = (request) => (request.includes('/me/read') ? never() : undefined)
    const marked = client.stream.markRead().catch((error: unknown) => error)
    await pass(100)
    client.stream.close()
    await pass(1000)
    expect(await marked).toMatchObject({ reason: 'by_caller' })
    expect(await client.stream.markRead().catch((error: unknown) => error)).toMatchObject({
      reason: 'by_caller',
    })
  })
})

describe('what does not answer in time', () => {
  it('getToken is asked again', async () => {
    let asked = 0
    const client = openFake({ getToken: () => (asked++ === 0 ? never() : tokenOf('alice')) })
    await pass(11_000)
    expect(client.reasons).toEqual(['no token: getToken took longer than 10000 ms'])
    expect(client.stream.state.name).toBe('live')
  })

  it('store.load: events come again', async () => {
    const client = openFake({ store: { load: never, save: never } })
    client.service.make('alice', 2)
    await pass(10_100)
    expect(client.seqs).toEqual([1, 2])
  })

  it('markRead rejects', async () => {
    const client = openFake()
    await pass(100)
    client.service.make('alice')
    await pass(100)
    client.service.intercept = (request) => (request.includes('/me/read') ? never() : undefined)
    const marked = client.stream.markRead().catch((error: unknown) => error)
    await pass(10_000)
    expect(await marked).toMatchObject({ message: 'markRead took longer than 10000 ms' })
    expect(client.stream.state.name).toBe('live')
  })

  it('a fetch without an answer is aborted', async () => {
    const client = openFake({ fetch: never })
    await pass(20_000)
    expect(client.reasons).toContain('the service cannot be reached')
  })
})

describe('a handler that hangs', () => {
  it.each(
    TRANSPORTS,
  )('loses its connection meanwhile, and continues where it was: over %s', async (transport) => {
    let release = () => {}
    const hanging = new Promise<void>((resolve) => {
      release = resolve
    })
    const client = openFake({ transport, onEvent: ({ seq }) => (seq === 1 ? hanging : undefined) })
    await pass(100)
    client.service.make('alice', 3)
    await pass(35_000)
    expect(client.service.open).toBe(0)
    expect(client.stream.state).toEqual({
      name: 'waiting',
      reason: 'a handler is busy',
      retryInMs: Number.POSITIVE_INFINITY,
    })
    const asked = client.service.asked.length
    await pass(600_000)
    expect(client.service.asked.length).toBe(asked)
    client.service.make('alice', 2)
    release()
    await pass(100)
    expect(client.seqs).toEqual([1, 2, 3, 4, 5])
    expect(client.stream.state.name).toBe('live')
  })

  it.each([
    'sse',
    'websocket',
  ] as const)('is no sign that its connection is dead: over %s', async (transport) => {
    const client = openFake(
      { transport, onEvent: () => new Promise((resolve) => setTimeout(resolve, 20_000)) },
      Object.assign(new FakeService(), { heartbeatMs: 1000 }),
    )
    await pass(100)
    client.service.make('alice', 2)
    await pass(45_000)
    expect(client.seqs).toEqual([1, 2])
    expect(client.states.map(({ name }) => name)).toEqual(['connecting', 'live'])
  })

  it('holds a bounded number of messages of a WebSocket', async () => {
    const client = openFake({ transport: 'websocket', onEvent: never })
    await pass(100)
    client.service.make('alice', 1002)
    expect(client.service.open).toBe(0)
  })

  it('holds a megabyte of them at most', async () => {
    const client = openFake({ transport: 'websocket', onEvent: never })
    await pass(100)
    client.service.make('alice', 2)
    client.service.say({ type: 'unknown.to.us', data: 'x'.repeat(1 << 20) })
    expect(client.service.open).toBe(0)
  })

  it('may be a loop that does not ask for the next event', async () => {
    const service = openFake().service
    const { connect } = await import('../../src/client/index.ts')
    const stream = connect({ ...service.options, token: tokenOf('carol'), transport: 'sse' })
    const loop = (async () => {
      for await (const { seq } of stream) if (seq === 1) await never()
    })()
    void loop
    await pass(100)
    service.make('carol', 2)
    await pass(31_000)
    expect(service.open).toBe(1)
    stream.close()
    await pass(1000)
    await stream.done
  })
})

describe('a connection that is lost between its opening and the reset that follows', () => {
  it('leaves the cursor where it was, so that the reset is reported the next time', async () => {
    const client = openFake({ after: 'e.5.c' })
    await pass(100)
    client.service.say({
      type: 'stream.open',
      data: { cursor: 'e.9.c', oldest: 9, resumed: false, heartbeat_ms: 15_000, read: 'e.0', unread: 0 },
    })
    await pass(100)
    expect(client.stream.cursor).toBe('e.5.c')
    client.service.cut()
    await pass(1000)
    expect(client.service.asked.at(-1)).toBe('GET /events?last_event_id=e.5.c')
  })
})

describe('a message that is not JSON', () => {
  it.each(TRANSPORTS)('costs the connection, not the process: over %s', async (transport) => {
    let broken = true
    const service = new FakeService()
    const client = openFake(
      {
        transport,
        fetch: async (input, init) => {
          const response = await service.fetch(input, init)
          if (!broken || !String(input).includes('/events')) return response
          broken = false
          return new Response('data: {"type":\n\n', { headers: response.headers })
        },
        WebSocket: class extends service.webSocket() {
          constructor(url: string) {
            super(url)
            if (!broken) return
            broken = false
            queueMicrotask(() => this.onmessage?.({ data: '{"type":' } as never))
          }
        },
      },
      service,
    )
    await pass(5000)
    client.service.make('alice')
    await pass(5000)
    expect(client.seqs).toEqual([1])
  })
})

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Transport } from '../../src/client/index.ts'
import { BufferingProxy } from '../support/buffering-proxy.ts'
import { Follower, QUICK } from '../support/follower.ts'
import { type Environment, type Instance, spawnInstance, startInstance } from '../support/instance.ts'
import { openScene } from '../support/scene.ts'
import { upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

const TRANSPORTS: readonly Transport[] = ['sse', 'websocket', 'poll']
const STREAMS: readonly Transport[] = ['sse', 'websocket']
const ENVIRONMENT: Environment = { HEARTBEAT_INTERVAL_MS: '400', DRAIN_TIMEOUT_MS: '500', RATE_LIMIT: 'off' }
let instance: Instance
beforeAll(async () => {
  instance = await startInstance(ENVIRONMENT)
})
afterAll(() => instance.close())

const scene = () => openScene(instance.url)

/** A stand-in that behaves as no service should. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/base`
}

describe.each(TRANSPORTS)('over %s, while the instance', (transport) => {
  it.each([
    'SIGKILL',
    'SIGTERM',
  ] as const)('ends by %s and another comes, nothing is lost', async (signal) => {
    const { alice, make } = await scene()
    const environment = { ...ENVIRONMENT, DATABASE_URL: instance.database.url, MIGRATE: 'off' }
    let main = await spawnInstance(environment)
    onTestFinished(() => void main.child.kill('SIGKILL'))
    const follower = Follower.open({ url: main.url, token: alice.token, transport })
    await follower.live()
    await make(3)
    await follower.hears(3)
    const ended = main.kill(signal)
    await make(2)
    await ended
    await make(2)
    main = await spawnInstance({ ...environment, PORT: new URL(main.url).port })
    await make(2)
    await follower.hears(9)
    expect(follower.seqs).toEqual(upTo(9))
    expect(follower.resets).toEqual([])
    const waits = follower.states.flatMap((state) => (state.name === 'waiting' ? [state] : []))
    expect(waits.length).toBeGreaterThan(0)
    if (signal === 'SIGTERM' && transport !== 'poll')
      expect(waits[0]).toEqual({
        name: 'waiting',
        reason: 'the service says: draining',
        retryInMs: expect.toSatisfy((ms: number) => ms >= 500),
      })
  })
})

describe('tokens', () => {
  it('are renewed before they expire: over WebSocket in band, over SSE by another connection', async () => {
    const renews = async (transport: Transport) => {
      const { alice, make } = await scene()
      let given = 0
      const follower = Follower.open({
        url: alice.url,
        transport,
        getToken: () => signToken(alice.user, { expiresIn: given++ === 0 ? 4 : 3600 }),
      })
      await follower.live(transport === 'sse' ? 2 : 1)
      await follower.until(() => given === 2)
      // Past the first token's end the connection still stands.
      await new Promise((resolve) => setTimeout(resolve, 1500))
      await make(2)
      await follower.hears(2)
      expect(follower.seqs).toEqual([1, 2])
      expect(follower.states.filter(({ name }) => name === 'waiting')).toEqual([])
      expect(follower.transports).toHaveLength(transport === 'sse' ? 2 : 1)
      expect(given).toBe(2)
    }
    await Promise.all(STREAMS.map(renews))
  })

  it.each(TRANSPORTS)('that are refused over %s are replaced once', async (transport) => {
    const { alice, make } = await scene()
    const asked: boolean[] = []
    const follower = Follower.open({
      url: alice.url,
      transport,
      getToken: ({ refused }) => {
        asked.push(refused)
        return refused ? alice.token : 'stale'
      },
    })
    await follower.live()
    await make(1)
    await follower.hears(1)
    expect(asked).toEqual([false, true])
  })

  it.each(TRANSPORTS)('that stay refused over %s end the stream', async (transport) => {
    const follower = Follower.open({ url: instance.url, transport, getToken: () => 'bad' })
    await expect(follower.stream.done).rejects.toMatchObject({ reason: 'unauthorized', status: 401 })
    expect(follower.stream.state.name).toBe('closed')
  })

  it.each(STREAMS)('that expire with no other to be had end the stream over %s', async (transport) => {
    const { alice } = await scene()
    const token = await signToken(alice.user, { expiresIn: 2 })
    const follower = Follower.open({ url: alice.url, transport, token })
    await expect(follower.stream.done).rejects.toMatchObject({ reason: 'token_expired' })
  })

  it('that have expired are replaced for markRead too', async () => {
    const { alice, make } = await scene()
    await make(1)
    let given = 0
    const getToken = () => (given++ === 0 ? 'stale' : alice.token)
    const follower = Follower.open({ url: alice.url, transport: 'sse', after: 'oldest', getToken })
    await follower.hears(1)
    given = 0
    const late = Follower.open({ url: alice.url, transport: 'sse', getToken, fetch: heldUp() })
    await late.stream.markRead(follower.stream.cursor)
    expect(given).toBe(2)
    await follower.until(() => follower.stream.unread === 0)
  })

  it('that can’t be had at the moment are requested again', async () => {
    const { alice } = await scene()
    let asked = 0
    const getToken = () => {
      if (asked++ < 2) throw new Error('the issuer is away')
      return alice.token
    }
    const follower = Follower.open({ url: alice.url, transport: 'sse', getToken })
    await follower.live()
    expect(follower.states[1]).toMatchObject({ name: 'waiting', reason: 'no token: the issuer is away' })
  })
})

describe('a network that blocks streams', () => {
  it('is detected, and the poll takes over with nothing lost', async () => {
    const { alice, make } = await scene()
    const proxy = await BufferingProxy.start(alice.url)
    onTestFinished(() => proxy.close())
    const follower = Follower.open({ url: proxy.url, token: alice.token, after: 'oldest' })
    await make(2)
    await follower.live()
    await make(3)
    await follower.hears(5)
    expect(follower.seqs).toEqual(upTo(5))
    expect(follower.transports).toEqual(['poll'])
    const tried = follower.states.flatMap((state) => (state.name === 'connecting' ? [state.transport] : []))
    expect(tried).toEqual(['websocket', 'sse', 'poll'])
    expect(proxy.asked).toContain('upgrade /ws')
  })

  it('is tried again after a time, in case it has improved', async () => {
    const { alice, make } = await scene()
    let broken = true
    const flaky: typeof fetch = (input, init) =>
      broken && new Headers(init?.headers).get('accept') === 'text/event-stream'
        ? Promise.reject(new TypeError('fetch failed'))
        : fetch(input, init)
    const timing = { ...QUICK, upgradeMs: 300 }
    const follower = Follower.open({ ...alice, fetch: flaky, timing, WebSocket: Unreachable })
    await follower.live()
    await make(1)
    broken = false
    await follower.until(() => follower.transports.includes('sse'))
    await make(1)
    await follower.hears(2)
    expect(follower.transports[0]).toBe('poll')
    expect(follower.seqs).toEqual([1, 2])
  })
})

/** A network on which streams never open. */
function heldUp(): typeof fetch {
  return (input, init) => {
    if (new Headers(init?.headers).get('accept') !== 'text/event-stream') return fetch(input, init)
    return new Promise((_, reject) =>
      init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)),
    )
  }
}

/** A WebSocket that never gets anywhere. */
class Unreachable {
  onopen = null
  onmessage = null
  onerror = null
  onclose: ((event: never) => unknown) | null = null
  readonly readyState = 3
  constructor() {
    setTimeout(() => this.onclose?.({ code: 1006 } as never))
  }
  send() {}
  close() {}
}

describe('a stream that is closed', () => {
  it('sends no more requests, and is done at once in every state', async () => {
    const asked: string[] = []
    const url = await serve(({ url: path = '' }) => void asked.push(path))
    for (const transport of TRANSPORTS) {
      const follower = Follower.open({
        url,
        token: 'any',
        transport,
        timing: { ...QUICK, openTimeoutMs: 60_000 },
      })
      const before = asked.length
      await follower.until(() => asked.length > before)
      follower.stream.close()
      await follower.stream.done
      expect(asked.length).toBe(before + 1)
    }
    const controller = new AbortController()
    const waiting = Follower.open({
      url,
      getToken: () => Promise.reject(new Error('away')),
      signal: controller.signal,
    })
    await waiting.until(() => waiting.stream.state.name === 'waiting')
    controller.abort()
    await waiting.stream.done
    expect(waiting.states.at(-1)).toEqual({ name: 'closed', reason: 'by_caller' })
  })
})

describe('a callback that throws', () => {
  it.each(['onState', 'onUnread'])('ends the stream: %s', async (callback) => {
    const { alice } = await scene()
    const fail = () => {
      throw new Error('out of ink')
    }
    const follower = Follower.open({ ...alice, transport: 'sse', [callback]: fail })
    await expect(follower.stream.done).rejects.toMatchObject({
      reason: 'handler_failed',
      cause: { message: 'out of ink' },
    })
  })
})

describe('a service that', () => {
  it.each(STREAMS)('replaces the connection over %s gets no other', async (transport) => {
    const small = await startInstance({ ...ENVIRONMENT, MAX_CONNECTIONS_PER_USER: '1' }, instance)
    onTestFinished(() => small.close())
    const { alice } = await scene()
    const first = Follower.open({ ...alice.at(small.url), transport })
    await first.live()
    const second = Follower.open({ ...alice.at(small.url), transport })
    await expect(first.stream.done).rejects.toMatchObject({ reason: 'replaced' })
    expect(second.stream.state.name).toBe('live')
  })

  it('asks to wait is asked no sooner', async () => {
    const asked: number[] = []
    const url = await serve((_request, response) => {
      asked.push(Date.now())
      response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '1' })
      response.end('{"title":"Draining","detail":"This instance is stopping."}')
    })
    const follower = Follower.open({ url, token: 'any', transport: 'sse' })
    await follower.until(() => asked.length === 2)
    expect((asked[1] ?? 0) - (asked[0] ?? 0)).toBeGreaterThanOrEqual(995)
    expect(follower.states[1]).toMatchObject({ name: 'waiting', reason: 'This instance is stopping.' })
  })

  it('is full says so as a stream, and the client’s pause grows', async () => {
    const small = await startInstance({ ...ENVIRONMENT, MAX_CONNECTIONS: '1' }, instance)
    onTestFinished(() => small.close())
    const { alice, make } = await scene()
    const blocker = Follower.open({
      url: small.url,
      token: await signToken('blocker'),
      transport: 'websocket',
    })
    await blocker.live()
    let asked = 0
    const counting: typeof fetch = (input, init) => {
      asked++
      // The service asks for five seconds and more.
      return fetch(input, init).then(async (response) => {
        const text = response.body === null || asked > 2 ? undefined : await response.text()
        return text === undefined
          ? response
          : new Response(text.replaceAll(/(retry(?:_ms":|: ))\d+/g, '$1100'), response)
      })
    }
    const follower = Follower.open({ ...alice.at(small.url), transport: 'sse', fetch: counting })
    await follower.until(() => asked === 2)
    const waits = follower.states.flatMap((state) => (state.name === 'waiting' ? [state] : []))
    expect(waits[0]?.reason).toBe('the service says: overloaded')
    blocker.stream.close()
    await follower.live()
    await make(2)
    await follower.hears(2)
    expect(follower.seqs).toEqual(upTo(2))
  })

  it('refuses by a problem ends the stream; a proxy’s error page does not', async () => {
    const refusing = await serve((_request, response) => {
      response
        .writeHead(403, { 'content-type': 'application/problem+json' })
        .end('{"title":"Origin not allowed"}')
    })
    const refused = Follower.open({ url: refusing, token: 'any', transport: 'sse' })
    await expect(refused.stream.done).rejects.toMatchObject({
      reason: 'refused',
      message: 'Origin not allowed',
    })

    let asked = 0
    const proxy = await serve((_request, response) => {
      asked++
      response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>No such host</h1>')
    })
    const patient = Follower.open({ url: proxy, token: 'any', transport: 'sse' })
    await patient.until(() => asked > 4)
    expect(patient.stream.state.name).not.toBe('closed')
  })

  it('skips a number is asked for it again, and the gap is reported if it never comes', async () => {
    const asked: (string | null)[] = []
    const url = await serve((request, response) => {
      const after = new URL(request.url ?? '', 'http://any').searchParams.get('last_event_id')
      if (request.headers.accept === 'text/event-stream') asked.push(after)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const send = (message: object) => response.write(`data: ${JSON.stringify(message)}\n\n`)
      const from = Number(after?.split('.')[1] ?? 0)
      const data = {
        cursor: `e.${from}`,
        oldest: 1,
        resumed: after !== null,
        heartbeat_ms: 5000,
        read: 'e.0',
        unread: 0,
      }
      send({ type: 'stream.open', data })
      // 3 is never sent; what comes twice is no event of its own.
      for (const seq of [1, 2, 2, 4, 5].filter((each) => each > from))
        send({ id: `e.${seq}`, seq, type: 'story.viewed', data: {}, timestamp: '' })
    })
    const follower = Follower.open({ url, token: 'any', transport: 'sse' })
    await follower.hears(4)
    expect(follower.seqs).toEqual([1, 2, 4, 5])
    const gap = { expected: 3, received: 4 }
    expect(follower.gaps).toEqual([
      { ...gap, lost: false },
      { ...gap, lost: false },
      { ...gap, lost: false },
      { ...gap, lost: true },
    ])
    expect(asked).toEqual([null, 'e.2', 'e.2', 'e.2'])
  })

  it('is lost by many at once gets them back spread over the whole time', async () => {
    const url = await serve((_request, response) => response.destroy())
    const followers = Array.from({ length: 20 }, () =>
      Follower.open({
        url,
        token: 'any',
        transport: 'sse',
        timing: { ...QUICK, backoffMs: 10_000, backoffMaxMs: 10_000 },
      }),
    )
    const waits: number[] = []
    for (const follower of followers) {
      await follower.until(() => follower.stream.state.name === 'waiting')
      if (follower.stream.state.name === 'waiting') waits.push(follower.stream.state.retryInMs)
    }
    expect(Math.min(...waits)).toBeLessThan(5000)
    expect(Math.max(...waits)).toBeGreaterThan(5000)
    expect(Math.max(...waits)).toBeLessThanOrEqual(10_000)
  })
})

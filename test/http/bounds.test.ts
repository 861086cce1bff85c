import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import postgres from 'postgres'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Caller, call, newCallers, type Problem, type Reply } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { type Environment, type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
afterEach(() => instance.close())

async function scene(environment: Environment) {
  instance = await startInstance(environment)
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob }
}

function dial(): Socket {
  const { hostname, port } = new URL(instance.url)
  const socket = connect(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  return socket
}

async function metric(name: string): Promise<number> {
  const { text: metrics } = await call(instance.url, '/metrics')
  const line = metrics.split('\n').find((text) => text.startsWith(`${name} `))
  return Number(line?.split(' ').at(-1) ?? 0)
}

describe('the size of a request', () => {
  it('is bounded in its body (413), its URL (414) and its headers (431)', async () => {
    const { alice } = await scene({ BODY_MAX_BYTES: '300', URL_MAX_BYTES: '400', HEADER_MAX_BYTES: '2048' })
    const story = (length: number) =>
      alice.call<Problem>('POST', '/stories', { text: 'a'.repeat(length - '{"text":""}'.length) })
    expect((await story(300)).status).toBe(201)
    expect((await story(301)).json).toMatchObject({ type: 'urn:glimpse:problem:body_too_large', status: 413 })

    const path = (length: number) => call<Problem>(instance.url, `/${'a'.repeat(length - 1)}`)
    expect((await path(400)).status).toBe(404)
    expect((await path(401)).json).toMatchObject({ type: 'urn:glimpse:problem:url_too_long', status: 414 })

    const header = (length: number) =>
      call<Problem>(instance.url, '/livez', { headers: { 'x-long': 'a'.repeat(length) } })
    expect((await header(1024)).status).toBe(200)
    const tooLarge = await header(2048)
    expect(tooLarge.json).toMatchObject({ type: 'urn:glimpse:problem:headers_too_large', status: 431 })
    expect(await metric('glimpse_http_requests_total{route="none",status="431"}')).toBe(1)
  })
})

describe('sockets that ask for nothing', () => {
  it('are bounded per address, and leave room again when they go', async () => {
    await scene({ MAX_CONNECTIONS_PER_ADDRESS: '1' })
    // One is kept by the call before, for the next.
    expect((await call(instance.url, '/livez')).status).toBe(200)
    let closed = 0
    const sockets = Array.from({ length: 101 + 8 }, dial)
    for (const socket of sockets) {
      socket
        .on('close', () => {
          closed += 1
        })
        .on('error', () => {})
        .resume()
    }
    await vi.waitFor(() => expect(closed).toBe(8), 20_000)
    expect(await metric('glimpse_limited_total{limit="address_sockets"}')).toBe(8)
    for (const socket of sockets) socket.destroy()
    await vi.waitFor(async () => {
      const socket = dial()
      socket.write('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /)
    }, 20_000)
  })
})

describe('an idle connection', () => {
  it('is ended after the time that its last answer named', async () => {
    await scene({ KEEP_ALIVE_TIMEOUT_MS: '1000' })
    const socket = dial()
    socket.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n')
    const startedAt = performance.now()
    const answer = await text(socket)
    expect(answer).toContain('\r\nConnection: keep-alive\r\n')
    expect(answer).toContain('\r\nKeep-Alive: timeout=1\r\n')
    expect(performance.now() - startedAt).toBeGreaterThan(1000)
  })

  it('is named by no answer that is the last', async () => {
    await scene({})
    const socket = dial()
    socket.write('GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    const answer = await text(socket)
    expect(answer).toContain('\r\nConnection: close\r\n')
    expect(answer).not.toContain('Keep-Alive')
  })
})

describe('a stream', () => {
  it('outlives every timeout of requests between two heartbeats', async () => {
    const { alice, bob } = await scene({
      HEADERS_TIMEOUT_MS: '100',
      REQUEST_TIMEOUT_MS: '100',
      KEEP_ALIVE_TIMEOUT_MS: '100',
      STALL_TIMEOUT_MS: '100',
      HEARTBEAT_INTERVAL_MS: '300',
    })
    const sse = await openSse(alice)
    const ws = await openWebSocket(alice)
    await vi.waitFor(() => expect([sse.comments.length, ws.pings]).toEqual([2, 2]), 20_000)
    await bob.view(await alice.post())
    await Promise.all([sse.take(1), ws.take(1)])
  })
})

describe('what a WebSocket client sends', () => {
  it('is bounded in size: 1009', async () => {
    const { alice } = await scene({ MESSAGE_MAX_BYTES: '300' })
    const stream = await openWebSocket(alice)
    stream.send('a'.repeat(300))
    stream.send('a'.repeat(301))
    expect((await stream.closed).code).toBe(1009)
  })

  it.each(['messages', 'pings', 'pongs'])('is bounded in number: 1008 for 10,000 %s', async (kind) => {
    const { alice, bob } = await scene({ MESSAGES_PER_MINUTE: '60' })
    const stream = await openWebSocket(alice)
    const other = await openWebSocket(bob)
    for (let i = 0; i < 10_000; i += 1) {
      if (kind === 'messages') stream.send('x')
      else if (kind === 'pings') stream.socket.ping()
      else stream.socket.pong()
    }
    const { code, reason } = await stream.closed
    expect([code, reason]).toEqual([1008, 'too many messages'])
    expect(await metric('glimpse_limited_total{limit="messages"}')).toBe(1)
    await bob.view(await alice.post())
    await alice.view(await bob.post())
    await other.take(1)
  })

  it('is not limited by the pongs that answer our pings', async () => {
    const { alice } = await scene({ MESSAGES_PER_MINUTE: '6', HEARTBEAT_INTERVAL_MS: '50' })
    const stream = await openWebSocket(alice)
    await vi.waitFor(() => expect(stream.pings).toBeGreaterThan(20), 20_000)
    expect(stream.socket.readyState).toBe(stream.socket.OPEN)
  })
})

describe('requests that wait for Postgres', () => {
  it('are bounded: past MAX_WAITING_WRITES and MAX_WAITING_REQUESTS 503 says when to come back', async () => {
    const { alice, bob } = await scene({ MAX_WAITING_WRITES: '1', MAX_WAITING_REQUESTS: '1' })
    const story = await alice.post()
    const sql = postgres(instance.database.url, { max: 1 })
    onTestFinished(() => sql.end())
    let waiting: Promise<Reply>[] = []
    await sql.begin(async (held) => {
      await held`lock table glimpse.stories in access exclusive mode`
      const [read, view] = [
        alice.call('GET', `/stories/${story}`),
        bob.call('POST', `/stories/${story}/view`),
      ]
      for (const refused of [
        () => bob.call<Problem>('GET', `/stories/${story}`),
        () => alice.call<Problem>('POST', `/stories/${story}/view`),
      ]) {
        const reply = await vi.waitUntil(async () => {
          const { status, headers, json } = await refused()
          return status === 503 && { retryAfter: headers.get('retry-after'), type: json.type }
        }, 20_000)
        expect(reply).toEqual({ retryAfter: '1', type: 'urn:glimpse:problem:overloaded' })
      }
      waiting = [read, view]
    })
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200])
    expect(await metric('glimpse_limited_total{limit="waiting_requests"}')).toBeGreaterThanOrEqual(1)
    expect(await metric('glimpse_limited_total{limit="waiting_writes"}')).toBeGreaterThanOrEqual(1)
  })
})

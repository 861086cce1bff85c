import { spawnSync } from 'node:child_process'
import { type ClientHttp2Stream, connect } from 'node:http2'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { Follower } from '../deployment/follower.ts'
import { isInstalled, type ProxyKind, type RunningProxy, startProxy } from '../deployment/proxy.ts'
import { stablePort } from '../faults/prover/ports.ts'
import { type Caller, newCallers } from '../support/api.ts'
import { openEventSource } from '../support/clients/event-source.ts'
import { closing, open, STATUSES, STREAMING } from '../support/clients/index.ts'
import { openSse, SseReader } from '../support/clients/sse.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Instance, spawnInstance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'

const HEARTBEAT_MS = 250

let database: TestDatabase
let sql: postgres.Sql
let instances: [Instance, Instance]
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 3 })
  const start = () => startInstance({ HEARTBEAT_INTERVAL_MS: `${HEARTBEAT_MS}` }, { database })
  instances = await Promise.all([start(), start()])
})
afterAll(async () => {
  await Promise.all(instances.map((instance) => instance.close()))
  await sql.end()
  await database.drop()
})

/** SSE as one of many streams of an HTTP/2 connection. */
class Http2Stream extends SseReader {
  readonly #stream: ClientHttp2Stream

  constructor(stream: ClientHttp2Stream) {
    super()
    this.#stream = stream
    stream
      .setEncoding('utf8')
      .on('data', (chunk: string) => this.feed(chunk))
      .on('error', () => {}) // a cut connection; `close` follows
      .on('close', () => this.ended())
  }

  override close(): void {
    this.#stream.close()
  }

  override cut(): void {
    this.#stream.destroy()
  }
}

const urls = (): [string, string] => [instances[0].url, instances[1].url]

const proxied = async (...args: Parameters<typeof startProxy>): Promise<RunningProxy> => {
  const proxy = await startProxy(...args)
  onTestFinished(() => proxy.stop())
  return proxy
}

/** An author who calls through the proxy, with a story. */
async function author(url: string): Promise<{ caller: Caller; story: string }> {
  const [caller] = (await newCallers(url, 'author')) as [Caller]
  return { caller, story: await insertStory(sql, caller.user) }
}

describe.each(['nginx', 'haproxy', 'caddy'] satisfies ProxyKind[])('through %s', (kind) => {
  beforeEach(({ skip }) => skip(!isInstalled(kind), `${kind} is not installed`))

  it.each([
    ...STREAMING,
    'durable sse',
    'durable long-poll',
  ] as const)('each event comes when it happens: %s', async (transport) => {
    const { url } = await proxied(kind, urls())
    const { caller, story } = await author(url)
    const stream = await open(transport, caller)
    for (const viewer of ['one', 'two', 'three']) {
      await insertViews(sql, story, [viewer])
      await stream.take(1)
    }
    expect(stream.seqs).toEqual([1, 2, 3])
  })

  it('a stream is what the instance sends, from its headers on', async () => {
    const { url } = await proxied(kind, urls())
    const { caller } = await author(url)
    const [through, direct] = await Promise.all(
      [caller, caller.at(instances[0].url)].map((options) => closing(openSse(options))),
    )
    expect(through?.response.headers['content-type']).toBe(direct?.response.headers['content-type'])
    expect(through?.response.headers['cache-control']).toBe(direct?.response.headers['cache-control'])
    expect(through?.text).toBe(direct?.text)
  })

  it.each(STREAMING)('a client that was cut off resumes where it was: %s', async (transport) => {
    const { url } = await proxied(kind, urls())
    const { caller, story } = await author(url)
    const stream = await open(transport, caller)
    await insertViews(sql, story, ['one'])
    await stream.take(1)
    stream.cut()
    await insertViews(sql, story, ['two', 'three'])
    const resumed = await open(transport, { ...caller, lastEventId: stream.cursor })
    expect((await resumed.next('stream.open')).json.data.resumed).toBe(true)
    await resumed.take(2)
    expect(resumed.seqs).toEqual([2, 3])
  })

  it('over TLS and HTTP/2, many streams share one connection, each unbuffered', async ({ skip }) => {
    skip(kind === 'caddy', 'Caddy gets its certificates from an authority')
    skip(spawnSync('openssl', ['version']).status !== 0, 'openssl is not installed')
    const { url, tlsUrl } = await proxied(kind, urls(), { tls: true })
    const { caller, story } = await author(url)
    const session = connect(tlsUrl, { rejectUnauthorized: false })
    onTestFinished(() => session.destroy())
    const streams = await Promise.all(
      Array.from({ length: 8 }, () => {
        const request = session.request({ ':path': '/events', authorization: `Bearer ${caller.token}` })
        return closing(new Http2Stream(request).started())
      }),
    )
    for (const viewer of ['one', 'two']) {
      await insertViews(sql, story, [viewer])
      await Promise.all(streams.map((stream) => stream.take(1)))
    }
    expect(session.alpnProtocol).toBe('h2')
    for (const { seqs } of streams) expect(seqs).toEqual([1, 2])
  })

  it('heartbeats keep a quiet stream for longer than the proxy waits for silence', async () => {
    const idleSeconds = 1
    const { url } = await proxied(kind, urls(), { idleSeconds })
    const { caller, story } = await author(url)
    const sse = await closing(openSse(caller))
    const ws = await closing(openWebSocket(caller))
    const beats = (2000 * idleSeconds) / HEARTBEAT_MS
    await expect
      .poll(() => Math.min(sse.comments.length, ws.pings), { interval: 50, timeout: 20_000 })
      .toBeGreaterThan(beats)
    await insertViews(sql, story, ['one'])
    await Promise.all([sse.take(1), ws.take(1)])
  })

  it('a page that was served through it may open a WebSocket, another may not', async () => {
    const { url } = await proxied(kind, urls())
    const { caller } = await author(url)
    await closing(openWebSocket({ ...caller, origin: url }))
    await expect(openWebSocket({ ...caller, origin: 'https://elsewhere.example' })).rejects.toThrow('403')
  })

  it('a client counts as who the proxy heard from, whatever it says of itself', async () => {
    const instance = await startInstance({ TRUST_PROXY: '1', MAX_CONNECTIONS_PER_ADDRESS: '1' }, { database })
    onTestFinished(() => instance.close())
    const { url } = await proxied(kind, [instance.url, instance.url])
    const { caller } = await author(url)
    await closing(openSse(caller))
    const pretending = openSse({
      ...caller,
      headers: { ...STATUSES.headers, 'x-forwarded-for': '203.0.113.7' },
    })
    await expect(pretending).rejects.toThrow(/rejected with (429|503)/)
  })

  it('no token gets into its log, and no metrics out', async () => {
    // What it says of an instance that is not there would name the whole URL.
    const { url, log } = await proxied(kind, [`http://127.0.0.1:${await stablePort()}`, instances[1].url])
    const { caller } = await author(url)
    for (let n = 0; n < 4; n++) await fetch(`${url}/events?token=${caller.token}`, { method: 'HEAD' })
    const source = await closing(openEventSource('eventsource', caller))
    source.close()
    expect((await fetch(`${url}/events?token=${caller.token}x`)).status).toBe(401)
    for (const path of ['/metrics', '/%6detrics', '/%6Detrics'])
      expect((await fetch(`${url}${path}`)).status, path).toBe(404)
    await expect.poll(log).toMatch(kind === 'caddy' ? /"uri":"\/events".*"status":401/ : /\/events 401/)
    expect(await log()).not.toContain(caller.token)
  })

  describe('an instance that', () => {
    const COUNT = 60

    /** Two instances in processes of their own, 10 followers, views all the while; the signal goes to the first. */
    async function lose(signal: 'SIGTERM' | 'SIGKILL') {
      const spawn = async () => {
        const main = await spawnInstance({
          DATABASE_URL: database.url,
          MIGRATE: 'off',
          DRAIN_TIMEOUT_MS: '2000',
          MAX_CONNECTIONS_PER_USER: '100',
        })
        onTestFinished(() => void main.child.kill('SIGKILL'))
        return main
      }
      const [first, second] = await Promise.all([spawn(), spawn()])
      const { url } = await proxied(kind, [first.url, second.url])
      const { caller, story } = await author(url)
      const followers = await Promise.all(
        Array.from({ length: 10 }, (_, i) => new Follower().start(i % 2 === 0 ? 'sse' : 'ws', caller, COUNT)),
      )
      onTestFinished(() => followers.forEach((follower) => void follower.stop()))
      const viewers = await newCallers(url, ...Array.from({ length: COUNT }, () => 'viewer'))
      const written: number[] = []
      let ended: Promise<{ code: number | null }> | undefined
      for (const viewer of viewers) {
        if (written.length === COUNT / 3) ended = first.kill(signal)
        written.push((await viewer.call('POST', `/stories/${story}/view`)).status)
      }
      await Promise.all(followers.map((follower) => follower.done))
      return { followers, written, ended }
    }

    it('drains tells its streams; they go on at the other, and no write is refused', async () => {
      const { followers, written, ended } = await lose('SIGTERM')
      expect(new Set(written)).toEqual(new Set([200]))
      for (const { seqs, resets } of followers) {
        expect(seqs).toEqual(upTo(COUNT))
        expect(resets).toBe(0)
      }
      const endings = followers.flatMap(({ endings }) => endings)
      expect(new Set(endings)).toEqual(new Set(['draining']))
      expect(endings.length).toBeLessThan(followers.length)
      expect((await ended)?.code).toBe(0)
    })

    it('dies loses no event: its streams resume at the other', async () => {
      const { followers, written } = await lose('SIGKILL')
      expect(new Set(written)).toEqual(new Set([200]))
      for (const { seqs, resets } of followers) {
        expect(seqs).toEqual(upTo(COUNT))
        expect(resets).toBe(0)
      }
    })
  })
})

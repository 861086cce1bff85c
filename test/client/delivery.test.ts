import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import WebSocket from 'ws'
import { type CursorStore, connect, StreamError, type Transport } from '../../src/client/index.ts'
import type { GlimpseEvent } from '../../src/event.ts'
import { Follower, QUICK } from '../support/follower.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { EMOJI, openScene } from '../support/scene.ts'
import { insertViews, upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

const TRANSPORTS: readonly Transport[] = ['sse', 'websocket', 'poll']
let instance: Instance
beforeAll(async () => {
  instance = await startInstance({ HEARTBEAT_INTERVAL_MS: '400', RATE_LIMIT: 'off' })
})
afterAll(() => instance.close())

const scene = () => openScene(instance.url)

async function proxied() {
  const proxy = await TcpProxy.before(instance.url)
  onTestFinished(() => proxy.close())
  return proxy
}

function memoryStore(cursor?: string): CursorStore & { saved: string[] } {
  const saved: string[] = []
  return { saved, load: () => saved.at(-1) ?? cursor, save: (next) => void saved.push(next) }
}

describe.each(TRANSPORTS)('the client over %s', (transport) => {
  it('delivers new events in order, to one handler at a time', async () => {
    const { alice, make } = await scene()
    await make(2)
    let handling = 0
    const follower = Follower.open({
      ...alice,
      transport,
      onEvent: async () => {
        expect(++handling).toBe(1)
        await new Promise((resolve) => setTimeout(resolve, 2))
        handling--
      },
    })
    await follower.live()
    await make(5)
    await follower.hears(5)
    expect(follower.seqs).toEqual([3, 4, 5, 6, 7])
    expect(follower.stream.cursor).toBe(follower.events.at(-1)?.id)
    expect(follower.stream.state).toEqual({ name: 'live', transport })
    expect(follower.transports).toEqual([transport])
  })

  it('begins with the oldest event if asked to, and ends when it is closed', async () => {
    const { alice, make } = await scene()
    await make(3)
    const follower = Follower.open({ ...alice, transport, after: 'oldest' })
    await follower.hears(3)
    follower.stream.close()
    await follower.stream.done
    await make(1)
    expect(follower.seqs).toEqual([1, 2, 3])
    expect(follower.stream.state).toEqual({ name: 'closed', reason: 'by_caller' })
  })

  it('delivers every event once and in order while its connections are reset again and again', async () => {
    const { alice, make } = await scene()
    const proxy = await proxied()
    const follower = Follower.open({
      url: proxy.urlFor(alice.url),
      token: alice.token,
      transport,
      after: 'oldest',
    })
    await follower.live()
    for (let i = 0; i < 12; i++) {
      await make(4)
      proxy.resetAll()
    }
    await follower.hears(48)
    expect(follower.seqs).toEqual(upTo(48))
    expect(follower.gaps).toEqual([])
    expect(follower.resets).toEqual([])
  })

  it('notices a silent connection, and continues over another', async () => {
    const { alice, make } = await scene()
    const proxy = await proxied()
    const follower = Follower.open({
      url: proxy.urlFor(alice.url),
      token: alice.token,
      transport,
      timing: { ...QUICK, openTimeoutMs: 600, pollIntervalMs: 20 },
    })
    await follower.live()
    proxy.blackhole()
    await make(3)
    await follower.until(() => follower.stream.state.name !== 'live')
    proxy.heal()
    await follower.hears(3)
    expect(follower.seqs).toEqual([1, 2, 3])
  })

  it('parses a stream that arrives byte by byte', async () => {
    const { alice, make } = await scene()
    const proxy = await proxied()
    proxy.shape({ sliceBytes: 1 })
    const follower = Follower.open({
      url: proxy.urlFor(alice.url),
      token: alice.token,
      transport,
      after: 'oldest',
      timing: { ...QUICK, openTimeoutMs: 10_000 },
    })
    await make(3)
    await follower.hears(3)
    expect(follower.events.map(({ data }) => 'emoji' in data && data.emoji)).toEqual(EMOJI.slice(0, 3))
  })

  it('saves the cursor after the handler, and continues there', async () => {
    const { alice, make } = await scene()
    const store = memoryStore()
    const savedBefore: number[] = []
    const first = Follower.open({
      ...alice,
      transport,
      store,
      onEvent: () => void savedBefore.push(store.saved.length),
    })
    await first.live()
    await make(3)
    await first.hears(3)
    // The place where the stream began is saved too: a page that is closed before the first event misses nothing.
    expect(savedBefore).toEqual([1, 2, 3])
    first.stream.close()
    await first.stream.done
    await make(2)
    const second = Follower.open({ ...alice, transport, store })
    await second.hears(2)
    expect(second.seqs).toEqual([4, 5])
  })

  it('stops before the event on which the handler fails, and gets it again', async () => {
    const { alice, make } = await scene()
    const store = memoryStore()
    const failing = connect({
      ...alice,
      transport,
      store,
      after: 'oldest',
      WebSocket,
      timing: QUICK,
      onEvent: ({ seq }) => {
        if (seq === 2) throw new Error('out of paper')
      },
    })
    const failed = failing.done.catch((reason: unknown) => reason)
    await make(3)
    const error = await failed
    expect(error).toBeInstanceOf(StreamError)
    expect(error).toMatchObject({ reason: 'handler_failed', cause: { message: 'out of paper' } })
    const next = Follower.open({ ...alice, transport, store })
    await next.hears(2)
    expect(next.seqs).toEqual([2, 3])
  })

  it('reports a reset before any event that follows it', async () => {
    const { alice, make } = await scene()
    await make(2)
    const follower = Follower.open({ ...alice, transport, after: '0123abc.7' })
    await follower.live()
    await follower.until(() => follower.resets.length > 0)
    await make(1)
    await follower.hears(1)
    expect(follower.resets).toEqual([
      { reason: 'epoch', cursor: expect.stringMatching(/\.2\.[0-9a-f]+$/), oldest: 1 },
    ])
    expect(follower.seqs).toEqual([3])
    expect(follower.stream.unread).toBe(3)
  })

  it('counts what is unread, also after it was read elsewhere', async () => {
    const { alice, make } = await scene()
    await make(2)
    const [here, there] = [Follower.open({ ...alice, transport }), Follower.open({ ...alice, transport })]
    await Promise.all([here.live(), there.live()])
    expect(here.stream.unread).toBe(2)
    await make(1)
    await Promise.all([here.hears(1), there.hears(1)])
    expect(here.stream.unread).toBe(3)
    await here.stream.markRead()
    await there.until(() => there.stream.unread === 0)
    await make(1)
    await there.until(() => there.stream.unread === 1)
    expect(there.unread).toEqual([2, 3, 0, 1])
    await expect(here.stream.markRead('0123abc.1')).rejects.toMatchObject({ status: 409 })
  })

  it('can be iterated over; the cursor moves when the next event is asked for', async () => {
    const { alice, make } = await scene()
    await make(4)
    const stream = connect({ ...alice, transport, after: 'oldest', WebSocket, timing: QUICK })
    const seen: GlimpseEvent[] = []
    const cursors: unknown[] = []
    for await (const event of stream) {
      seen.push(event)
      cursors.push(stream.cursor)
      if (event.seq === 3) break
    }
    await stream.done
    expect(seen.map(({ seq }) => seq)).toEqual([1, 2, 3])
    expect(cursors.slice(1)).toEqual(seen.slice(0, 2).map(({ id }) => id))
    expect(stream.cursor).toBe(seen[1]?.id)
  })
})

describe('a handler that is slow', () => {
  it.each(TRANSPORTS)('still gets every event, with bounded memory: over %s', async (transport) => {
    const { alice, story } = await scene()
    let release = () => {}
    const busy = new Promise<void>((resolve) => {
      release = resolve
    })
    const follower = Follower.open({
      ...alice,
      transport,
      onEvent: ({ seq }) => (seq === 1 ? busy : undefined),
    })
    await follower.live()
    const sql = postgres(instance.database.url, { max: 1 })
    await insertViews(
      sql,
      story,
      upTo(2500).map((nth) => `viewer-${nth}`),
    )
    await sql.end()
    // Over WebSocket the socket is given up meanwhile; the events that had come are handled, the rest is resumed.
    await new Promise((resolve) => setTimeout(resolve, 500))
    release()
    await follower.hears(2500)
    expect(follower.seqs).toEqual(upTo(2500))
    expect(follower.transports.length).toBe(transport === 'websocket' ? 2 : 1)
  })
})

describe('tickets', () => {
  it('keep the token out of the URL; each connection takes a new one', async () => {
    const strict = await startInstance({ TOKEN_IN_URL: 'off', RATE_LIMIT: 'off' }, instance)
    onTestFinished(() => strict.close())
    const { alice, make } = await scene()
    const urls: string[] = []
    class Watched extends WebSocket {
      constructor(url: string) {
        super(url)
        urls.push(url)
      }
    }
    const proxy = await TcpProxy.before(strict.url)
    onTestFinished(() => proxy.close())
    const url = proxy.urlFor(strict.url)
    const follower = Follower.open({ url, token: alice.token, transport: 'websocket', WebSocket: Watched })
    await follower.live()
    await make(1)
    await follower.hears(1)
    proxy.resetAll()
    await make(1)
    await follower.hears(2)
    expect(follower.seqs).toEqual([1, 2])
    expect(urls.length).toBeGreaterThanOrEqual(2)
    const tickets = urls.map((each) => new URL(each).searchParams.get('ticket'))
    expect(new Set(tickets).size).toBe(urls.length)
    expect(urls.join()).not.toContain('token=')
  })
})

describe('the client that changes transports', () => {
  it('resumes one transport where the other ended', async () => {
    const { alice, make } = await scene()
    const store = memoryStore('0')
    const all: number[] = []
    for (let turn = 0; turn < 9; turn++) {
      const follower = Follower.open({ ...alice, store, transport: TRANSPORTS[turn % 3] as Transport })
      await make(2)
      await follower.hears(2)
      follower.stream.close()
      await follower.stream.done
      all.push(...follower.seqs)
    }
    expect(all).toEqual(upTo(18))
  })
})

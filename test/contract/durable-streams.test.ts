import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { stream as openClient } from '@durable-streams/client'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { GlimpseEvent } from '../../src/event.ts'
import { formatOffset } from '../../src/transport/stream-offset.ts'
import { type Call, type Caller, call, newCallers, type Problem, type Reply } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { type Environment, type Instance, spawnInstance, startInstance } from '../support/instance.ts'
import { openScene } from '../support/scene.ts'
import { readLog, upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

/** `GET` and `HEAD /me/stream` as its requests and answers are; the suites beside it drive it through the npm client. */

const HEARTBEAT_MS = 400
/** No heartbeat answers a long poll before what a test does has come to it, however slow the machine. */
let instance: Instance
/** For what is about heartbeats. */
let beating: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance({ HEARTBEAT_INTERVAL_MS: '60000', JWT_CLOCK_TOLERANCE_S: '0' })
  beating = await startInstance({ HEARTBEAT_INTERVAL_MS: String(HEARTBEAT_MS) }, instance)
  sql = postgres(instance.database.url, { max: 1 })
})
afterAll(async () => {
  await sql.end()
  await beating.close()
  await instance.close()
})

function read(caller: Caller, query = '', request: Call = {}): Promise<Reply<GlimpseEvent[]>> {
  return call<GlimpseEvent[]>(caller.url, `/me/stream${query}`, { token: caller.token, ...request })
}

async function history(events = 0) {
  const scene = await openScene(instance.url)
  await scene.make(events)
  return scene
}

async function tailOf(caller: Caller): Promise<string> {
  const { status, headers } = await read(caller, '', { method: 'HEAD' })
  expect(status).toBe(200)
  // That of a GET, if any (RFC 9110 §8.6).
  expect([headers.get('content-length'), headers.get('transfer-encoding')]).toEqual([null, null])
  return headers.get('stream-next-offset') ?? ''
}

const seqsOf = ({ json }: Reply<GlimpseEvent[]>) => json.map(({ seq }) => seq)

/** Waits until so many live reads of the caller are registered. */
async function waiting(caller: Caller, count = 1): Promise<void> {
  await expect
    .poll(async () => {
      const { json } = await caller.call<{ connections: { transport: string }[] }>('GET', '/me/connections')
      return json.connections.filter(({ transport }) => transport === 'durable-stream').length
    })
    .toBe(count)
}

/** Opens the stream and collects its text until `enough`, or its end. */
async function collect(
  caller: Caller,
  query: string,
  enough: (text: string) => boolean,
  token = caller.token,
) {
  const controller = new AbortController()
  onTestFinished(() => controller.abort())
  const response = await fetch(`${caller.url}/me/stream?${query}&live=sse`, {
    headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
    signal: controller.signal,
  })
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (enough(text)) break
  }
  controller.abort()
  return { headers: Object.fromEntries(response.headers), text }
}

describe('a page', () => {
  it('is an array of the events, byte for byte those of the poll', async () => {
    const { alice } = await history(3)
    const { status, headers, text } = await read(alice)
    const polled = await call(alice.url, '/events?after=0', {
      token: alice.token,
      headers: { accept: 'application/json' },
    })
    expect(status).toBe(200)
    expect(polled.text.startsWith(`{"events":${text},"cursor"`)).toBe(true)
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'stream-next-offset': await tailOf(alice),
      'stream-up-to-date': 'true',
      'stream-cursor': expect.stringMatching(/^\d+$/),
      etag: expect.stringMatching(/^"[^"]+"$/),
    })
  })

  it('begins where the last one ended, and says when there is no more', async () => {
    const { alice, story } = await history()
    await sql`insert into glimpse.story_views (story_id, viewer_id)
              select ${story}, 'viewer-' || n from generate_series(1, 450) n`
    const seqs: number[] = []
    const offsets: string[] = []
    for (let offset = '-1', upToDate = false; !upToDate; ) {
      const page = await read(alice, `?offset=${offset}`)
      seqs.push(...seqsOf(page))
      offset = page.headers.get('stream-next-offset') ?? ''
      offsets.push(offset)
      upToDate = page.headers.get('stream-up-to-date') === 'true'
      expect(upToDate).toBe(seqs.length === 450)
    }
    expect(seqs).toEqual(upTo(450))
    expect(offsets.length).toBeGreaterThan(2)
    expect(offsets.toSorted()).toEqual(offsets)
  })

  it('is empty at the tail and for a user without a stream, at the same offset', async () => {
    const { alice, bob } = await history(2)
    for (const caller of [alice, bob]) {
      const tail = await tailOf(caller)
      for (const offset of [tail, 'now']) {
        const { status, text, headers } = await read(caller, `?offset=${offset}`)
        expect([status, text]).toEqual([200, '[]'])
        expect(headers.get('stream-next-offset')).toBe(tail)
        expect(headers.get('stream-up-to-date')).toBe('true')
        expect(headers.has('etag')).toBe(offset !== 'now')
      }
    }
  })

  it('is 304 for its own ETag, until more happened, and never for that of another user', async () => {
    const { alice, make } = await history(2)
    const ask = (caller: Caller, tag: string) =>
      read(caller, '?offset=-1', { headers: { 'if-none-match': tag } })
    const tag = (await read(alice, '?offset=-1')).headers.get('etag') ?? ''
    for (const known of [tag, `W/${tag}`, `"other", ${tag}`]) {
      const { status, text, headers } = await ask(alice, known)
      expect([status, text, headers.get('etag')]).toEqual([304, '', tag])
      expect(headers.has('stream-next-offset')).toBe(true)
    }
    const other = await history(2)
    expect((await ask(other.alice, tag)).status).toBe(200)
    await make(1)
    expect(seqsOf(await ask(alice, tag))).toEqual(upTo(3))
  })

  it('needs a token, which is not taken from the URL', async () => {
    const { alice } = await history()
    expect((await call(alice.url, '/me/stream')).status).toBe(401)
    expect((await call(alice.url, `/me/stream?token=${alice.token}`)).status).toBe(401)
    const foreign = await read(alice, '', { headers: { origin: 'https://evil.example' } })
    expect(foreign.status).toBe(403)
  })

  it.each([
    ['offset', '?offset='],
    ['offset', '?offset=0'],
    ['offset', '?offset=nonsense'],
    ['offset', '?offset=0,1'],
    ['offset', '?offset=7f3a9c.3'],
    ['offset', '?offset=-1&offset=now'],
    ['offset', '?live=long-poll'],
    ['offset', '?live=sse'],
    ['live', '?offset=-1&live='],
    ['live', '?offset=-1&live=websocket'],
  ])('with a bad %s is 400: %s', async (field, query) => {
    const { alice } = await history()
    const { status, json } = await call<Problem>(alice.url, `/me/stream${query}`, { token: alice.token })
    expect([status, json.type, json.field]).toEqual([400, 'urn:glimpse:problem:invalid_field', field])
  })

  it.each(['PUT', 'POST', 'DELETE'])('is only read: %s is 405', async (method) => {
    const { alice } = await history()
    const { status, headers } = await read(alice, '', { method })
    expect(status).toBe(405)
    expect(headers.get('allow')).toBe('GET, OPTIONS')
  })
})

describe.each(['', '&live=long-poll', '&live=sse'])('an offset that cannot be continued%s', (live) => {
  const gone = async (caller: Caller, offset: string) => {
    const reply = await call<Problem>(caller.url, `/me/stream?offset=${offset}${live}`, {
      token: caller.token,
    })
    return [reply.status, reply.json?.type, reply.json?.field]
  }
  const LOST = [410, 'urn:glimpse:problem:lost_history', 'offset']

  it('is 410: the history before it is trimmed', async () => {
    const { alice } = await history(5)
    const first = (await read(alice)).json[0]?.id ?? ''
    await sql.begin(async (tx) => {
      await tx`delete from glimpse.events where user_id = ${alice.user} and seq < 4`
      await tx`update glimpse.streams set oldest = 4 where user_id = ${alice.user}`
    })
    expect(await gone(alice, formatOffset(first))).toEqual(LOST)
    // What is kept can still be had.
    expect(seqsOf(await read(alice, '?offset=-1'))).toEqual([4, 5])
  })

  it('is 410: the log lacks events after it that somebody removed by hand', async () => {
    const { alice } = await history(5)
    const second = (await read(alice)).json[1]?.id ?? ''
    await sql`delete from glimpse.events where user_id = ${alice.user} and seq = 3`
    expect(await gone(alice, formatOffset(second))).toEqual(LOST)
  })

  it('is 410: it is another user’s', async () => {
    const [{ alice }, other] = [await history(3), await history(3)]
    expect(await gone(alice, await tailOf(other.alice))).toEqual(LOST)
    expect(await gone(other.alice, await tailOf(alice))).toEqual(LOST)
  })

  it('is 410: it is from another history, or beyond the end', async () => {
    const { alice } = await history(2)
    const [epoch] = (await tailOf(alice)).split('.')
    expect(await gone(alice, '0123abc.0000000000000001')).toEqual(LOST)
    expect(await gone(alice, `${epoch}.0000000000000099`)).toEqual(LOST)
  })
})

describe('a long poll', () => {
  const wait = (caller: Caller, offset: string, request: Call = {}) =>
    read(caller, `?offset=${offset}&live=long-poll`, request)

  it('gives what is there already at once, and else what happens, with where it ends', async () => {
    const { alice, make } = await history(2)
    const there = await wait(alice, '-1')
    expect([there.status, seqsOf(there)]).toEqual([200, [1, 2]])
    const offset = there.headers.get('stream-next-offset') ?? ''
    const next = wait(alice, offset)
    const now = wait(alice, 'now')
    await waiting(alice, 2)
    await make(1)
    for (const reply of await Promise.all([next, now])) {
      expect([reply.status, seqsOf(reply)]).toEqual([200, [3]])
      expect(reply.headers.get('stream-next-offset')).toBe(await tailOf(alice))
      expect(reply.headers.get('stream-up-to-date')).toBe('true')
      expect(reply.headers.get('etag')).toMatch(/^".*"$/)
    }
    await waiting(alice, 0)
  })

  it('gives what was written together in one answer', async () => {
    const { alice, story } = await history()
    const next = wait(alice, 'now')
    await waiting(alice)
    // So few fit into one notification; more may come in several, and the first of them answers.
    await sql`insert into glimpse.story_views (story_id, viewer_id)
              select ${story}, 'viewer-' || n from generate_series(1, 25) n`
    const reply = await next
    expect(seqsOf(reply)).toEqual(upTo(25))
    const log = await readLog(sql, alice.user)
    expect(reply.json.map(({ id: _, ...body }) => JSON.stringify(body))).toEqual(log.map(({ body }) => body))
  })

  it('is 204 after a heartbeat in which nothing happened, with a cursor beyond the one it was sent', async () => {
    const alice = (await history(1)).alice.at(beating.url)
    const tail = await tailOf(alice)
    const startedAt = performance.now()
    const first = await wait(alice, tail)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(HEARTBEAT_MS * 0.9)
    const second = await read(
      alice,
      `?offset=${tail}&live=long-poll&cursor=${first.headers.get('stream-cursor')}`,
    )
    for (const { status, text, headers } of [first, second]) {
      expect([status, text]).toEqual([204, ''])
      expect(headers.get('stream-next-offset')).toBe(tail)
      expect(headers.get('stream-up-to-date')).toBe('true')
      expect(headers.has('stream-closed')).toBe(false)
    }
    const cursors = [first, second].map(({ headers }) => Number(headers.get('stream-cursor')))
    expect(cursors[1]).toBeGreaterThan(cursors[0] ?? 0)
  })

  it('counts as a connection for as long as it waits', async () => {
    const small = await startInstance({ MAX_CONNECTIONS: '1' }, instance)
    onTestFinished(() => small.close())
    const [alice] = (await newCallers(small.url, 'alice')) as [Caller]
    const controller = new AbortController()
    const left = fetch(`${small.url}/me/stream?offset=now&live=long-poll`, {
      headers: { authorization: `Bearer ${alice.token}` },
      signal: controller.signal,
    })
    await waiting(alice)
    const refused = await wait(alice, 'now')
    expect([refused.status, refused.headers.has('retry-after')]).toEqual([503, true])
    expect((await read(alice, '?offset=now&live=sse')).status).toBe(503)
    controller.abort()
    await expect(left).rejects.toThrow()
    await waiting(alice, 0)
    await open('sse', alice)
  })

  it('ends with its token, so that its client can bring another', async () => {
    const { alice } = await history()
    const token = await signToken(alice.user, { expiresIn: 2 })
    const { status, headers } = await wait(alice, 'now', { token })
    expect([status, headers.has('stream-closed')]).toEqual([204, false])
    expect((await wait(alice, 'now', { token })).status).toBe(401)
  })

  it('is told not to come back where its user ended it or a newer connection replaced it', async () => {
    const single = await startInstance(
      { HEARTBEAT_INTERVAL_MS: '60000', MAX_CONNECTIONS_PER_USER: '1' },
      instance,
    )
    onTestFinished(() => single.close())
    const [alice] = (await newCallers(single.url, 'alice')) as [Caller]
    const replaced = wait(alice, 'now')
    await waiting(alice)
    const closed = wait(alice, 'now')
    expect(await replaced.then(({ status, headers }) => [status, headers.get('stream-closed')])).toEqual([
      204,
      'true',
    ])
    await waiting(alice)
    const { json } = await alice.call<{ connections: { id: string }[] }>('GET', '/me/connections')
    await alice.call('DELETE', `/me/connections/${json.connections[0]?.id}`)
    expect((await closed).headers.get('stream-closed')).toBe('true')
  })

  it('is answered when its instance stops', async () => {
    const stopping = await startInstance({ HEARTBEAT_INTERVAL_MS: '60000' }, instance)
    onTestFinished(() => stopping.close())
    const [alice] = (await newCallers(stopping.url, 'alice')) as [Caller]
    const waited = wait(alice, 'now')
    await waiting(alice)
    await stopping.drain()
    const { status, headers } = await waited
    expect([status, headers.get('connection'), headers.has('stream-closed')]).toEqual([204, 'close', false])
  })
})

it('a live read that meets another history ends, and its offset is 410 from then on', async () => {
  const { alice } = await history(3)
  const tail = await tailOf(alice)
  const live = ['long-poll', 'sse'].map((mode) => read(alice, `?offset=${tail}&live=${mode}`))
  await waiting(alice, 2)
  await sql`delete from glimpse.events where user_id = ${alice.user} and seq > 1`
  await sql`update glimpse.streams set head = 1 where user_id = ${alice.user}`
  const [polled, streamed] = await Promise.all(live)
  expect(polled?.status).toBe(410)
  expect(streamed?.text).toMatch(/^event: control\ndata:.*\n\n$/)
  expect((await read(alice, `?offset=${tail}&live=sse`)).status).toBe(410)
}, 30_000)

describe('live=sse', () => {
  const frames = (text: string) =>
    text
      .split('\n\n')
      .filter((frame) => frame.startsWith('event: '))
      .map((frame) => {
        const [, event, data] = /^event: (\w+)\ndata:(.*)$/.exec(frame) ?? []
        return { event, data: JSON.parse(data ?? 'null') }
      })

  it('pairs each message of data with one that says where it ends', async () => {
    const { alice, make } = await history(3)
    let made = false
    const { headers, text } = await collect(alice, 'offset=-1', (so) => {
      if (so.includes('upToDate') && !made) {
        made = true
        void make(1)
      }
      return so.match(/upToDate.*\n\n/g)?.length === 2
    })
    expect(headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
    })
    const all = frames(text)
    expect(all.map(({ event }) => event)).toEqual(['data', 'control', 'data', 'control'])
    expect(
      all.filter(({ event }) => event === 'data').map(({ data }) => data.map((e: GlimpseEvent) => e.seq)),
    ).toEqual([[1, 2, 3], [4]])
    expect(all[3]?.data).toEqual({
      streamNextOffset: await tailOf(alice),
      streamCursor: expect.stringMatching(/^\d+$/),
      upToDate: true,
    })
  })

  it('gives a page of the log as one message', async () => {
    const { alice, story } = await history()
    await sql`insert into glimpse.story_views (story_id, viewer_id)
              select ${story}, 'viewer-' || n from generate_series(1, 90) n`
    const { text } = await collect(alice, 'offset=-1', (so) => /upToDate.*\n\n/.test(so))
    const [data, ...rest] = frames(text)
    expect(data?.data.map((event: GlimpseEvent) => event.seq)).toEqual(upTo(90))
    expect(rest.map(({ event }) => event)).toEqual(['control'])
  })

  it('says where it stands where there is nothing to give, and then keeps a silent connection alive', async () => {
    const alice = (await history(2)).alice.at(beating.url)
    const { text } = await collect(alice, 'offset=now', (so) => so.includes('\n:\n'))
    expect(frames(text)).toEqual([
      {
        event: 'control',
        data: { streamNextOffset: await tailOf(alice), streamCursor: expect.any(String), upToDate: true },
      },
    ])
  })

  it('says upToDate only where nothing more is on its way', async () => {
    const { alice, story } = await history()
    await sql`insert into glimpse.story_views (story_id, viewer_id)
              select ${story}, 'viewer-' || n from generate_series(1, 450) n`
    const { text } = await collect(alice, 'offset=-1', (so) => /upToDate.*\n\n/.test(so))
    const all = frames(text)
    const seqs = all
      .filter(({ event }) => event === 'data')
      .flatMap(({ data }) => data.map((e: GlimpseEvent) => e.seq))
    expect(seqs).toEqual(upTo(450))
    expect(all.length).toBeGreaterThan(4)
    expect(all.findIndex(({ data }) => data.upToDate)).toBe(all.length - 1)
  })

  it('ends with its token, and with streamClosed where it must not come back', async () => {
    const { alice } = await history(1)
    const token = await signToken(alice.user, { expiresIn: 2 })
    const ended = await collect(alice, 'offset=now', () => false, token)
    expect(frames(ended.text).at(-1)?.data).not.toHaveProperty('streamClosed')
    const single = await startInstance({ MAX_CONNECTIONS_PER_USER: '1' }, instance)
    onTestFinished(() => single.close())
    const here = alice.at(single.url)
    const replaced = collect(here, 'offset=now', () => false)
    await waiting(here)
    await open('sse', here)
    expect(frames((await replaced).text).at(-1)).toEqual({
      event: 'control',
      data: { streamNextOffset: await tailOf(alice), streamClosed: true },
    })
  })
})

// Both wait for the end of a token.
describe.concurrent.each(['long-poll', 'sse'] as const)('the npm client, live by %s', (live) => {
  it('resumes over a restart of the service, and over the end of its token', async ({
    expect,
    onTestFinished,
  }) => {
    const environment: Environment & { DATABASE_URL: string } = {
      DATABASE_URL: instance.database.url,
      MIGRATE: 'off',
      HEARTBEAT_INTERVAL_MS: String(HEARTBEAT_MS),
      JWT_CLOCK_TOLERANCE_S: '0',
    }
    const { alice, make } = await history(250)
    let main = await spawnInstance(environment)
    onTestFinished(() => void main.child.kill('SIGKILL'))
    const firstEnds = Date.now() + 4000
    const tokens = [await signToken(alice.user, { expiresIn: 4 }), alice.token]
    const session = await openClient<GlimpseEvent>({
      url: `${main.url}/me/stream`,
      offset: '-1',
      live,
      warnOnHttp: false,
      headers: { authorization: () => `Bearer ${tokens[Date.now() < firstEnds - 1500 ? 0 : 1]}` },
      backoffOptions: { initialDelay: 50, maxDelay: 300, multiplier: 2 },
    })
    onTestFinished(() => session.cancel())
    const seqs: number[] = []
    session.subscribeJson(({ items }) => {
      for (const { seq } of items) seqs.push(seq)
    })
    await expect.poll(() => seqs.length).toBe(250)
    await make(2)
    await expect.poll(() => seqs.length).toBe(252)
    await sleep(Math.max(0, firstEnds + 100 - Date.now()))
    await make(2)
    await expect.poll(() => seqs.length).toBe(254)
    await main.kill('SIGKILL')
    await make(2)
    main = await spawnInstance({ ...environment, PORT: new URL(main.url).port })
    await make(2)
    await expect.poll(() => seqs.length).toBe(258)
    expect(seqs).toEqual(upTo(258))
  }, 60_000)
})

describe('docs/durable-streams.md', () => {
  const block = async (kind: string) => {
    const text = await readFile('docs/durable-streams.md', 'utf8')
    return new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(text)?.[1] ?? ''
  }

  it('shows the frames as they are', async () => {
    const { alice, story } = await history()
    await sql`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'bob')`
    const [epoch = ''] = (await tailOf(alice)).split('.')
    const { text } = await collect(alice, 'offset=-1', (so) => /upToDate.*\n\n/.test(so))
    const shape = (frames: string) =>
      frames
        .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
        .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
        .replaceAll(epoch, '7f3a9c')
        .replaceAll(/(7f3a9c\.\d+)\.[0-9a-f]+/g, '$1.CHECK')
        .replaceAll(/\d+/g, (digits) => 'N'.repeat(digits.length > 10 ? digits.length : 1))
    expect(shape(text).trim()).toBe(shape(await block('durable')).trim())
  })

  it('has lines that work as they stand', async () => {
    const { alice, make } = await history(2)
    const code = (await block('ts'))
      .replace(/^import .*$/m, '')
      .replace('https://glimpse.example.com', alice.url)
    const shown: GlimpseEvent[] = []
    const stored = new Map<string, string>()
    const AsyncFunction = (async () => {}).constructor as FunctionConstructor
    const session = await new AsyncFunction(
      'stream',
      'getToken',
      'show',
      'localStorage',
      `${code}; return session`,
    )(
      (options: Parameters<typeof openClient>[0]) => openClient({ ...options, warnOnHttp: false }),
      async () => alice.token,
      (event: GlimpseEvent) => shown.push(event),
      { setItem: (name: string, value: string) => stored.set(name, value) },
    )
    onTestFinished(() => session.cancel())
    await make(1)
    await expect.poll(() => shown.map(({ seq }) => seq)).toEqual(upTo(3))
    expect(stored.get('offset')).toBe(await tailOf(alice))
  })
})

import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { poll } from '../support/clients/poll.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { type Instance, startInstance } from '../support/instance.ts'

interface Mark {
  readonly cursor: string
  readonly unread: number
}

let instance: Instance
let other: Instance
beforeAll(async () => {
  instance = await startInstance()
  other = await startInstance({}, { database: instance.database })
})
afterAll(async () => {
  await other.close()
  await instance.close()
})

function readPage({ url, token }: Caller) {
  return call<{ cursor: string }>(url, '/events', { token, headers: { accept: 'application/json' } })
}

/** An author with three events, none of them read, and the cursor after each of them (the first: before any). */
async function scene() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  const story = await alice.post()
  for (const emoji of ['❤️', '🔥', '👍']) await bob.react(story, emoji)
  const page = await poll({ url: alice.url, token: alice.token, lastEventId: '0' })
  const cursors = [page.json.read, ...page.json.events.map(({ id }) => id)]
  const at = (seq: number) => cursors[seq] ?? `${page.json.read.split('.')[0]}.${seq}`
  return {
    alice,
    at,
    more: () => bob.view(story),
    mark: (seq: number, url = instance.url) =>
      alice.at(url).call<Mark>('PUT', '/me/read', { cursor: at(seq) }),
  }
}

describe('what a user has read', () => {
  it('moves forward, never back, and says how many are left', async () => {
    const { mark, at, more } = await scene()
    for (const [seq, expected] of [
      [2, { cursor: at(2), unread: 1 }],
      [1, { cursor: at(2), unread: 1 }],
      [0, { cursor: at(2), unread: 1 }],
      [3, { cursor: at(3), unread: 0 }],
      [3, { cursor: at(3), unread: 0 }],
    ] as const) {
      const reply = await mark(seq)
      expect(reply.status).toBe(200)
      expect(reply.json).toEqual(expected)
    }
    await more()
    expect((await mark(3)).json).toEqual({ cursor: at(3), unread: 1 })
  })

  it('is the furthest of many marks that come at once, on two instances', async () => {
    const { mark, at } = await scene()
    const seqs = Array.from({ length: 30 }, (_, i) => (i * 7) % 4)
    await Promise.all(seqs.map((seq, i) => mark(seq, i % 2 === 0 ? instance.url : other.url)))
    expect((await mark(0)).json).toEqual({ cursor: at(3), unread: 0 })
  })

  it('is 0 of 0 for a user without a stream', async () => {
    const [nobody] = (await newCallers(instance.url, 'nobody')) as [Caller]
    const { json: page } = await readPage(nobody)
    const reply = await nobody.call('PUT', '/me/read', { cursor: page.cursor })
    expect(reply.json).toEqual({ cursor: page.cursor, unread: 0 })
  })

  it.each(
    STREAMING,
  )('stands in stream.open over %s, and every open stream hears of it once', async (transport) => {
    const { alice, at, mark } = await scene()
    const streams = await Promise.all(
      [instance, instance, other].map(({ url }) => open(transport, alice.at(url))),
    )
    for (const stream of streams)
      expect(stream.messages[0]?.json.data).toMatchObject({ read: at(0), unread: 3 })
    await mark(2)
    await mark(1)
    await mark(3)
    for (const stream of streams) {
      expect((await stream.next('stream.read')).json.data).toEqual({ cursor: at(2), unread: 1 })
      expect((await stream.next('stream.read')).json.data).toEqual({ cursor: at(3), unread: 0 })
    }
    const fresh = await open(transport, alice)
    expect(fresh.messages[0]?.json.data).toMatchObject({ read: at(3), unread: 0 })
  })

  it('is no place to resume from: over SSE it comes without an id', async () => {
    const { alice, mark } = await scene()
    const stream = await open('sse', alice)
    await mark(1)
    const { sse } = await stream.next('stream.read')
    expect(sse).toEqual({ id: undefined, event: 'stream.read' })
  })

  it('reaches open streams through the log where its notification was lost', async () => {
    const { alice, at } = await scene()
    const stream = await open('ws', alice)
    const sql = postgres(instance.database.url, { max: 1 })
    await sql`update glimpse.streams set read = 2 where user_id = ${alice.user}`
    await sql.end()
    // Nobody noted when the event there was logged, as an instance of 0.1 does not: the cursor has no check.
    expect((await stream.next('stream.read')).json.data).toEqual({
      cursor: at(2).split('.').slice(0, 2).join('.'),
      unread: 1,
    })
  })

  it('leaves out of the count what is no longer kept', async () => {
    const { alice, at, mark } = await scene()
    const sql = postgres(instance.database.url, { max: 1 })
    await sql`delete from glimpse.events where user_id = ${alice.user} and seq < 3`
    await sql`update glimpse.streams set oldest = 3 where user_id = ${alice.user}`
    await sql.end()
    expect((await readPage(alice)).json).toMatchObject({ read: at(0), unread: 1 })
    // When the event there was logged is no longer known.
    expect((await mark(1)).json).toEqual({ cursor: at(1).split('.').slice(0, 2).join('.'), unread: 1 })
  })

  it.each([
    ['a mark', 'read = 1000'],
    ['an edge', 'oldest = 1000'],
    ['a mark before the beginning', 'read = -5, oldest = -5'],
  ])('takes %s that is out of place for the nearest that is possible', async (_what, change) => {
    const { alice, at, mark } = await scene()
    const sql = postgres(instance.database.url, { max: 1 })
    await sql`update glimpse.streams set ${sql.unsafe(change)} where user_id = ${alice.user}`
    await sql.end()
    expect((await mark(3)).json).toEqual({ cursor: at(3), unread: 0 })
    expect((await readPage(alice)).json).toMatchObject({ read: at(3), unread: 0 })
  })

  it.each<[string, (at: (seq: number) => string) => string, number, string]>([
    ['beyond the end of the stream', (at) => at(4), 409, 'foreign_cursor'],
    ['from another history', () => '0123abc.1', 409, 'foreign_cursor'],
    ['of an event that was logged at another time', (at) => `${at(1)}1`, 409, 'foreign_cursor'],
    ['with the check of another number', (at) => at(1).replace('.1.', '.2.'), 409, 'foreign_cursor'],
    ['that is none', () => 'nonsense', 400, 'invalid_field'],
    ['0', () => '0', 400, 'invalid_field'],
    ['that is empty', () => '', 400, 'invalid_field'],
  ])('refuses a cursor %s', async (_what, cursorOf, status, code) => {
    const { alice, at, mark } = await scene()
    const reply = await alice.call('PUT', '/me/read', { cursor: cursorOf(at) })
    expect(reply.json).toMatchObject({ status, type: `urn:glimpse:problem:${code}`, field: 'cursor' })
    expect((await mark(0)).json).toEqual({ cursor: at(0), unread: 3 })
  })

  it('is answered in bounded time where the stream’s row is locked', async () => {
    const { alice, at, mark } = await scene()
    const sql = postgres(instance.database.url, { max: 1 })
    try {
      await sql.begin(async (transaction) => {
        await transaction`select from glimpse.streams where user_id = ${alice.user} for update`
        const reply = await mark(1)
        expect(reply.status).toBe(503)
        expect(reply.headers.get('retry-after')).toBe('1')
      })
    } finally {
      await sql.end()
    }
    expect((await mark(1)).json).toEqual({ cursor: at(1), unread: 2 })
  })
})

describe('ping over WebSocket', () => {
  it('is answered to a client that asked for it', async () => {
    const { alice } = await scene()
    const stream = await openWebSocket({ ...alice, pings: true })
    stream.send({ type: 'ping' })
    expect((await stream.next('stream.pong')).raw).toBe('{"type":"stream.pong","data":{}}')
    stream.close()
  })

  it('is ignored, like any other message, where nobody did', async () => {
    const { alice, mark } = await scene()
    const stream = await openWebSocket(alice)
    stream.send({ type: 'ping' })
    await mark(1)
    await stream.next('stream.read')
    expect(stream.messages.map(({ json }) => json.type)).not.toContain('stream.pong')
    stream.close()
  })
})

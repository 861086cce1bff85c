import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { closing, open, STREAMING, TRANSPORTS } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { EMOJI } from '../support/scene.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

/** An author with six events in the log, their texts, and the cursor after each of them (the first: before any). */
async function history() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  const stream = await closing(openSse(alice))
  const story = await alice.post()
  for (const emoji of EMOJI) await bob.react(story, emoji)
  const events = await stream.take(EMOJI.length)
  const opened = stream.messages[0]?.json
  const start = opened?.type === 'stream.open' ? opened.data.cursor : ''
  stream.close()
  return {
    alice,
    /** Makes one more event. */
    more: () => bob.view(story),
    raws: events.map(({ raw }) => raw),
    cursors: [start, ...events.map(({ json }) => json.id)],
  }
}

describe.each(TRANSPORTS)('resuming over %s', (transport) => {
  it('continues after every position, then live', async () => {
    const { alice, more, raws, cursors } = await history()
    const streams = await Promise.all(
      cursors.map((lastEventId) => open(transport, { url: alice.url, token: alice.token, lastEventId })),
    )
    await more()
    for (const [position, stream] of streams.entries()) {
      const events = await stream.take(raws.length - position + 1)
      expect(events.slice(0, -1).map(({ raw }) => raw)).toEqual(raws.slice(position))
      expect(events.at(-1)?.json).toMatchObject({ seq: raws.length + 1, type: 'story.viewed' })
    }
  })

  it('gives all that is kept for 0', async () => {
    const { alice, more, raws } = await history()
    const stream = await open(transport, { url: alice.url, token: alice.token, lastEventId: '0' })
    await more()
    const events = await stream.take(raws.length + 1)
    expect(events.slice(0, -1).map(({ raw }) => raw)).toEqual(raws)
  })

  it('starts from now where nothing is asked', async () => {
    const { alice, more, raws } = await history()
    const stream = await open(transport, alice)
    await more()
    const [event] = await stream.take(1)
    expect(event?.json.seq).toBe(raws.length + 1)
  })

  it('carries on through many breaks without a gap or a repetition', async () => {
    const { alice, more, raws } = await history()
    await more()
    const seqs: number[] = []
    let lastEventId = '0'
    while (seqs.length < raws.length + 1) {
      const stream = await open(transport, { url: alice.url, token: alice.token, lastEventId })
      const [event] = await stream.take(1)
      stream.cut()
      seqs.push(event?.json.seq ?? 0)
      lastEventId = event?.json.id ?? ''
    }
    expect(seqs).toEqual([1, 2, 3, 4, 5, 6, 7])
  })

  it.each(TRANSPORTS)('continues from a cursor that came over %s', async (before) => {
    const { alice, more, cursors } = await history()
    const first = await open(before, { url: alice.url, token: alice.token, lastEventId: cursors[3] ?? '' })
    await first.take(3)
    const lastEventId = first.cursor
    first.cut()
    await more()
    const second = await open(transport, { url: alice.url, token: alice.token, lastEventId })
    const [event] = await second.take(1)
    expect(event?.json).toMatchObject({ seq: 7, type: 'story.viewed' })
  })
})

describe.each(STREAMING)('stream.open over %s', (transport) => {
  it('comes first, names the place the stream starts from, and says that nothing was resumed', async () => {
    const [alice] = (await newCallers(instance.url, 'alice')) as [Caller]
    const stream = await open(transport, alice)
    expect(stream.messages[0]?.raw).toMatch(
      /^\{"type":"stream\.open","data":\{"cursor":"([0-9a-z]{1,32}\.0\.[0-9a-z]{1,16})","oldest":1,"resumed":false,"heartbeat_ms":15000,"read":"\1","unread":0\}\}$/,
    )
  })

  it('names head and the oldest event kept for a stream with history', async () => {
    const { alice, cursors } = await history()
    const stream = await open(transport, alice)
    expect(stream.messages[0]?.json).toEqual({
      type: 'stream.open',
      data: {
        cursor: cursors[6],
        oldest: 1,
        resumed: false,
        heartbeat_ms: 15_000,
        read: cursors[0],
        unread: 6,
      },
    })
  })

  it('confirms the cursor it resumes after', async () => {
    const { alice, raws, cursors } = await history()
    const stream = await open(transport, {
      url: alice.url,
      token: alice.token,
      lastEventId: cursors[4] ?? '',
    })
    await stream.take(2)
    expect(stream.messages.map(({ json }) => json)).toEqual([
      {
        type: 'stream.open',
        data: {
          cursor: cursors[4],
          oldest: 1,
          resumed: true,
          heartbeat_ms: 15_000,
          read: cursors[0],
          unread: 6,
        },
      },
      ...raws.slice(4).map((raw) => JSON.parse(raw)),
    ])
  })

  it('has a cursor that resumes, though the connection was lost before its first event', async () => {
    const { alice, more } = await history()
    const first = await open(transport, alice)
    const lastEventId = first.cursor
    first.cut()
    await more()
    const second = await open(transport, { url: alice.url, token: alice.token, lastEventId })
    const [event] = await second.take(1)
    expect(event?.json.seq).toBe(7)
    expect(second.messages[0]?.json).toMatchObject({ data: { resumed: true } })
  })
})

describe('the ways to give SSE a cursor', () => {
  const asQuery = (cursor: string) => `/events?last_event_id=${encodeURIComponent(cursor)}`

  it('takes it from the query', async () => {
    const { alice, raws, cursors } = await history()
    const stream = await closing(
      openSse({ url: alice.url, token: alice.token, path: asQuery(cursors[2] ?? '') }),
    )
    expect((await stream.take(4)).map(({ raw }) => raw)).toEqual(raws.slice(2))
  })

  it('takes 0 from the query', async () => {
    const { alice, raws } = await history()
    const stream = await closing(openSse({ url: alice.url, token: alice.token, path: asQuery('0') }))
    expect((await stream.take(6)).map(({ raw }) => raw)).toEqual(raws)
  })

  it('prefers the Last-Event-ID header, which an EventSource sends when it reconnects to the same URL', async () => {
    const { alice, raws, cursors } = await history()
    const stream = await closing(
      openSse({
        url: alice.url,
        token: alice.token,
        path: asQuery(cursors[1] ?? ''),
        lastEventId: cursors[4] ?? '',
      }),
    )
    expect((await stream.take(2)).map(({ raw }) => raw)).toEqual(raws.slice(4))
  })
})

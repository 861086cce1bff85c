import fc from 'fast-check'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isUserId } from '../../src/event.ts'
import { Caller, call, newCallers, type Problem, type Reaction, type Story } from '../support/api.ts'
import { open, TRANSPORTS } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { countCases, times } from './support/full.ts'
import { NAUGHTY } from './support/naughty.ts'

let instance: Instance
let author: Caller
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

async function newStory(): Promise<string> {
  ;[author] = (await newCallers(instance.url, 'author')) as [Caller]
  return author.post()
}

/** Streams of the author over every transport, all of which must have the same. */
const openAll = () => Promise.all(TRANSPORTS.map((transport) => open(transport, author)))

describe('the Big List of Naughty Strings', () => {
  it('as user names: good ones get in and arrive as they are, the others are told which field', async (context) => {
    const story = await newStory()
    const streams = await openAll()
    const users = [...new Set(NAUGHTY)]
    const replies = await Promise.all(
      users.map((user) =>
        call<{ token: string } & Problem>(instance.url, '/dev/tokens', { method: 'POST', json: { user } }),
      ),
    )
    const viewed: string[] = []
    for (const [i, user] of users.entries()) {
      const { status, json } = replies[i] as (typeof replies)[number]
      expect([user, status]).toEqual([user, isUserId(user) ? 200 : 400])
      if (status === 400) {
        expect(json).toMatchObject({ field: 'user' })
        continue
      }
      // One after the other: that is the order in which they have to arrive.
      const { viewer_id } = await new Caller(instance.url, user, json.token).view(story)
      expect(viewer_id).toBe(user)
      viewed.push(user)
    }
    expect(viewed.length).toBeGreaterThan(400)
    for (const stream of streams) expect(viewersOf(await stream.take(viewed.length))).toEqual(viewed)
    countCases(context, NAUGHTY.length)
  })

  it('as texts: they come back as they were sent', async (context) => {
    await newStory()
    const tryText = async (text: string) => {
      const reply = await author.call<Story & Problem>('POST', '/stories', { text })
      if (/[\0\ud800-\udfff]/u.test(text)) {
        expect([reply.status, reply.json.field]).toEqual([400, 'text'])
        return
      }
      expect([text, reply.status]).toEqual([text, 201])
      expect((await author.story(reply.json.id)).text).toBe(text)
    }
    await Promise.all(NAUGHTY.map(tryText))
    countCases(context, NAUGHTY.length)
  })

  it('as emoji: one emoji is one, everything else is refused', async (context) => {
    const story = await newStory()
    const streams = await openAll()
    const [reader] = (await newCallers(instance.url, 'reader')) as [Caller]
    const accepted: string[] = []
    for (const emoji of [...NAUGHTY, ...NAUGHTY.flatMap((text) => [...text]).slice(-300), '👩‍👩‍👧‍👦', '🏴󠁧󠁢󠁥󠁮󠁧󠁿']) {
      const reply = await reader.call<Reaction & Problem>('POST', `/stories/${story}/reactions`, { emoji })
      expect([emoji, reply.status]).toEqual([emoji, /^\p{RGI_Emoji}$/v.test(emoji) ? 200 : 400])
      if (reply.status === 400) expect(reply.json.field).toBe('emoji')
      else if (reply.json.recorded) accepted.push(emoji)
    }
    expect(accepted.length).toBeGreaterThan(2)
    for (const stream of streams) {
      const events = await stream.take(accepted.length)
      expect(events.map(({ json }) => ('emoji' in json.data ? json.data.emoji : ''))).toEqual(accepted)
    }
    countCases(context, NAUGHTY.length)
  })
})

it('any user name that the tables take arrives as it is, over every transport', async (context) => {
  const story = await newStory()
  const streams = await openAll()
  const count = times(500, 5000)
  const names = fc.sample(
    fc.oneof(fc.string({ unit: 'binary', maxLength: 140 }), fc.string({ unit: 'grapheme', maxLength: 60 })),
    { numRuns: count },
  )
  const viewers = [...new Set(names)].filter(isUserId)
  expect(viewers.length).toBeGreaterThan(count / 2)
  const sql = postgres(instance.database.url, { max: 1 })
  try {
    for (const viewer of viewers)
      await sql`INSERT INTO glimpse.story_views (story_id, viewer_id) VALUES (${story}, ${viewer})`
  } finally {
    await sql.end()
  }
  for (const stream of streams) expect(viewersOf(await stream.take(viewers.length, 60_000))).toEqual(viewers)
  countCases(context, viewers.length)
}, 120_000)

function viewersOf(events: readonly { readonly json: { readonly data: object } }[]): unknown[] {
  return events.map(({ json }) => ('viewer_id' in json.data ? json.data.viewer_id : undefined))
}

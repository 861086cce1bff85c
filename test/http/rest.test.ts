import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers, type Problem, type Reaction, type Story } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const RFC3339_UTC_MS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

let instance: Instance
let sql: postgres.Sql
let alice: Caller
let bob: Caller
beforeAll(async () => {
  instance = await startInstance()
  sql = postgres(instance.database.url, { max: 1 })
  ;[alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

async function expiredStory(): Promise<string> {
  const story = await alice.post()
  await sql`update glimpse.stories set created_at = now() - interval '2 days', expires_at = now() - interval '1 day'
             where id = ${story}`
  return story
}

describe('POST /stories', () => {
  it('creates a story of the caller that lives for a day', async () => {
    const { status, headers, json } = await alice.call<Story>('POST', '/stories', { text: 'Sunrise ☀️' })
    expect(status).toBe(201)
    expect(headers.get('content-type')).toMatch(/^application\/json\b/)
    expect(json).toEqual({
      id: expect.stringMatching(UUID),
      author_id: alice.user,
      text: 'Sunrise ☀️',
      created_at: expect.stringMatching(RFC3339_UTC_MS),
      expires_at: expect.stringMatching(RFC3339_UTC_MS),
      views: 0,
      reactions: {},
    })
    expect(new URL(headers.get('location') ?? '', instance.url).pathname).toBe(`/stories/${json.id}`)
    expect(Date.parse(json.expires_at) - Date.parse(json.created_at)).toBe(24 * 3600 * 1000)
    expect(await bob.story(json.id)).toEqual(json)
  })

  it.each([1, 604_800])('lets it live for expires_in: %i s', async (expires_in) => {
    const { json } = await alice.call<Story>('POST', '/stories', { expires_in })
    expect(Date.parse(json.expires_at) - Date.parse(json.created_at)).toBe(expires_in * 1000)
  })

  it.each([
    '',
    '😀'.repeat(1000),
    'x'.repeat(2000),
    'line\nline\ttab "quoted" \\',
  ])('keeps the text %j', async (text) => {
    const { status, json } = await alice.call<Story>('POST', '/stories', { text })
    expect(status).toBe(201)
    expect((await alice.story(json.id)).text).toBe(text)
  })

  it.each([
    ['text', { text: 'x'.repeat(2001) }],
    ['text', { text: 5 }],
    ['text', { text: ['a'] }],
    ['text', { text: 'nul \u0000' }],
    ['text', { text: 'lone \ud800 surrogate' }],
    ['expires_in', { expires_in: 0 }],
    ['expires_in', { expires_in: 604_801 }],
    ['expires_in', { expires_in: 1.5 }],
    ['expires_in', { expires_in: '60' }],
    ['expires_in', { text: 'ok', expires_in: -1 }],
  ])('names %s in a 400 for %j', async (field, body) => {
    const { status, json } = await alice.call<Problem>('POST', '/stories', body)
    expect(status).toBe(400)
    expect(json).toMatchObject({ type: 'urn:glimpse:problem:invalid_field', status: 400 })
    expect(`${json.detail} ${json.field}`).toContain(field)
  })
})

describe('PUT /stories/{id}', () => {
  const put = (id: string, body: unknown = { text: 'Low tide', expires_in: 60 }, caller = alice) =>
    caller.call<Story & Problem>('PUT', `/stories/${id}`, body)

  it('posts one story however often it is sent, and answers with it', async () => {
    const id = randomUUID()
    const first = await put(id.toUpperCase())
    expect([first.status, first.headers.get('location')]).toEqual([201, `/stories/${id}`])
    expect(first.json).toMatchObject({ id, author_id: alice.user, text: 'Low tide', views: 0 })
    await bob.view(id)
    const again = await put(id)
    expect([again.status, again.json]).toEqual([200, { ...first.json, views: 1 }])
  })

  it('posts one story where it is sent ten times at once', async () => {
    const id = randomUUID()
    const replies = await Promise.all(Array.from({ length: 10 }, () => put(id)))
    const statuses = replies.map(({ status }) => status)
    expect(statuses.sort()).toEqual([...Array(9).fill(200), 201])
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1)
  })

  it('takes {} and no body for the same story', async () => {
    const id = randomUUID()
    expect((await alice.call('PUT', `/stories/${id}`)).status).toBe(201)
    for (const body of [{}, { text: null }, { expires_in: 86_400 }])
      expect((await put(id, body)).status).toBe(200)
  })

  it.each([
    ['another text', { text: 'High tide', expires_in: 60 }],
    ['no text', { expires_in: 60 }],
    ['another end', { text: 'Low tide', expires_in: 61 }],
  ])('refuses %s under the same id', async (_what, body) => {
    const id = randomUUID()
    await put(id)
    const { status, json } = await put(id, body)
    expect([status, json]).toEqual([
      409,
      {
        type: 'urn:glimpse:problem:story_exists',
        title: 'Story exists',
        status: 409,
        field: 'id',
        detail: 'Another story has this id.',
      },
    ])
    expect(await alice.story(id)).toMatchObject({ text: 'Low tide' })
  })

  it('refuses the id of another user’s story, and of one that was removed', async () => {
    const id = randomUUID()
    await put(id)
    expect((await put(id, {}, bob)).status).toBe(409)
    expect((await put(id, { text: 'Low tide', expires_in: 60 }, bob)).status).toBe(409)
    await alice.call('DELETE', `/stories/${id}`)
    expect((await put(id)).status).toBe(409)
  })

  it('says that the story has expired meanwhile', async () => {
    const id = randomUUID()
    await put(id)
    await sql`update glimpse.stories set created_at = created_at - interval '1 day', expires_at = expires_at - interval '1 day' where id = ${id}`
    expect((await put(id)).status).toBe(410)
  })

  it.each([
    ['id', 'no-uuid', {}],
    ['text', randomUUID(), { text: 5 }],
    ['title', randomUUID(), { title: 'x' }],
  ])('names %s in a 400 for %j', async (field, id, body) => {
    const { status, json } = await put(id, body)
    expect([status, json.field]).toEqual([400, field])
  })
})

describe('GET /stories/{id}', () => {
  it('counts views and reactions', async () => {
    const story = await alice.post()
    const visitors = await newCallers(instance.url, 'v', 'v', 'v', 'v')
    for (const visitor of visitors) await visitor.view(story)
    const emoji = ['❤️', '❤️', '❤️', '🔥']
    for (const [i, visitor] of visitors.entries()) await visitor.react(story, emoji[i] ?? '')
    expect(await alice.story(story)).toMatchObject({ views: 4, reactions: { '❤️': 3, '🔥': 1 } })
    await visitors[0]?.react(story, '🔥')
    await visitors[1]?.unreact(story)
    expect(await alice.story(story)).toMatchObject({ views: 4, reactions: { '❤️': 1, '🔥': 2 } })
  })
})

describe('DELETE /stories/{id}', () => {
  it('deletes the story of its author, with everything said about it', async () => {
    const story = await alice.post()
    await bob.view(story)
    const { status, text } = await alice.call('DELETE', `/stories/${story}`)
    expect([status, text]).toEqual([204, ''])
    expect((await alice.call('GET', `/stories/${story}`)).status).toBe(404)
    expect((await alice.call('DELETE', `/stories/${story}`)).status).toBe(404)
    expect((await bob.call('POST', `/stories/${story}/view`)).status).toBe(404)
  })

  it('is forbidden to anybody else', async () => {
    const story = await alice.post()
    const { status, json } = await bob.call<Problem>('DELETE', `/stories/${story}`)
    expect(status).toBe(403)
    expect(json.type).toBe('urn:glimpse:problem:forbidden')
    expect((await alice.call('GET', `/stories/${story}`)).status).toBe(200)
  })
})

describe('views and reactions', () => {
  it('are answered after commit', async () => {
    const story = await alice.post()
    const { viewed_at } = await bob.view(story)
    const rows = await sql`select viewer_id, viewed_at from glimpse.story_views where story_id = ${story}`
    expect(rows.map(({ viewer_id, viewed_at: at }) => [viewer_id, at.toISOString()])).toEqual([
      [bob.user, viewed_at],
    ])
  })

  it.each(['❤️', '👨‍👩‍👧‍👦', '🏴󠁧󠁢󠁥󠁮󠁧󠁿', '👍🏽', '🇩🇪', '1️⃣', '🫠'])('take the emoji %s', async (emoji) => {
    const story = await alice.post()
    const reaction = await bob.react(story, emoji)
    expect(reaction).toEqual({
      story_id: story,
      user_id: bob.user,
      emoji,
      reacted_at: expect.stringMatching(RFC3339_UTC_MS),
      recorded: true,
    })
    expect((await alice.story(story)).reactions).toEqual({ [emoji]: 1 })
  })

  it.each([
    '',
    'a',
    ':)',
    '1',
    '❤️❤️',
    '👍a',
    ' 👍',
    '👍 ',
    '12',
    '❤❤',
    '❤\ufe0f\ufe0f',
    '❤\ufe0e',
    '\ufe0f❤',
    '🇩',
    '\u200d',
    '\ufe0f',
    5,
    null,
    ['❤️'],
    { a: 1 },
  ])('take nothing else: %j', async (emoji) => {
    const story = await alice.post()
    const { status, json } = await bob.call<Problem>('POST', `/stories/${story}/reactions`, { emoji })
    expect(status).toBe(400)
    expect(json.type).toBe('urn:glimpse:problem:invalid_field')
    expect(`${json.detail} ${json.field}`).toContain('emoji')
  })

  it.each([
    ['👍\ufe0f', '👍'],
    ['❤', '❤️'],
  ])('count %j and %j as one emoji', async (sent, stored) => {
    const story = await alice.post()
    expect(await bob.react(story, sent)).toMatchObject({ emoji: stored, recorded: true })
    expect(await bob.react(story, stored)).toMatchObject({ emoji: stored, recorded: false })
    expect((await alice.story(story)).reactions).toEqual({ [stored]: 1 })
  })

  it('name the emoji where it is missing', async () => {
    const story = await alice.post()
    const { status, json } = await bob.call<Problem>('POST', `/stories/${story}/reactions`, {})
    expect(status).toBe(400)
    expect(`${json.detail} ${json.field}`).toContain('emoji')
  })

  it('of many users at once are all recorded', async () => {
    const story = await alice.post()
    const visitors = await newCallers(instance.url, ...Array.from({ length: 200 }, () => 'v'))
    const answers = await Promise.all(
      visitors.flatMap((visitor) => [visitor.view(story), visitor.react(story, '🎉')]),
    )
    expect(answers.every(({ recorded }) => recorded)).toBe(true)
    expect(await alice.story(story)).toMatchObject({ views: 200, reactions: { '🎉': 200 } })
  })

  it('that meet the deletion of their story are 200 or 404', async () => {
    const visitors = await newCallers(instance.url, ...Array.from({ length: 40 }, () => 'v'))
    for (let round = 0; round < 5; round++) {
      const story = await alice.post()
      const answers = Promise.all(
        visitors.flatMap((visitor) => [
          visitor.call('POST', `/stories/${story}/view`),
          visitor.call('POST', `/stories/${story}/reactions`, { emoji: '👍' }),
        ]),
      )
      await Promise.all([alice.call('DELETE', `/stories/${story}`), answers])
      for (const { status } of await answers) expect([200, 404]).toContain(status)
      expect((await bob.call('POST', `/stories/${story}/view`)).status).toBe(404)
      expect((await bob.call('GET', `/stories/${story}`)).status).toBe(404)
    }
  })

  it('that waited for somebody who deletes the story by hand are 404', async () => {
    const [story, other] = [await alice.post(), await alice.post()]
    let answers: Promise<{ status: number }[]> = Promise.resolve([])
    await sql.begin(async (transaction) => {
      await transaction`delete from glimpse.stories where id = ${story}`
      answers = Promise.all([
        bob.call('POST', `/stories/${story}/view`),
        bob.call('POST', `/stories/${story}/reactions`, { emoji: '👍' }),
        bob.call('POST', `/stories/${other}/view`),
      ])
      for (let waiting = 0; waiting < 2; ) {
        const rows = await transaction`
            select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
        waiting = rows.length
      }
    })
    expect((await answers).map(({ status }) => status)).toEqual([404, 404, 200])
  })

  it('of one user at once settle on one of the emoji', async () => {
    const story = await alice.post()
    const emoji = ['❤️', '🔥', '👍', '😂', '😮', '🎉']
    const answers = await Promise.all(
      emoji.map((one) => bob.call<Reaction>('POST', `/stories/${story}/reactions`, { emoji: one })),
    )
    expect(answers.map(({ status, json }) => [status, json.emoji])).toEqual(emoji.map((one) => [200, one]))
    expect(Object.values((await alice.story(story)).reactions)).toEqual([1])
  })

  it('that fail do not take their neighbours with them', async () => {
    const story = await alice.post()
    const visitors = await newCallers(instance.url, ...Array.from({ length: 60 }, () => 'v'))
    const expired = await expiredStory()
    const answers = await Promise.all(
      visitors.map((visitor, i) =>
        visitor.call('POST', `/stories/${[story, randomUUID(), expired][i % 3]}/view`),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(visitors.map((_, i) => [200, 404, 410][i % 3]))
    expect((await alice.story(story)).views).toBe(20)
  })

  it('taken back: 204, whether there was one or not', async () => {
    const story = await alice.post()
    for (let i = 0; i < 2; i += 1) {
      const { status, text } = await bob.call('DELETE', `/stories/${story}/reactions`)
      expect([status, text]).toEqual([204, ''])
    }
  })
})

describe('a story that is not there', () => {
  const calls = [
    ['GET', ''],
    ['DELETE', ''],
    ['POST', '/view'],
    ['POST', '/reactions'],
    ['DELETE', '/reactions'],
  ] as const

  it.each(calls)('%s /stories/{unknown}%s is 404', async (method, rest) => {
    const body = rest === '/reactions' && method === 'POST' ? { emoji: '❤️' } : undefined
    const { status, json } = await bob.call<Problem>(method, `/stories/${randomUUID()}${rest}`, body)
    expect(status).toBe(404)
    expect(json).toMatchObject({ type: 'urn:glimpse:problem:unknown_story', status: 404 })
  })

  it.each(calls)('%s /stories/{not a uuid}%s is the client’s fault', async (method, rest) => {
    const body = rest === '/reactions' && method === 'POST' ? { emoji: '❤️' } : undefined
    for (const id of ['1', 'x', `${randomUUID()}0`, '%00', "'; drop table", '%F0%9F%98%80']) {
      const { status } = await bob.call(method, `/stories/${id}${rest}`, body)
      expect([400, 404]).toContain(status)
    }
  })

  it.each([
    ['GET', ''],
    ['POST', '/view'],
    ['POST', '/reactions'],
  ] as const)('%s /stories/{expired}%s is 410', async (method, rest) => {
    const body = rest === '/reactions' ? { emoji: '❤️' } : undefined
    const { status, json } = await bob.call<Problem>(method, `/stories/${await expiredStory()}${rest}`, body)
    expect(status).toBe(410)
    expect(json).toMatchObject({ type: 'urn:glimpse:problem:expired_story', status: 410 })
  })
})

describe('every call', () => {
  it.each([
    ['POST', '/stories'],
    ['GET', `/stories/${randomUUID()}`],
    ['DELETE', `/stories/${randomUUID()}`],
    ['POST', `/stories/${randomUUID()}/view`],
    ['POST', `/stories/${randomUUID()}/reactions`],
    ['DELETE', `/stories/${randomUUID()}/reactions`],
  ])('%s %s is 401 without a token, and a token in the query is none', async (method, path) => {
    for (const target of [path, `${path}?token=${alice.token}`]) {
      const { status, headers, json } = await call<Problem>(instance.url, target, { method })
      expect(status).toBe(401)
      expect(headers.get('www-authenticate')).toMatch(/^Bearer\b/)
      expect(json.type).toBe('urn:glimpse:problem:unauthorized')
    }
  })
})

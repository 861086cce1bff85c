import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { routeTable } from '../../src/http/routes.ts'
import { formatOffset } from '../../src/transport/stream-offset.ts'
import { type Caller, call, newCallers, type Reply } from '../support/api.ts'
import { closing, open, STREAMING } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import type { TestStream } from '../support/clients/stream.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'
import { countCases } from './support/full.ts'

const STATES = ['live', 'expired', 'deleted', 'unknown'] as const
type State = (typeof STATES)[number]

/** What a route about one story answers to its author and to anybody else, by the state of the story. */
interface StoryRow {
  readonly body?: object
  readonly author: readonly [live: number, expired: number, deleted: number, unknown: number]
  readonly others: readonly [live: number, expired: number, deleted: number, unknown: number]
}

/** Anybody may look at a story; only its author may delete it, and is the only one to know that it is still there. */
const OF_STORY: Readonly<Record<string, StoryRow>> = {
  'GET /stories/:id': { author: [200, 410, 404, 404], others: [200, 410, 404, 404] },
  'DELETE /stories/:id': { author: [204, 204, 404, 404], others: [403, 403, 404, 404] },
  'POST /stories/:id/view': { author: [200, 410, 404, 404], others: [200, 410, 404, 404] },
  'POST /stories/:id/reactions': {
    body: { emoji: '❤️' },
    author: [200, 410, 404, 404],
    others: [200, 410, 404, 404],
  },
  'DELETE /stories/:id/reactions': { author: [204, 410, 404, 404], others: [204, 410, 404, 404] },
}

/** What a route gives the `caller` although it belongs to the `owner`: must show nothing of the owner's. */
type Snoop = (caller: Caller, owner: Caller, owned: Owned) => Promise<string>

interface Owned {
  readonly story: string
  readonly cursor: string
  readonly stream: TestStream
}

const JSON_PAGE = { accept: 'application/json' }

/** Ways to ask for somebody else's: parameters that mean nothing must change nothing. */
const posing = (owner: Caller) => {
  const name = encodeURIComponent(owner.user)
  return ['', ...['user', 'user_id', 'sub', 'author_id', 'viewer_id'].map((key) => `&${key}=${name}`)]
}

const PERSONAL: Readonly<Record<string, Snoop>> = {
  'POST /stories': async (caller, owner) => {
    const replies = await Promise.all([
      caller.call('POST', '/stories', { text: 'mine' }),
      caller.call('POST', '/stories', { text: 'mine', author_id: owner.user }),
    ])
    expect(replies.map(({ status }) => status)).toEqual([201, 400])
    return textOf(replies)
  },
  'PUT /stories/:id': async (caller, owner, { story }) => {
    const before = await owner.story(story)
    const { text } = before
    const replies = await Promise.all(
      [{}, { text }, { text: 'mine' }].map((body) => caller.call('PUT', `/stories/${story}`, body)),
    )
    expect(replies.map(({ status }) => status)).toEqual([409, 409, 409])
    expect(await owner.story(story)).toEqual(before)
    return textOf(replies)
  },
  'POST /tickets': async (caller, owner) => {
    const replies = await Promise.all(
      posing(owner).map((more) => caller.call<{ ticket: string }>('POST', `/tickets?x${more}`)),
    )
    const streams = await Promise.all(
      replies.map(({ json: { ticket } }) =>
        closing(openSse({ url: caller.url, path: `/events?ticket=${ticket}&last_event_id=0` })),
      ),
    )
    // The owner's ticket in the hands of somebody who says who they are is theirs no more.
    const theirs = await owner.call<{ ticket: string }>('POST', '/tickets')
    const path = `/events?ticket=${theirs.json.ticket}&last_event_id=0`
    return textOf(replies) + messagesOf([...streams, await closing(openSse({ ...caller, path }))])
  },
  'PUT /me/read': async (caller, owner, { cursor }) => {
    const mark = async () => {
      const { json } = await call(owner.url, '/events?after=0&limit=1', {
        token: owner.token,
        headers: JSON_PAGE,
      })
      return [json.read, json.unread]
    }
    const before = await mark()
    const replies = await Promise.all(
      posing(owner).map((more) => caller.call('PUT', `/me/read?x${more}`, { cursor })),
    )
    expect(await mark()).toEqual(before)
    return textOf(replies)
  },
  'GET /events': async (caller, owner, { cursor }) => {
    const pages = ['0', cursor, ''].flatMap((after) =>
      posing(owner).map((more) =>
        call(caller.url, `/events?after=${after}${more}`, { token: caller.token, headers: JSON_PAGE }),
      ),
    )
    const streams = await Promise.all(
      ['0', cursor].map((lastEventId) => open('sse', { ...caller, lastEventId })),
    )
    return textOf(await Promise.all(pages)) + messagesOf(streams)
  },
  'GET /ws': async (caller, _owner, { cursor }) =>
    messagesOf(await Promise.all(['0', cursor].map((lastEventId) => open('ws', { ...caller, lastEventId })))),
  'GET /me/stream': async (caller, owner, { cursor }) => {
    const known = await call(owner.url, '/me/stream', { token: owner.token })
    const etag = { 'if-none-match': known.headers.get('etag') ?? '' }
    const replies = await Promise.all(
      ['-1', 'now', formatOffset(cursor)].flatMap((offset) =>
        posing(owner).map((more) =>
          call(caller.url, `/me/stream?offset=${offset}${more}`, { token: caller.token, headers: etag }),
        ),
      ),
    )
    for (const { status } of replies) expect(status).not.toBe(304)
    const streams = await Promise.all(
      (['durable sse', 'durable long-poll'] as const).map((client) =>
        open(client, { ...caller, lastEventId: '0' }),
      ),
    )
    return textOf(replies) + messagesOf(streams)
  },
  'GET /me/connections': async (caller, owner) =>
    textOf(await Promise.all(posing(owner).map((more) => caller.call('GET', `/me/connections?x${more}`)))),
  'DELETE /me/connections/:connection': async (caller, owner, { stream }) => {
    const { json } = await owner.call<{ connections: { id: string }[] }>('GET', '/me/connections')
    expect(json.connections.length).toBeGreaterThan(0)
    const unknown = await caller.call('DELETE', `/me/connections/${randomUUID()}`)
    for (const { id } of json.connections) {
      const reply = await caller.call('DELETE', `/me/connections/${id}`)
      expect([reply.status, reply.text]).toEqual([404, unknown.text])
    }
    // Still open: what happens next arrives.
    await caller.view(await owner.post())
    await stream.next('story.viewed')
    return unknown.text
  },
}

/** The same for everybody, with or without a token. */
const PUBLIC = [
  'GET /livez',
  'GET /healthz',
  'GET /readyz',
  'GET /metrics',
  'GET /openapi.json',
  'GET /asyncapi.json',
  'GET /docs',
  'GET /client.js',
  'GET /client.js.map',
  'GET /',
  'GET /console/:file',
  'GET /console/client/:file',
]
/** There outside production only, for anybody to be anybody. */
const OPEN_DOORS = ['POST /dev/tokens']

let instance: Instance
let sql: postgres.Sql
let users: Caller[]
beforeAll(async () => {
  instance = await startInstance({ MAX_CONNECTIONS_PER_USER: '1000' })
  sql = postgres(instance.database.url, { max: 1 })
  users = await newCallers(instance.url, 'alice', 'bob', 'carol')
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

const PAIRS = ['alice', 'bob', 'carol'].flatMap((_, owner) =>
  [0, 1, 2].map((caller) => [owner, caller] as const),
)
const STRANGERS = PAIRS.filter(([owner, caller]) => owner !== caller)
const userAt = (index: number) => users[index] as Caller

it('every route has its row: say below what a new one shows to whom', () => {
  const routes = routeTable({ production: false }).map(([method, pattern]) => `${method} ${pattern}`)
  const rows = [...Object.keys(OF_STORY), ...Object.keys(PERSONAL), ...PUBLIC, ...OPEN_DOORS]
  expect(rows.sort()).toEqual(routes.sort())
})

describe.each(Object.entries(OF_STORY))('%s', (route, row) => {
  it.each(PAIRS)("user %i's story in every state, asked by user %i", async (owner, caller) => {
    const replies: Reply[] = []
    for (const state of STATES)
      replies.push(await ask(route, row, userAt(caller).token, await storyIn(state, userAt(owner))))
    expect(replies.map(({ status }) => status)).toEqual(owner === caller ? row.author : row.others)
    // That there once was a story nobody learns, not even from a name that could be none.
    const [deleted, unknown] = replies.slice(2)
    const nonsense = await ask(route, row, userAt(caller).token, 'no-story')
    expect(visible(deleted)).toEqual(visible(unknown))
    expect(visible(nonsense)).toEqual(visible(unknown))
  })

  it.each([
    ['without a token', undefined],
    ['with a bad one', 'a.b.c'],
    ['with one that expired', 'expired'],
  ])('tells nothing of any story %s', async (_, kind) => {
    const token = kind === 'expired' ? await signToken('alice', { expiresIn: -60 }) : kind
    const replies = await Promise.all(
      STATES.map(async (state) => ask(route, row, token, await storyIn(state, userAt(0)))),
    )
    for (const reply of replies) {
      expect(reply.status).toBe(401)
      expect(visible(reply)).toEqual(visible(replies[0]))
    }
  })
})

describe.each(Object.entries(PERSONAL))('%s', (_route, snoop) => {
  it.each(STRANGERS)("shows nothing of user %i's to user %i", async (owner, caller) => {
    const owned = await belongings(userAt(owner))
    const seen = await snoop(userAt(caller), userAt(owner), owned)
    expect(seen).not.toContain(owned.story)
    for (const id of await connectionsOf(userAt(owner))) expect(seen).not.toContain(id)
  })
})

it.each(PUBLIC)('%s is the same for everybody', async (route) => {
  const path = route
    .slice('GET '.length)
    .replace('client/:file', 'client/index.js')
    .replace(':file', 'main.js')
  const { story } = await belongings(userAt(0))
  const replies = await Promise.all(
    [undefined, 'a.b.c', ...users.map(({ token }) => token)].map((token) =>
      call(instance.url, path, token === undefined ? {} : { token }),
    ),
  )
  for (const { status, text } of replies) {
    expect(status).toBe(200)
    for (const secret of [story, ...users.map(({ user }) => user)]) expect(text).not.toContain(secret)
    if (path !== '/metrics') expect(text).toBe(replies[0]?.text)
  }
})

it('after all of this, everybody has got the events of their own stories and no others', async (context) => {
  const streams = await Promise.all(
    users.flatMap((user) =>
      STREAMING.map(async (transport) => ({
        user,
        stream: await open(transport, { ...user, lastEventId: '0' }),
      })),
    ),
  )
  const stories = await sql<{ id: string; author_id: string }[]>`SELECT id, author_id FROM glimpse.stories`
  const authors = new Map(stories.map(({ id, author_id }) => [id, author_id]))
  let seen = 0
  for (const { user, stream } of streams) {
    const [row] = await sql<{ head: string }[]>`SELECT head FROM glimpse.streams WHERE user_id = ${user.user}`
    const events = await stream.take(Number(row?.head ?? 0))
    for (const { json } of events) {
      // A story that was deleted meanwhile has no row to tell.
      expect(authors.get(json.data.story_id) ?? user.user).toBe(user.user)
      expect(JSON.stringify(json.data)).not.toContain(`_id":"${user.user}"`)
    }
    seen += events.length
  }
  expect(seen).toBeGreaterThan(100)
  countCases(context, seen)
})

async function ask(route: string, { body }: StoryRow, token: string | undefined, id: string): Promise<Reply> {
  const [method = '', pattern = ''] = route.split(' ')
  return call(instance.url, pattern.replace(':id', id), {
    method,
    ...(token === undefined ? {} : { token }),
    ...(body === undefined ? {} : { json: body }),
  })
}

async function storyIn(state: State, owner: Caller): Promise<string> {
  if (state === 'unknown') return randomUUID()
  const id = await owner.post({ text: 'a story' })
  if (state === 'deleted') expect((await owner.call('DELETE', `/stories/${id}`)).status).toBe(204)
  if (state === 'expired') await sql`UPDATE glimpse.stories SET expires_at = now() WHERE id = ${id}`
  return id
}

/** A story of the user's with an event of it, a place in the stream, and an open connection. */
async function belongings(user: Caller): Promise<Owned> {
  const stream = await open('sse', user)
  const story = await user.post()
  const [stranger] = await newCallers(instance.url, 'dave')
  await stranger?.view(story)
  const [event] = await stream.take(1)
  return { story, cursor: event?.json.id ?? '', stream }
}

async function connectionsOf(user: Caller): Promise<string[]> {
  const { json } = await user.call<{ connections: { id: string }[] }>('GET', '/me/connections')
  return json.connections.map(({ id }) => id)
}

/** What says nothing of stories: the time, the request's own name, and whether a body was read before the refusal. */
const ASIDE = ['date', 'x-request-id', 'connection', 'keep-alive']

/** All that a caller can tell answers apart by. */
function visible(reply: Reply | undefined): unknown {
  const headers = [...(reply?.headers ?? [])].filter(([name]) => !ASIDE.includes(name))
  return { status: reply?.status, headers, text: reply?.text }
}

const textOf = (replies: readonly Reply[]) => replies.map(({ text }) => text).join('\n')
const messagesOf = (streams: readonly TestStream[]) =>
  streams.flatMap(({ messages }) => messages.map(({ raw }) => raw)).join('\n')

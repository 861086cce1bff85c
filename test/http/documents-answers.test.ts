import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Call, type Caller, call, newCallers, type Reply } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { expectDocumented, type OpenApi } from '../support/documents.ts'
import { type Environment, type Instance, startInstance } from '../support/instance.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

let instance: Instance
let openApi: OpenApi
let alice: Caller
let bob: Caller
beforeAll(async () => {
  instance = await startInstance()
  openApi = (await call<OpenApi>(instance.url, '/openapi.json')).json
})
afterAll(() => instance.close())

const JSON_PAGE = { headers: { accept: 'application/json' } }

async function cast() {
  ;[alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return alice.post({ text: 'hello' })
}

describe('what the service answers is what /openapi.json says', () => {
  it('about stories', async () => {
    const story = await cast()
    const calls: [Caller, string, string, unknown?][] = [
      [alice, 'POST', '/stories', { text: 'hello' }],
      [alice, 'POST', '/stories'],
      [alice, 'PUT', '/stories/550e8400-e29b-41d4-a716-446655440000', { text: 'hello' }],
      [alice, 'PUT', '/stories/550e8400-e29b-41d4-a716-446655440000', { text: 'hello' }],
      [alice, 'POST', '/tickets'],
      [bob, 'POST', '/stories/{id}/view'],
      [bob, 'POST', '/stories/{id}/view'],
      [bob, 'POST', '/stories/{id}/reactions', { emoji: '❤️' }],
      [bob, 'GET', '/stories/{id}'],
      [bob, 'DELETE', '/stories/{id}/reactions'],
      [alice, 'DELETE', '/stories/{id}'],
    ]
    for (const [caller, method, path, body] of calls) {
      const reply = await caller.call(method, path.replace('{id}', story), body)
      expect(reply.status).toBeLessThan(300)
      expectDocumented(openApi, `${method} ${path.replace(/[0-9a-f-]{36}/, '{id}')}`, reply)
    }
  })

  it("about the caller's connections", async () => {
    await cast()
    await open('sse', alice)
    const listed = await alice.call<{ connections: { id: string }[] }>('GET', '/me/connections')
    expect(listed.json.connections).toHaveLength(1)
    expectDocumented(openApi, 'GET /me/connections', listed)
    const ended = await alice.call('DELETE', `/me/connections/${listed.json.connections[0]?.id}`)
    expect(ended.status).toBe(204)
    expectDocumented(openApi, 'DELETE /me/connections/{connection}', ended)
  })

  it.each([
    ['events', '0', { events: { length: 4 }, reset: null }],
    ['a reset', 'nonsense', { reset: { reason: 'invalid' } }],
  ])('about a page with %s', async (_what, after, expected) => {
    const story = await cast()
    await bob.view(story)
    await bob.react(story, '👍')
    await onDatabase(
      (sql) => sql`select glimpse.append(
        (${alice.user}, 'comment.added', '{"text":"hi"}', now())::glimpse.new_event,
        (${alice.user}, 'story.viewed', '{"story_id":"42","viewer_id":null,"viewed_at":"2025-10-01T15:13:26.000Z"}', now())::glimpse.new_event)`,
    )
    const reply = await call(instance.url, `/events?after=${after}`, { token: alice.token, ...JSON_PAGE })
    expect(reply.json).toMatchObject(expected)
    expectDocumented(openApi, 'GET /events', reply)
  })

  it('about a stream that is read by the Durable Streams protocol', async () => {
    const story = await cast()
    await bob.view(story)
    const quick = await startInstance({ HEARTBEAT_INTERVAL_MS: '100' }, instance)
    onTestFinished(() => quick.close())
    const read = (query: string, headers: Record<string, string> = {}) =>
      call<{ seq: number }[]>(quick.url, `/me/stream?${query}`, { token: alice.token, headers })
    const page = await read('offset=-1')
    expect(page.json).toMatchObject([{ seq: 1 }])
    const known = await read('offset=-1', { 'if-none-match': page.headers.get('etag') ?? '' })
    const nothing = await read('offset=now&live=long-poll')
    expect([known.status, nothing.status]).toEqual([304, 204])
    for (const reply of [page, known, nothing]) expectDocumented(openApi, 'GET /me/stream', reply)
  })

  it.each([
    ['POST /dev/tokens', { json: { user: 'alice' } }],
    ...['/', '/livez', '/healthz', '/readyz', '/metrics', '/openapi.json', '/asyncapi.json'].map(
      (path): [string, Call] => [`GET ${path}`, {}],
    ),
  ])('to %s', async (operation: string, request: Call) => {
    const [method = '', path = ''] = operation.split(' ')
    const reply = await call(instance.url, path, { method, ...request })
    expect(reply.status).toBe(200)
    expectDocumented(openApi, operation, reply)
  })

  it.each(['main.js', 'console.css', 'index.html'])('to GET /console/%s', async (file) => {
    expectDocumented(openApi, 'GET /console/{file}', await call(instance.url, `/console/${file}`))
  })
})

describe('how the service refuses is what /openapi.json says', () => {
  const UNKNOWN = `/stories/${randomUUID()}`
  const refusals: [code: string, operation: string, answer: () => Promise<Reply>][] = [
    [
      'malformed_json',
      'POST /stories',
      () => post('/stories', { body: '{', headers: { 'content-type': 'application/json' } }),
    ],
    ['malformed_request', 'GET /livez', () => raw('GET /livez HTTP/1.1\r\nno header\r\n\r\n')],
    [
      'malformed_request',
      'GET /ws',
      () =>
        raw(
          `GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n`,
        ),
    ],
    ['invalid_field', 'POST /stories', () => post('/stories', { json: { expires_in: 0 } })],
    ['invalid_field', 'GET /events', () => get('/events?limit=0', JSON_PAGE)],
    ['unauthorized', 'GET /stories/{id}', () => call(instance.url, UNKNOWN)],
    ['unauthorized', 'GET /events', () => call(instance.url, '/events')],
    ['forbidden', 'DELETE /stories/{id}', async () => bob.call('DELETE', `/stories/${await alice.post()}`)],
    [
      'origin_not_allowed',
      'GET /events',
      () => get('/events', { headers: { origin: 'https://evil.example' } }),
    ],
    [
      'origin_not_allowed',
      'POST /stories',
      () =>
        call(instance.url, '/stories', {
          method: 'POST',
          headers: { cookie: `glimpse_token=${alice.token}`, origin: 'https://evil.example' },
        }),
    ],
    ['not_found', 'GET /console/{file}', () => get('/console/nothing.js')],
    ['not_found', 'GET /stories/{id}', () => get(`/stories/${'a'.repeat(300)}`)],
    [
      'unknown_connection',
      'DELETE /me/connections/{connection}',
      () => get(`/me/connections/${randomUUID()}`, { method: 'DELETE' }),
    ],
    ['unknown_story', 'POST /stories/{id}/view', () => post(`${UNKNOWN}/view`)],
    ['method_not_allowed', 'POST /stories', () => get('/stories')],
    [
      'story_exists',
      'PUT /stories/{id}',
      async () => get(`/stories/${await alice.post()}`, { method: 'PUT', json: { text: 'another' } }),
    ],
    ['expired_story', 'GET /stories/{id}', async () => get(`/stories/${await expiredStory()}`)],
    ['body_too_large', 'POST /stories', () => post('/stories', { json: { text: 'a'.repeat(20_000) } })],
    ['not_json', 'POST /stories', () => post('/stories', { body: 'text' })],
    ['lost_history', 'GET /me/stream', () => get('/me/stream?offset=0123abc.0000000000000001')],
    ['upgrade_required', 'GET /ws', () => get('/ws')],
    ['headers_too_large', 'GET /livez', () => get('/livez', { headers: { 'x-large': 'a'.repeat(20_000) } })],
    [
      'too_many_requests',
      'GET /stories/{id}',
      async () => {
        const strict = await other({ RATE_LIMIT: 'on', USER_REQUESTS_PER_MINUTE: '1' })
        await call(strict.url, UNKNOWN, { token: alice.token })
        return call(strict.url, UNKNOWN, { token: alice.token })
      },
    ],
    ['busy', 'POST /stories/{id}/view', viewWhileLocked],
    [
      'full',
      'GET /events',
      async () => {
        const small = await other({ MAX_CONNECTIONS: '1' })
        await open('sse', { url: small.url, token: alice.token })
        return call(small.url, '/events', { token: alice.token })
      },
    ],
    [
      'unavailable',
      'GET /stories/{id}',
      async () => {
        const proxy = await TcpProxy.before(instance.database.url)
        const orphan = await startInstance({ DATABASE_URL: proxy.urlFor(instance.database.url) }, instance)
        onTestFinished(() => orphan.close())
        await proxy.close()
        return call(orphan.url, UNKNOWN, { token: alice.token })
      },
    ],
  ]

  it.each(refusals)('%s, by %s', async (code, operation, answer) => {
    await cast()
    const reply = await answer()
    expect(reply.json).toMatchObject({ type: `urn:glimpse:problem:${code}` })
    expectDocumented(openApi, operation, reply)
  })

  it('by GET /readyz, with the reasons', async () => {
    const orphan = await other({})
    await orphan.database.drop()
    await expect.poll(async () => (await call(orphan.url, '/readyz')).status, { timeout: 20_000 }).toBe(503)
    expectDocumented(openApi, 'GET /readyz', await call(orphan.url, '/readyz'))
  })

  const get = (path: string, request: Call = {}) =>
    call(instance.url, path, { token: alice.token, ...request })
  const post = (path: string, request: Call = {}) => get(path, { method: 'POST', ...request })

  async function other(environment: Environment): Promise<Instance> {
    const started = await startInstance(environment)
    onTestFinished(() => started.close())
    return started
  }

  async function expiredStory(): Promise<string> {
    const story = await alice.post()
    await onDatabase((sql) => sql`UPDATE glimpse.stories SET expires_at = now() WHERE id = ${story}`)
    return story
  }

  /** Somebody's open transaction holds the very row. */
  async function viewWhileLocked(): Promise<Reply> {
    const story = await alice.post()
    return onDatabase((sql) =>
      sql.begin(async (held) => {
        await held`INSERT INTO glimpse.story_views (story_id, viewer_id) VALUES (${story}, ${bob.user})`
        return bob.call('POST', `/stories/${story}/view`)
      }),
    )
  }

  /** Sends these very bytes, and reads the answer until its end. */
  async function raw(request: string): Promise<Reply> {
    const socket = connect(Number(new URL(instance.url).port), '127.0.0.1')
    socket.write(request)
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
    const [status = '', ...lines] = head.split('\r\n')
    const headers = new Headers(lines.map((line) => line.split(/: ?/, 2) as [string, string]))
    return { status: Number(status.split(' ')[1]), headers, text: body, json: JSON.parse(body) }
  }
})

async function onDatabase<Result>(work: (sql: postgres.Sql) => Promise<Result>): Promise<Result> {
  const sql = postgres(instance.database.url, { max: 1 })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}

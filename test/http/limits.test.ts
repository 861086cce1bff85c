import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Caller, call, newCallers, type Problem, type Reply } from '../support/api.ts'
import { open, STATUSES, STREAMING } from '../support/clients/index.ts'
import { Rejected } from '../support/clients/stream.ts'
import { createDatabase } from '../support/database.ts'
import { type Environment, type Instance, spawnInstance, startInstance } from '../support/instance.ts'

let instance: Instance
afterEach(() => instance?.close())

async function scene(environment: Environment) {
  instance = await startInstance({ RATE_LIMIT: 'on', ...environment })
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob }
}

const UNKNOWN = '/stories/00000000-0000-4000-8000-000000000000'

/** The statuses of so many requests, one after the other, and the last answer. */
async function repeat(times: number, request: () => Promise<Reply<Problem>>) {
  const statuses: number[] = []
  let last: Reply<Problem> | undefined
  for (let i = 0; i < times; i += 1) {
    last = await request()
    statuses.push(last.status)
  }
  return { statuses, last: last as Reply<Problem> }
}

function expectTooMany({ status, headers, json }: Pick<Reply<Problem>, 'status' | 'headers' | 'json'>) {
  expect(status).toBe(429)
  expect(headers.get('content-type')).toBe('application/problem+json')
  expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
  expect(json).toMatchObject({ type: 'urn:glimpse:problem:too_many_requests', status: 429 })
}

async function rejectedStream(opening: Promise<unknown>) {
  const rejection = await opening.catch((error: unknown) => error)
  if (!(rejection instanceof Rejected)) throw new Error(`not rejected: ${rejection}`)
  return { ...rejection, json: JSON.parse(rejection.body) as Problem }
}

async function limited(limit: string): Promise<number> {
  const { text } = await call(instance.url, '/metrics', {
    headers: { 'x-forwarded-for': '192.0.2.99' },
  })
  return Number(new RegExp(`^glimpse_limited_total\\{limit="${limit}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

describe('USER_REQUESTS_PER_MINUTE', () => {
  it("answers 429 past ten seconds' worth, and leaves other users alone", async () => {
    const { alice, bob } = await scene({ USER_REQUESTS_PER_MINUTE: '30' })
    const { statuses, last } = await repeat(8, () => alice.call('GET', UNKNOWN))
    expect(statuses.slice(0, 5)).toEqual([404, 404, 404, 404, 404])
    expectTooMany(last)
    expect((await bob.call('GET', UNKNOWN)).status).toBe(404)
    expect(await limited('user_requests')).toBe(statuses.filter((status) => status === 429).length)
  })
})

describe('ADDRESS_REQUESTS_PER_MINUTE', () => {
  it('counts whatever is asked, with or without a token, except whether the instance lives', async () => {
    await scene({ ADDRESS_REQUESTS_PER_MINUTE: '30', TRUST_PROXY: '1' })
    const from = (address: string, path: string) =>
      call<Problem>(instance.url, path, { headers: { 'x-forwarded-for': address } })
    let turn = 0
    const paths = ['/nowhere', UNKNOWN, '/events', '/openapi.json', '/']
    const { statuses, last } = await repeat(8, () =>
      from('203.0.113.7', paths[turn++ % paths.length] as string),
    )
    expect(statuses.slice(0, 5)).toEqual([404, 401, 401, 200, 200])
    expectTooMany(last)
    for (const path of ['/livez', '/readyz', '/healthz'])
      expect((await from('203.0.113.7', path)).status).toBe(200)
    expect((await from('203.0.113.8', '/openapi.json')).status).toBe(200)
    expect(await limited('address_requests')).toBe(statuses.filter((status) => status === 429).length)
  })

  it('takes one IPv6 network for one client', async () => {
    await scene({ ADDRESS_REQUESTS_PER_MINUTE: '30', TRUST_PROXY: '1' })
    let turn = 0
    const { statuses } = await repeat(8, () =>
      call<Problem>(instance.url, '/openapi.json', {
        headers: { 'x-forwarded-for': `2001:db8:1:2:${turn++}::1` },
      }),
    )
    expect(statuses).toContain(429)
  })

  it('cannot be evaded by a header where no proxy is trusted', async () => {
    await scene({ ADDRESS_REQUESTS_PER_MINUTE: '30' })
    let turn = 0
    const { statuses } = await repeat(8, () =>
      call<Problem>(instance.url, '/openapi.json', {
        headers: { 'x-forwarded-for': `203.0.113.${turn++}` },
      }),
    )
    expect(statuses).toContain(429)
  })
})

describe.each(STREAMING)('attempts to connect over %s', (transport) => {
  it('are limited per user, before the stream starts', async () => {
    const { alice, bob } = await scene({ USER_CONNECTS_PER_MINUTE: '12' })
    for (let i = 0; i < 2; i += 1) (await open(transport, alice)).close()
    expectTooMany(await rejectedStream(open(transport, { ...alice, ...STATUSES })))
    await open(transport, bob)
    expect(await limited('user_connects')).toBe(1)
    // What is no stream is no attempt to connect.
    expect((await alice.call('GET', UNKNOWN)).status).toBe(404)
    await open('poll', alice)
  })

  it('are limited per address, before the token is looked at', async () => {
    const { alice } = await scene({ ADDRESS_CONNECTS_PER_MINUTE: '12' })
    for (let i = 0; i < 2; i += 1)
      expect(await rejectedStream(open(transport, { url: instance.url, token: 'bad' }))).toMatchObject({
        status: 401,
      })
    expectTooMany(await rejectedStream(open(transport, { ...alice, ...STATUSES })))
    expect(await limited('address_connects')).toBe(1)
  })

  it('are refused past MAX_CONNECTIONS_PER_ADDRESS, until one of that address leaves', async () => {
    const { alice, bob } = await scene({ MAX_CONNECTIONS_PER_ADDRESS: '2', TRUST_PROXY: '1' })
    const from = (address: string) => ({ headers: { ...STATUSES.headers, 'x-forwarded-for': address } })
    const first = await open(transport, { ...alice, ...from('203.0.113.7') })
    await open('sse', { ...bob, ...from('203.0.113.7') })
    expectTooMany(await rejectedStream(open(transport, { ...alice, ...from('203.0.113.7') })))
    await open(transport, { ...alice, ...from('203.0.113.8') })
    expect(await limited('address_connections')).toBe(1)

    first.close()
    for (;;) {
      const next = await open(transport, { ...bob, ...from('203.0.113.7') }).catch((error: unknown) => error)
      if (!(next instanceof Rejected)) break
    }
  })
})

describe('RATE_LIMIT=off', () => {
  it('leaves requests and attempts to connect alone', async () => {
    const { alice } = await scene({
      RATE_LIMIT: 'off',
      USER_REQUESTS_PER_MINUTE: '1',
      USER_CONNECTS_PER_MINUTE: '1',
      ADDRESS_REQUESTS_PER_MINUTE: '1',
      ADDRESS_CONNECTS_PER_MINUTE: '1',
    })
    const { statuses } = await repeat(20, () => alice.call('GET', UNKNOWN))
    expect(statuses).toEqual(Array.from({ length: 20 }, () => 404))
    for (let i = 0; i < 4; i += 1) await open('ws', alice)
  })
})

describe('a proxy in front that nobody told of', () => {
  it('is warned of once', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const main = await spawnInstance({ DATABASE_URL: database.url, MIGRATE: 'off' })
    onTestFinished(async () => void (await main.kill('SIGKILL')))
    const through = { headers: { 'x-forwarded-for': '203.0.113.7' } }
    for (let i = 0; i < 3; i += 1) await call(main.url, '/livez', through)
    await main.kill('SIGTERM')
    expect(
      main.lines.filter(({ level, msg }) => level === 'warn' && msg?.includes('TRUST_PROXY')),
    ).toHaveLength(1)
  })
})

describe('what one user can cause', () => {
  it('is so many stories within a day, of which one that fails is none', async () => {
    const { alice, bob } = await scene({ STORIES_PER_DAY: '3' })
    const post = (caller: Caller, body = {}) => caller.call<Problem>('POST', '/stories', body)
    expect((await post(alice, { text: 5 })).status).toBe(400)
    const { statuses, last } = await repeat(4, () => post(alice))
    expect(statuses).toEqual([201, 201, 201, 429])
    expectTooMany(last)
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(8 * 3600 - 60)
    expect((await post(bob)).status).toBe(201)
    expect(await limited('user_stories')).toBe(1)
  })

  it('is no more where the same story is put again', async () => {
    const { alice } = await scene({ STORIES_PER_DAY: '2' })
    const [first = '', second = '', third = ''] = Array.from({ length: 3 }, () => crypto.randomUUID())
    const statuses = []
    for (const id of [first, second, first, second, third])
      statuses.push((await alice.call('PUT', `/stories/${id}`, { text: 'x' })).status)
    expect(statuses).toEqual([201, 201, 200, 200, 429])
  })

  it('is so many changes of the reaction to one story; the same again, or to no story, is none', async () => {
    const { alice, bob } = await scene({ REACTION_CHANGES_PER_DAY: '3' })
    const [story, other] = [await alice.post(), await alice.post()]
    const react = (to: string, emoji: string) =>
      bob.call<Problem>('POST', `/stories/${to}/reactions`, { emoji })
    const emoji = ['👍', '👍', '👍', '🔥', '🔥', '🎉']
    let nth = 0
    expect((await repeat(emoji.length, () => react(story, emoji[nth++] ?? ''))).statuses).toEqual(
      Array(6).fill(200),
    )
    // Whoever got no answer to the last one that was allowed sends it again.
    expect(await react(story, '🎉')).toMatchObject({ status: 200, json: { emoji: '🎉', recorded: false } })
    expectTooMany(await react(story, '🔥'))
    await bob.call('DELETE', `/stories/${story}/reactions`)
    expectTooMany(await react(story, '🎉'))
    expect((await repeat(5, () => react(UNKNOWN.split('/')[2] ?? '', '👍'))).statuses).toEqual(
      Array(5).fill(404),
    )
    expect((await react(other, '👍')).status).toBe(200)
    expect(await limited('reaction_changes')).toBe(2)
  })

  it('of changes refuses neither the last one that is still being written nor a story that is gone', async () => {
    const { alice, bob } = await scene({ REACTION_CHANGES_PER_DAY: '2' })
    const story = await alice.post()
    const react = (emoji: string) => bob.call<Problem>('POST', `/stories/${story}/reactions`, { emoji })
    expect((await react('👍')).status).toBe(200)
    const sql = postgres(instance.database.url, { max: 1 })
    onTestFinished(() => sql.end())
    const asked: Promise<Reply<Problem>>[] = []
    await sql.begin(async (tx) => {
      await tx`select from glimpse.streams where user_id = ${alice.user} for update`
      for (let i = 0; i < 2; i++) {
        asked.push(react('🎉'))
        await sleep(200)
      }
    })
    expect(await Promise.all(asked)).toMatchObject([
      { status: 200, json: { recorded: true } },
      { status: 200, json: { recorded: false } },
    ])
    expectTooMany(await react('🔥'))
    await sql`update glimpse.stories set expires_at = now() where id = ${story}`
    expect((await react('🔥')).json).toMatchObject({ type: 'urn:glimpse:problem:expired_story' })
    expect((await alice.call('DELETE', `/stories/${story}`)).status).toBe(204)
    expect((await react('🔥')).json).toMatchObject({ type: 'urn:glimpse:problem:unknown_story' })
  })

  it('is so many open tickets, however many are asked for at once; a used one makes room', async () => {
    const { alice, bob } = await scene({ MAX_TICKETS_PER_USER: '2' })
    const ask = (caller: Caller) => caller.call<Problem & { ticket: string }>('POST', '/tickets')
    const answers = await Promise.all([ask(alice), ask(alice), ask(alice), ask(bob)])
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, 429])
    expect(answers[3]?.status).toBe(201)
    expectTooMany(await ask(alice))
    const used = answers.find(({ status }) => status === 201)?.json.ticket
    expect(
      (await call(instance.url, `/events?ticket=${used}`, { headers: { accept: 'application/json' } }))
        .status,
    ).toBe(200)
    expect((await ask(alice)).status).toBe(201)
    expect(await limited('user_tickets')).toBe(2)
  })
})

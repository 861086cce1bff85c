import { describe, expect, it, onTestFinished } from 'vitest'
import { type ErrorCode, GlimpseError } from '../../src/errors.ts'
import { namesEventStream } from '../../src/http/accept.ts'
import { pauseAnswer } from '../../src/http/pause-stream.ts'
import { PROBLEMS } from '../../src/http/problem.ts'
import { type Caller, call, newCallers, type Problem } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { createDatabase } from '../support/database.ts'
import { type Environment, type Instance, startInstance } from '../support/instance.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

async function scene(environment: Environment): Promise<{ instance: Instance; alice: Caller }> {
  const instance = await startInstance(environment)
  onTestFinished(() => instance.close())
  const [alice] = (await newCallers(instance.url, 'alice')) as [Caller]
  return { instance, alice }
}

/** Takes places until none is left, with requests that an EventSource would send. */
const SCENES: Record<string, { reason: string; status: number; refused: () => Promise<Caller> }> = {
  'an instance that is full': {
    reason: 'overloaded',
    status: 503,
    async refused() {
      const { alice } = await scene({ MAX_CONNECTIONS: '1' })
      await open('ws', alice)
      return alice
    },
  },
  'an address that holds its share': {
    reason: 'overloaded',
    status: 429,
    async refused() {
      const { alice } = await scene({ MAX_CONNECTIONS_PER_ADDRESS: '1' })
      await open('ws', alice)
      return alice
    },
  },
  'a user who connects too often': {
    reason: 'overloaded',
    status: 429,
    async refused() {
      const { alice } = await scene({ RATE_LIMIT: 'on', USER_CONNECTS_PER_MINUTE: '6' })
      ;(await open('ws', alice)).close()
      return alice
    },
  },
  'an address that asks too often, before its route is known': {
    reason: 'overloaded',
    status: 429,
    async refused() {
      const { instance, alice } = await scene({ RATE_LIMIT: 'on', ADDRESS_REQUESTS_PER_MINUTE: '6' })
      await call(instance.url, '/openapi.json')
      return alice
    },
  },
  'a database that is away': {
    reason: 'unavailable',
    status: 503,
    async refused() {
      const database = await createDatabase()
      onTestFinished(() => database.drop())
      const proxy = await TcpProxy.before(database.url)
      const instance = await startInstance({ DATABASE_URL: proxy.urlFor(database.url) }, { database })
      onTestFinished(() => instance.close())
      await proxy.close()
      return instance.caller('alice')
    },
  },
}

const SECONDS_OF_WAIT = { least: 0.5, most: 1.5 }

describe.each(Object.entries(SCENES))('%s', (_what, { reason, status, refused }) => {
  it('answers an EventSource with a stream of one message, and everybody else with the status', async () => {
    const alice = await refused()
    const plain = async (path: string, headers: Record<string, string> = {}) => {
      const reply = await call<Problem>(alice.url, path, { token: alice.token, headers })
      return { status: reply.status, wait: Number(reply.headers.get('retry-after')), type: reply.json?.type }
    }
    const asCurl = await plain('/events', { accept: '*/*' })
    expect(asCurl).toMatchObject({ status, type: expect.stringMatching(/^urn:glimpse:problem:/) })
    const webSocket = { connection: 'Upgrade', upgrade: 'websocket' }
    await expect(open('ws', { ...alice, headers: webSocket })).rejects.toThrow(`rejected with ${status}`)

    const stream = await openSse(alice)
    await stream.closed
    expect(stream.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
    })
    expect(stream.messages.map(({ json }) => json)).toEqual([
      { type: 'stream.close', data: { reason, reconnect: true, retry_ms: expect.any(Number) } },
    ])
    const [message] = stream.messages
    const { data } = message?.json as { data: { retry_ms: number } }
    expect(stream.retries).toEqual([data.retry_ms])
    expect(message?.sse).toEqual({ id: undefined, event: 'stream.close' })
    // A rate limit counts its seconds down between the two answers, but no more than one of them.
    expect(data.retry_ms).toBeGreaterThanOrEqual((asCurl.wait - 1) * 1000 * SECONDS_OF_WAIT.least)
    expect(data.retry_ms).toBeLessThanOrEqual((asCurl.wait + 1) * 1000 * SECONDS_OF_WAIT.most)
  })
})

it.each([
  'eventsource',
  'undici EventSource',
] as const)('%s comes back by itself from an instance that was full', async (client) => {
  const { instance, alice } = await scene({ MAX_CONNECTIONS: '1' })
  const blocker = await open('ws', await instance.caller('bob'))
  const stream = await open(client, alice)
  await stream.next('stream.close')
  blocker.close()
  await stream.next('stream.open')
}, 30_000)

describe('what does not pass by itself', () => {
  it('keeps its status for an EventSource', async () => {
    const { instance, alice } = await scene({})
    const headers = { accept: 'text/event-stream' }
    expect((await call(instance.url, '/events', { token: 'x', headers })).status).toBe(401)
    const foreign = { ...headers, origin: 'https://evil.example' }
    expect((await call(instance.url, '/events', { token: alice.token, headers: foreign })).status).toBe(403)
    expect((await call(instance.url, '/nowhere', { headers })).status).toBe(404)
  })

  it('is all that is neither 429 nor 503', () => {
    for (const [code, { status }] of Object.entries(PROBLEMS)) {
      const passes = pauseAnswer(new GlimpseError(code as ErrorCode)) !== undefined
      expect({ code, passes }).toEqual({ code, passes: status === 429 || status === 503 })
    }
  })
})

it('a page that an EventSource may not have asked for gets the plain status', async () => {
  const { alice } = await scene({ RATE_LIMIT: 'on', USER_REQUESTS_PER_MINUTE: '6' })
  const ask = (accept: string) =>
    call<Problem>(alice.url, '/events', { token: alice.token, headers: { accept } })
  expect((await ask('application/json')).status).toBe(200)
  for (const accept of ['application/json', '*/*', 'text/*', 'text/event-stream;q=0, */*', 'text/html'])
    expect([accept, (await ask(accept)).status]).toEqual([accept, 429])
})

describe('the wait', () => {
  it.each([
    ['draining', 1],
    ['full', 5],
    ['too_many_requests', 37],
  ] as const)('of %s is spread around what is left of it', (code, retryAfter) => {
    const wait = (random: number) => {
      const text = String(pauseAnswer(new GlimpseError(code, { retryAfter }), () => random)?.body)
      return Number(/^retry: (\d+)$/m.exec(text)?.[1])
    }
    expect([wait(0), wait(0.5), wait(1)]).toEqual([0.5, 1, 1.5].map((share) => share * retryAfter * 1000))
  })
})

describe('the name in Accept', () => {
  it.each([
    ['text/event-stream', true],
    ['TEXT/Event-Stream', true],
    ['text/event-stream;q=0.5', true],
    ['text/html, text/event-stream; q=1', true],
    ['text/event-stream;q=0', false],
    ['text/event-stream ; q=0.000', false],
    ['text/event-streams', false],
    ['text/*', false],
    ['*/*', false],
    ['', false],
    [undefined, false],
  ])('%s counts: %s', (accept, counts) => {
    expect(namesEventStream(accept)).toBe(counts)
  })
})

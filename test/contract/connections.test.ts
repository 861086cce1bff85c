import { afterEach, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { open, STATUSES, STREAMING } from '../support/clients/index.ts'
import { openSse, SseStream } from '../support/clients/sse.ts'
import { Rejected, type TestStream } from '../support/clients/stream.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
afterEach(() => instance.close())

async function scene(environment: Record<string, string>) {
  instance = await startInstance(environment)
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob, story: await alice.post() }
}

/** The stream was told that it is replaced, and ended in its transport's way. */
async function expectReplaced(stream: TestStream) {
  const { json } = await stream.next('stream.close')
  expect(json.data).toEqual({ reason: 'replaced', reconnect: false, retry_ms: expect.any(Number) })
  const { code } = await stream.closed
  if (stream instanceof SseStream) expect(stream.retries.at(-1)).toBe(86_400_000)
  else expect(code).toBe(4500)
  expect(stream.messages.at(-1)?.json.type).toBe('stream.close')
}

describe('many connections of one user', () => {
  it('all get every event, in order', async () => {
    const { alice, bob, story } = await scene({ MAX_CONNECTIONS_PER_USER: '50' })
    const streams = await Promise.all(
      Array.from({ length: 40 }, (_, i) => open(i % 2 === 0 ? 'sse' : 'ws', alice)),
    )
    for (const emoji of ['❤️', '🔥', '👍', '😂', '😮']) await bob.react(story, emoji)
    const texts = await Promise.all(
      streams.map(async (stream) => (await stream.take(5)).map(({ raw }) => raw)),
    )
    for (const text of texts) expect(text).toEqual(texts[0])
    expect(streams[0]?.seqs).toEqual([1, 2, 3, 4, 5])
  })

  it('lets each go without the others noticing', async () => {
    const { alice, bob, story } = await scene({})
    const streams = await Promise.all(
      Array.from({ length: 6 }, (_, i) => open(i % 2 === 0 ? 'sse' : 'ws', alice)),
    )
    for (const gone of streams.slice(0, 4)) gone.cut()
    await bob.view(story)
    for (const stream of streams.slice(4)) expect((await stream.take(1))[0]?.json.seq).toBe(1)
  })
})

describe('MAX_CONNECTIONS_PER_USER', () => {
  it.each(
    STREAMING.flatMap((old) => STREAMING.map((latest) => [old, latest] as const)),
  )('1: the latest replaces the old (%s, then %s)', async (old, latest) => {
    const { alice, bob, story } = await scene({ MAX_CONNECTIONS_PER_USER: '1' })
    const first = await open(old, alice)
    const second = await open(latest, alice)
    await expectReplaced(first)
    await bob.view(story)
    await second.take(1)
    expect(first.seqs).toEqual([])
  })

  it('ends the oldest connection, whatever its transport, and no other', async () => {
    const { alice, bob, story } = await scene({ MAX_CONNECTIONS_PER_USER: '3' })
    const streams: TestStream[] = []
    for (const transport of ['ws', 'sse', 'ws', 'sse', 'ws'] as const)
      streams.push(await open(transport, alice))
    for (const replaced of streams.slice(0, 2)) await expectReplaced(replaced)
    await bob.view(story)
    for (const stream of streams.slice(2)) await stream.take(1)
  })

  it("counts each user's connections alone, and none that has ended", async () => {
    const { alice, bob, story } = await scene({ MAX_CONNECTIONS_PER_USER: '1' })
    const gone = await open('ws', alice)
    gone.close()
    await gone.closed
    const bobs = await open('sse', bob)
    const alices = await open('sse', alice)
    await bob.view(story)
    await alices.take(1)
    await alice.view(await bob.post())
    await bobs.take(1)
  })

  it('does not count polls', async () => {
    const { alice, bob, story } = await scene({ MAX_CONNECTIONS_PER_USER: '1' })
    const stream = await open('sse', alice)
    const polled = await open('poll', alice)
    await bob.view(story)
    await Promise.all([stream.take(1), polled.take(1)])
  })
})

describe('MAX_CONNECTIONS', () => {
  it.each(
    STREAMING,
  )('answers one more over %s with 503 and Retry-After, until one leaves', async (transport) => {
    const { alice, bob } = await scene({ MAX_CONNECTIONS: '2' })
    const first = await open('sse', alice)
    await open('ws', bob)
    const rejection = await open(transport, { ...alice, ...STATUSES }).catch((error: unknown) => error)
    expect(rejection).toBeInstanceOf(Rejected)
    const { status, headers, body } = rejection as Rejected
    expect(status).toBe(503)
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json\b/)
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(JSON.parse(body)).toMatchObject({ type: 'urn:glimpse:problem:full', status: 503 })
    expect((await alice.call('GET', '/livez')).status).toBe(200)

    first.close()
    for (;;) {
      const next = await open(transport, { ...alice, ...STATUSES }).catch((error: unknown) => error)
      if (!(next instanceof Rejected)) break
    }
  })
})

describe('a connection whose client vanishes while it opens', () => {
  it('leaves nothing behind that counts', async () => {
    const { alice, bob, story } = await scene({ MAX_CONNECTIONS: '3', MAX_CONNECTIONS_PER_USER: '3' })
    for (let i = 0; i < 30; i += 1) {
      const controller = new AbortController()
      const request = fetch(`${alice.url}/events?token=${alice.token}`, { signal: controller.signal })
      request.catch(() => {})
      if (i % 3 > 0) await new Promise((resolve) => setImmediate(resolve))
      if (i % 3 > 1) await request.catch(() => {})
      controller.abort()
    }
    const openAtLast = async (): Promise<TestStream> => {
      const stream = await openSse({ ...alice, ...STATUSES }).catch((error: unknown) => error)
      return stream instanceof Rejected ? openAtLast() : (stream as SseStream)
    }
    const streams = [await openAtLast(), await openAtLast(), await openAtLast()]
    await bob.view(story)
    for (const stream of streams) await stream.take(1)
  })
})

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import type { Attack, Target } from './http/attack.ts'
import { dial, type Exchange, exchange } from './http/exchange.ts'
import { MALFORMED } from './http/malformed.ts'
import { SMUGGLING } from './http/smuggling.ts'
import { plans, play } from './http/spoilt.ts'
import { countCases, times } from './support/full.ts'

const ABREAST = 16
const CONNECTIONS = times(480, 10_000)

let instance: Instance
let author: Caller
/** What was tried on which story. */
const attacked: [what: string, story: string][] = []
let victim: Caller
beforeAll(async () => {
  instance = await startInstance({ MAX_CONNECTIONS_PER_USER: '1000' })
  ;[author, victim] = (await newCallers(instance.url, 'author', 'victim')) as [Caller, Caller]
})
afterAll(() => instance.close())

async function newTarget(): Promise<Target> {
  const story = await author.post()
  const { host } = new URL(instance.url)
  const authorization = `Authorization: Bearer ${victim.token}`
  const smuggled = `POST /stories/${story}/view HTTP/1.1\r\nHost: ${host}\r\n${authorization}\r\n\r\n`
  return { host, authorization, story, smuggled }
}

describe.each([
  ['smuggling', SMUGGLING],
  ['malformed requests', MALFORMED],
])('%s', (_, attacks: readonly Attack[]) => {
  it.each(attacks.map((attack) => [attack.what, attack] as const))('%s', async (_what, attack) => {
    const { expected, bytes } = attack
    const target = await newTarget()
    const awaited = typeof expected === 'string' ? 4 : expected.length
    expectKept(expected, await exchange(instance.url, bytes(target), { answers: awaited }))
    attacked.push([attack.what, target.story])
  })
})

function expectKept(expected: Attack['expected'], { answers, rest, closed }: Exchange): void {
  const statuses = answers.map(({ status }) => status)
  for (const { status, body } of answers) {
    expect(status).toBeLessThan(500)
    if (status >= 400) expect(JSON.parse(body)).toMatchObject({ status })
  }
  if (expected === 'refused') {
    expect(closed).toBe(true)
    expect(rest).toBe('')
    expect(statuses.length).toBeLessThanOrEqual(1)
    for (const status of statuses) expect(status).toBeGreaterThanOrEqual(400)
  } else if (expected === 'cut') {
    expect(closed).toBe(true)
    for (const status of statuses) expect(status).toBeLessThan(400)
  } else {
    expect(statuses).toEqual(expected)
  }
}

describe('a connection that carries a stream', () => {
  const events = () => `GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${victim.token}\r\n\r\n`

  it.each([
    ['a request', () => 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['another stream', events],
    ['garbage', () => 'GARBAGE\r\n\r\n'],
  ])('ends where %s follows it, and no answer gets into the stream', async (_, more) => {
    const socket = dial(instance.url)
    let received = ''
    const ended = new Promise((resolve) => socket.on('end', resolve).on('close', resolve))
    const opened = new Promise<void>((resolve) => {
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        received += chunk
        if (received.includes('stream.open')) resolve()
      })
    })
    socket.write(events())
    await opened
    socket.write(more())
    await ended
    expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })

  it('waits for the answer to the request before it, and ends where something follows it', async () => {
    const { story } = await newTarget()
    const first = `GET /stories/${story} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${victim.token}\r\n\r\n`
    const { answers, rest, closed } = await exchange(instance.url, first + events().repeat(100), {
      answers: 101,
    })
    expect(answers.map(({ status }) => status)).toEqual([200])
    expect(rest.split('HTTP/1.1 200 OK')).toHaveLength(2)
    expect(rest).toContain('event: stream.open')
    expect(closed).toBe(true)
  })
})

it('nothing was smuggled in', async () => {
  const stories = await Promise.all(
    attacked.map(async ([what, story]) => ({ what, views: (await author.story(story)).views })),
  )
  expect(stories.filter(({ views }) => views > 0)).toEqual([])
})

it('the request that was to be smuggled in is answered on a connection of its own', async () => {
  const target = await newTarget()
  expect((await exchange(instance.url, target.smuggled)).answers[0]?.status).toBe(200)
  expect(await author.story(target.story)).toMatchObject({ views: 1 })
})

it('spoilt bytes, cut into packets and reset, get no 5xx and disturb nobody else', {
  timeout: times(60_000, 600_000),
}, async (context) => {
  const target = await newTarget()
  const streams = await Promise.all(STREAMING.map((transport) => open(transport, author)))
  await fc.assert(
    fc.asyncProperty(fc.array(plans, { minLength: ABREAST, maxLength: ABREAST }), async (all) => {
      for (const received of await Promise.all(all.map((plan) => play(instance.url, plan, target))))
        expect(received).not.toMatch(/HTTP\/1\.1 5\d\d /)
    }),
    { numRuns: CONNECTIONS / ABREAST, endOnFailure: true },
  )
  expect((await call(instance.url, '/readyz')).status).toBe(200)
  await victim.view(target.story)
  for (const stream of streams) await stream.take(1)
  countCases(context, CONNECTIONS)
})

import { once } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Caller, call } from '../support/api.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { dial } from './http/exchange.ts'
import { countCases, times } from './support/full.ts'

const ABREAST = 16
const CONNECTIONS = times(480, 10_000)
/** How long a connection may take to say what it has to say. */
const LINGER_MS = 300

let instance: Instance
let author: Caller
let visitor: Caller
let story: string
beforeAll(async () => {
  instance = await startInstance({ MAX_CONNECTIONS_PER_USER: '1000' })
  author = await instance.caller('author')
  visitor = await instance.caller('visitor')
  story = await author.post()
})
afterAll(() => instance.close())

const WEBSOCKET =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const CHUNKED = 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n'

/** Good requests of every kind, to be sent one behind the other and spoilt. */
const TEMPLATES: readonly (() => string)[] = [
  () => request('GET /livez'),
  () => request('HEAD /livez'),
  () => request('OPTIONS /stories'),
  () => request('GET /metrics'),
  () => request('GET /nowhere'),
  () => request(`GET /stories/${story}`),
  () => request('GET /events'),
  () => request('GET /events?after=0', 'Accept: application/json\r\n'),
  () => request('GET /ws', WEBSOCKET),
  () => request('GET /livez', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'),
  () => `${request('POST /stories', 'Content-Type: application/json\r\nContent-Length: 12\r\n')}{"text":"a"}`,
  () => `${request('POST /stories', CHUNKED)}c\r\n{"text":"a"}\r\n0\r\n\r\n`,
  () => `${request('POST /stories', `${CHUNKED}Expect: 100-continue\r\n`)}2\r\n{}\r\n0\r\n\r\n`,
]

function request(line: string, more = ''): string {
  return `${line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${visitor.token}\r\n${more}\r\n`
}

/** What makes a difference to a parser. */
const SPOILERS = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  '0',
  'ffffffff',
  '\x80',
  'HTTP/1.1',
  'chunked',
]

const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  drop: fc.integer({ min: 0, max: 8 }),
  put: fc.oneof(
    fc.constant(''),
    fc.constantFrom(...SPOILERS),
    fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  ),
})

const plan = fc.record({
  requests: fc.array(fc.nat(TEMPLATES.length - 1), { minLength: 1, maxLength: 4 }),
  mutations: fc.array(mutation, { maxLength: 3 }),
  /** Where the bytes are cut into packets. */
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
  /** Whether this side resets the connection instead of waiting for the end. */
  reset: fc.boolean(),
})
type Plan = typeof plan extends fc.Arbitrary<infer Made> ? Made : never

function packets({ requests, mutations, cuts }: Plan): Buffer[] {
  let text = requests.map((i) => TEMPLATES[i]?.() ?? '').join('')
  for (const { at, drop, put } of mutations) {
    const place = Math.floor(at * text.length)
    text = text.slice(0, place) + put + text.slice(place + drop)
  }
  const bytes = Buffer.from(text, 'latin1')
  const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end))
}

/** Sends it all and gives what came back. */
async function play(one: Plan): Promise<string> {
  const socket = dial(instance.url)
  let received = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk
  })
  const over = once(socket, 'close').catch(() => undefined)
  for (const packet of packets(one)) {
    socket.write(packet)
    await turn()
  }
  if (one.reset) {
    await turn()
    socket.resetAndDestroy()
  } else {
    socket.end()
    await Promise.race([over, sleep(LINGER_MS)])
    socket.destroy()
  }
  return received
}

it('whatever bytes come, behind one another, spoilt, cut and reset: no 5xx, and nobody else notices', {
  timeout: times(60_000, 600_000),
}, async (context) => {
  const streams = await Promise.all(STREAMING.map((transport) => open(transport, author)))
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: ABREAST, maxLength: ABREAST }), async (plans) => {
      for (const received of await Promise.all(plans.map(play)))
        expect(received).not.toMatch(/HTTP\/1\.1 5\d\d /)
    }),
    { numRuns: CONNECTIONS / ABREAST, endOnFailure: true },
  )
  expect((await call(instance.url, '/readyz')).status).toBe(200)
  await visitor.view(story)
  for (const stream of streams) await stream.take(1)
  countCases(context, CONNECTIONS)
})

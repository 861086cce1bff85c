import { once } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import type { Target } from './attack.ts'
import { dial } from './exchange.ts'

/** Good requests behind one another, then spoilt, cut into packets and perhaps reset. */

/** How long a connection may take to say what it has to say. */
const LINGER_MS = 300

const WEBSOCKET =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const CHUNKED = 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n'

/** Good requests of every kind, to be sent one behind the other and spoilt. */
const TEMPLATES: readonly ((target: Target) => string)[] = [
  (target) => request(target, 'GET /livez'),
  (target) => request(target, 'HEAD /livez'),
  (target) => request(target, 'OPTIONS /stories'),
  (target) => request(target, 'GET /metrics'),
  (target) => request(target, 'GET /nowhere'),
  (target) => request(target, `GET /stories/${target.story}`),
  (target) => request(target, 'GET /events'),
  (target) => request(target, 'GET /events?after=0', 'Accept: application/json\r\n'),
  (target) => request(target, 'GET /ws', WEBSOCKET),
  (target) => request(target, 'GET /livez', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'),
  (target) =>
    `${request(target, 'POST /stories', 'Content-Type: application/json\r\nContent-Length: 12\r\n')}{"text":"a"}`,
  (target) => `${request(target, 'POST /stories', CHUNKED)}c\r\n{"text":"a"}\r\n0\r\n\r\n`,
  (target) => `${request(target, 'POST /stories', `${CHUNKED}Expect: 100-continue\r\n`)}2\r\n{}\r\n0\r\n\r\n`,
]

function request({ authorization }: Target, line: string, more = ''): string {
  return `${line} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n${more}\r\n`
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

export const plans = fc.record({
  requests: fc.array(fc.nat(TEMPLATES.length - 1), { minLength: 1, maxLength: 4 }),
  mutations: fc.array(mutation, { maxLength: 3 }),
  /** Where the bytes are cut into packets. */
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
  /** Whether this side resets the connection instead of waiting for the end. */
  reset: fc.boolean(),
})
export type Plan = typeof plans extends fc.Arbitrary<infer Made> ? Made : never

function packets({ requests, mutations, cuts }: Plan, target: Target): Buffer[] {
  let text = requests.map((i) => TEMPLATES[i]?.(target) ?? '').join('')
  for (const { at, drop, put } of mutations) {
    const place = Math.floor(at * text.length)
    text = text.slice(0, place) + put + text.slice(place + drop)
  }
  const bytes = Buffer.from(text, 'latin1')
  const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end))
}

/** Sends it all and gives what came back. */
export async function play(url: string, one: Plan, target: Target): Promise<string> {
  const socket = dial(url)
  let received = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk
  })
  const over = once(socket, 'close').catch(() => undefined)
  for (const packet of packets(one, target)) {
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

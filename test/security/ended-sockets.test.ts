import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type MainProcess, spawnInstance } from '../support/instance.ts'
import { ServerProcess } from '../support/server-process.ts'
import { dial } from './http/exchange.ts'
import { countCases } from './support/full.ts'
import { closePayload, frame, OPCODE } from './websocket/frame.ts'

/** Peers whose sockets have to be ended, who never close their side and send on for as long as they can. */

const BOUND_MS = 3000

let database: TestDatabase
let main: MainProcess & { url: string }
let server: ServerProcess
let alice: Caller
beforeAll(async () => {
  database = await createDatabase()
  main = await spawnInstance({
    DATABASE_URL: database.url,
    MIGRATE: 'off',
    HEADERS_TIMEOUT_MS: String(BOUND_MS),
    REQUEST_TIMEOUT_MS: String(BOUND_MS),
    KEEP_ALIVE_TIMEOUT_MS: String(BOUND_MS),
    MESSAGES_PER_MINUTE: '6',
  })
  server = new ServerProcess(main.child.pid)
  ;[alice] = (await newCallers(main.url, 'alice')) as [Caller]
})
afterAll(async () => {
  await main.kill('SIGTERM')
  await database.drop()
})

const heldPorts = () => server.clientPorts(Number(new URL(main.url).port))
const lines = (...text: string[]) => `${text.join('\r\n')}\r\n\r\n`
const head =
  (line: string, ...more: string[]) =>
  ({ token }: Caller) =>
    lines(`${line} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${token}`, ...more)
const JSON_TYPE = 'Content-Type: application/json'
const UPGRADE = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

interface Ending {
  readonly what: string
  readonly first: (user: Caller) => string
  /** The status of the last words, where they are HTTP. */
  readonly status?: number
  readonly orStatus?: number
  /** Sent once the server has said something. */
  readonly next?: (user: Caller) => Buffer | Promise<void>
  /** What is sent for ever after. */
  readonly drip?: string | Buffer
}

const closeAll = async (user: Caller) => {
  const { json } = await user.call<{ connections: { id: string }[] }>('GET', '/me/connections')
  for (const { id } of json.connections) await user.call('DELETE', `/me/connections/${id}`)
}

const ENDINGS: readonly Ending[] = [
  { what: '408, a slow head', first: () => 'GET /livez HT', status: 408 },
  {
    what: '408, a slow body',
    first: head('POST /stories', JSON_TYPE, 'Content-Length: 10000'),
    status: 408,
    drip: ' ',
  },
  {
    what: '413',
    first: head('POST /stories', JSON_TYPE, 'Content-Length: 1000000'),
    status: 413,
    drip: 'x'.repeat(1000),
  },
  {
    what: '431',
    first: () => `GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}`,
    status: 431,
    drip: 'a'.repeat(1000),
  },
  { what: '400', first: () => 'GARBAGE\r\n\r\n', status: 400 },
  {
    what: '400 behind an answer',
    first: (user) => `${head('GET /livez')(user)}GARBAGE\r\n\r\n`,
    status: 400,
  },
  {
    what: 'an upgrade refused 401',
    first: () => lines('GET /ws HTTP/1.1', 'Host: x', ...UPGRADE),
    status: 401,
  },
  {
    what: 'an upgrade refused 400',
    first: head('GET /ws', ...UPGRADE.slice(0, 3)),
    status: 400,
  },
  { what: 'an idle connection', first: head('GET /livez'), status: 200, drip: '' },
  { what: 'line ends between two requests', first: head('GET /livez'), status: 200 },
  {
    what: 'half a head after an answer',
    first: (user) => `${head('GET /livez')(user)}GET /livez HTTP/1.1\r\nX-A: `,
    status: 200,
    // Whichever of the two bounds is met first.
    orStatus: 408,
    drip: 'a',
  },
  { what: 'Connection: close', first: head('GET /livez', 'Connection: close'), status: 200 },
  { what: 'an SSE stream that is closed', first: head('GET /events'), status: 200, next: closeAll },
  {
    what: 'bytes behind an SSE stream',
    first: head('GET /events'),
    status: 200,
    drip: 'GARBAGE\r\n\r\n',
  },
  {
    what: 'a WebSocket that is closed',
    first: head('GET /ws', ...UPGRADE),
    status: 101,
    next: closeAll,
  },
  {
    what: 'a WebSocket that closes and stays',
    first: head('GET /ws', ...UPGRADE),
    status: 101,
    next: () => frame(OPCODE.close, closePayload(1000)),
  },
  {
    what: 'a WebSocket protocol error',
    first: head('GET /ws', ...UPGRADE),
    status: 101,
    next: () => frame(3),
    drip: frame(3),
  },
  {
    what: 'a WebSocket message too large',
    first: head('GET /ws', ...UPGRADE),
    status: 101,
    next: () => frame(OPCODE.text, 'x'.repeat(20_000)),
    drip: frame(OPCODE.text, 'x'.repeat(20_000)),
  },
  {
    what: 'too many WebSocket messages',
    first: head('GET /ws', ...UPGRADE),
    status: 101,
    next: () => Buffer.concat(Array.from({ length: 20 }, () => frame(OPCODE.ping))),
    drip: frame(OPCODE.ping),
  },
]

// Each waits for bounds of the service, and none cares for another's socket.
it.concurrent.for(ENDINGS)('$what: last words, then the socket is gone', async (ending, {
  expect,
  onTestFinished,
}) => {
  const { first, status, orStatus, next, drip = '\r\n' } = ending
  const [user] = (await newCallers(main.url, 'alice')) as [Caller]
  const socket = dial(main.url)
  onTestFinished(() => void socket.destroy())
  let received = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk
  })
  socket.write(first(user))
  await once(socket, 'connect')
  const from = socket.localPort ?? 0
  const isHeld = () => heldPorts().includes(from)
  await expect.poll(() => received, { timeout: 20_000, interval: 20 }).toContain('HTTP/1.1 ')
  const dripping = setInterval(() => {
    if (drip !== '' && socket.writable) socket.write(drip)
  }, 20)
  onTestFinished(() => clearInterval(dripping))
  if (next !== undefined) {
    const sent = next(user)
    if (sent instanceof Promise) await sent
    else socket.write(sent)
  }
  await expect.poll(isHeld, { interval: 50 }).toBe(false)
  const last = Number([...received.matchAll(/HTTP\/1\.1 (\d{3})/g)].at(-1)?.[1])
  expect([status, orStatus]).toContain(last)
})

it('a connection that is used is held', async () => {
  const socket = dial(main.url)
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  await expect.poll(heldPorts).toContain(socket.localPort)
})

it('a crowd of them leaves nothing behind', async (context) => {
  const dialled = new Set<number>()
  const crowd = Array.from({ length: 200 }, (_, i) => {
    const socket = dial(main.url).resume()
    socket.once('connect', () => dialled.add(socket.localPort ?? 0))
    socket.write(ENDINGS[i % ENDINGS.length]?.first(alice) ?? '')
    return socket
  })
  onTestFinished(() => crowd.forEach((socket) => void socket.destroy()))
  await sleep(BOUND_MS)
  await closeAll(alice)
  const dripping = setInterval(() => {
    for (const socket of crowd) if (socket.writable) socket.write('\r\n')
  }, 100)
  onTestFinished(() => clearInterval(dripping))
  await expect
    .poll(
      async () => {
        await closeAll(alice)
        return heldPorts().filter((port) => dialled.has(port))
      },
      { timeout: 20_000, interval: 200 },
    )
    .toEqual([])
  expect(dialled.size).toBe(crowd.length)
  countCases(context, crowd.length)
})

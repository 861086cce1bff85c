import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { openSse, type SseStream } from '../support/clients/sse.ts'
import { openWebSocket, type WsStream } from '../support/clients/websocket.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { dial } from './http/exchange.ts'
import { countCases, times } from './support/full.ts'

const HEADERS_MS = 600
const REQUEST_MS = 1200
/** What a client may take to read an answer. */
const ANSWER_MS = 1500
const STALL_MS = 1500
/** How late a bound may be enforced on a busy machine. */
const PATIENCE_MS = 10_000

let instance: Instance
let alice: Caller
let bob: Caller
let quiet: [SseStream, WsStream]
let story: string
beforeAll(async () => {
  instance = await startInstance({
    HEADERS_TIMEOUT_MS: String(HEADERS_MS),
    REQUEST_TIMEOUT_MS: String(REQUEST_MS),
    KEEP_ALIVE_TIMEOUT_MS: '500',
    STALL_TIMEOUT_MS: String(STALL_MS),
    ANSWER_TIMEOUT_MS: String(ANSWER_MS),
    HEARTBEAT_INTERVAL_MS: '200',
  })
  ;[alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  story = await alice.post()
  quiet = [await openSse(alice), await openWebSocket(alice)]
})
afterAll(async () => {
  for (const stream of quiet) stream.close()
  await instance.close()
})

const REQUEST = (line: string, ...lines: string[]) =>
  [`${line} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${bob.token}`, ...lines, '', ''].join('\r\n')
const POST = (...lines: string[]) => REQUEST('POST /stories', 'Content-Type: application/json', ...lines)

interface Drip {
  readonly what: string
  /** Sent at once. */
  readonly first: () => string
  /** Sent again and again, a piece every 50 ms, for as long as the connection takes it. */
  readonly next?: string
  /** The answer, where there is one. */
  readonly status?: number
}

const DRIPS: readonly Drip[] = [
  { what: 'nothing at all', first: () => '', status: 408 },
  { what: 'half a request line', first: () => 'GET /live', status: 408 },
  { what: 'half a head', first: () => 'GET /livez HTTP/1.1\r\nHost: x\r\n', status: 408 },
  { what: 'line ends for ever', first: () => '', next: '\r\n' },
  { what: 'a header byte by byte', first: () => 'GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ', next: 'a' },
  { what: 'headers for ever', first: () => 'GET /livez HTTP/1.1\r\nHost: x\r\n', next: 'X-A: a\r\n' },
  { what: 'a body that never begins', first: () => POST('Content-Length: 100'), status: 408 },
  { what: 'a body that stops', first: () => `${POST('Content-Length: 100')}{`, status: 408 },
  { what: 'a body byte by byte', first: () => POST('Content-Length: 10000'), next: ' ', status: 408 },
  {
    what: 'chunks for ever',
    first: () => POST('Transfer-Encoding: chunked'),
    next: '1\r\n \r\n',
    status: 408,
  },
  {
    what: 'a chunk that never ends',
    first: () => `${POST('Transfer-Encoding: chunked')}1000\r\n`,
    next: ' ',
  },
  {
    what: 'a body that nobody reads, byte by byte',
    first: () => REQUEST('GET /livez', 'Content-Length: 10000'),
    next: ' ',
  },
  { what: 'an answer, then nothing more', first: () => REQUEST('GET /livez'), status: 200 },
]

it.concurrent.each(DRIPS)('a client that sends $what is disconnected in bounded time', async ({
  first,
  next,
  status,
}) => {
  const socket = dial(instance.url)
  onTestFinished(() => void socket.destroy())
  const ended = new Promise<void>((resolve) => {
    socket.on('end', resolve).on('close', resolve)
  })
  let received = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk
  })
  socket.write(first())
  const drip = setInterval(() => {
    if (next !== undefined) socket.write(next)
  }, 50)
  onTestFinished(() => clearInterval(drip))
  await within(ended, 'still open')
  if (status !== undefined) expect(received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  if (status === 408) expect(received).toContain('urn:glimpse:problem:request_timeout')
})

it.concurrent.each([
  ['answers', 'GET /openapi.json', 2000],
  ['refusals', 'GET /nowhere', 100_000],
] as const)('a client that reads none of its %s is dropped', async (_, line, count) => {
  const socket = dial(instance.url).pause()
  onTestFinished(() => void socket.destroy())
  const ended = new Promise<void>((resolve) => {
    socket.on('end', resolve).on('close', resolve)
  })
  socket.write(REQUEST(line).repeat(count))
  await sleep(2 * ANSWER_MS + 1500)
  let answers = 0
  // What the kernels hold is all that comes.
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answers += chunk.split('HTTP/1.1 ').length - 1
  })
  socket.resume()
  await within(ended, 'still open')
  expect(answers).toBeLessThan(count)
})

async function within(promise: Promise<void>, complaint: string): Promise<void> {
  const timer = new AbortController()
  const late = sleep(PATIENCE_MS, undefined, { ref: false, signal: timer.signal }).then(() => {
    throw new Error(complaint)
  })
  late.catch(() => {})
  await Promise.race([promise, late]).finally(() => timer.abort())
}

it('a crowd of idle and slow connections leaves the service ready for others', {
  timeout: 60_000,
}, async (context) => {
  const crowd = Array.from({ length: times(300, 3000) }, (_, i) => {
    const socket = dial(instance.url)
    socket.write(DRIPS[i % DRIPS.length]?.first() ?? '')
    return socket.resume()
  })
  onTestFinished(() => crowd.forEach((socket) => void socket.destroy()))
  const over = Promise.all(
    crowd.map((socket) => new Promise((resolve) => socket.on('end', resolve).on('close', resolve))),
  )
  expect((await call(instance.url, '/readyz')).status).toBe(200)
  await bob.view(story)
  await over
  countCases(context, crowd.length)
})

it('streams outlive all of these bounds and miss nothing', async () => {
  await sleep(2 * STALL_MS)
  const reader = (await newCallers(instance.url, 'reader'))[0] as Caller
  await reader.view(story)
  for (const stream of quiet) {
    const viewers = (await stream.take(2)).map(({ json }) =>
      'viewer_id' in json.data ? json.data.viewer_id : '',
    )
    expect(viewers).toEqual([bob.user, reader.user])
  }
})

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { stablePort } from '../faults/prover/ports.ts'
import { Caller, call } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Environment, MainProcess, spawnInstance } from '../support/instance.ts'
import { scrape } from '../support/metrics.ts'
import { signToken, TEST_SECRET } from '../support/token.ts'
import { dial } from './http/exchange.ts'

/** A machine that runs out of something costs service for a moment, never the process. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

async function database(): Promise<TestDatabase> {
  const made = await createDatabase()
  onTestFinished(() => made.drop())
  return made
}

const caller = async (url: string, user: string) => new Caller(url, user, await signToken(user))

/** Somebody posts, somebody views, and the event arrives. */
async function expectService(url: string): Promise<void> {
  const [author, viewer] = [await caller(url, 'author'), await caller(url, 'viewer')]
  const stream = await openSse(author)
  await viewer.view(await author.post())
  await stream.take(1)
  stream.close()
}

interface Unheard {
  readonly url: string
  readonly child: ChildProcess
}

/** An instance whose standard output goes where the test says; so nobody can learn its port from it. */
async function unheard(stdout: 'pipe' | number): Promise<Unheard> {
  const { url: databaseUrl } = await database()
  const port = await stablePort()
  const child = spawn(process.execPath, ['dist/main.js'], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      PORT: String(port),
      JWT_SECRET: TEST_SECRET,
      DATABASE_URL: databaseUrl,
      MIGRATE: 'off',
      RATE_LIMIT: 'off',
      LOG_LEVEL: 'trace',
      DRAIN_TIMEOUT_MS: '1000',
    },
    stdio: ['ignore', stdout, 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const url = `http://127.0.0.1:${port}`
  const ready = () =>
    call(url, '/readyz').then(
      ({ status }) => status,
      () => 0,
    )
  await expect.poll(ready, { timeout: 20_000, interval: 100 }).toBe(200)
  return { url, child }
}

/** Each refused request is a line. A hundred at a time are sent ahead, which costs a tenth of as many calls. */
async function makeLines(url: string, count: number): Promise<void> {
  const request = 'GET /stories/x HTTP/1.1\r\nHost: glimpse\r\nAuthorization: Bearer bad\r\n\r\n'
  const socket = dial(url).setEncoding('latin1')
  for (let sent = 0; sent < count; sent += 100) {
    socket.write(request.repeat(100))
    for (let received = ''; received.split('HTTP/1.1 401 ').length <= 100; )
      received += String(await once(socket, 'data'))
  }
  socket.destroy()
}

async function expectStops(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  const began = Date.now()
  child.kill('SIGTERM')
  expect(await exited).toEqual({ code: 0, signal: null })
  expect(Date.now() - began).toBeLessThan(3000)
}

it('a log on a full disk costs its lines', async () => {
  const full = openSync('/dev/full', 'w')
  onTestFinished(() => closeSync(full))
  const { url, child } = await unheard(full)
  await makeLines(url, 100)
  await expectService(url)
  expect((await scrape(url)).get('glimpse_log_lines_lost_total')).toBeGreaterThan(90)
  await expectStops(child)
})

it('a log whose reader is gone costs its lines', async () => {
  const { url, child } = await unheard('pipe')
  child.stdout?.destroy()
  await makeLines(url, 100)
  await expectService(url)
  expect((await scrape(url)).get('glimpse_log_lines_lost_total')).toBeGreaterThan(90)
  await expectStops(child)
})

it('a log whose reader stops is bounded, says what it lost once it is read, and holds up no exit', {
  timeout: 60_000,
}, async () => {
  const { url, child } = await unheard('pipe')
  await makeLines(url, 10_000)
  await expectService(url)
  expect((await scrape(url)).get('glimpse_log_lines_lost_total')).toBeGreaterThan(0)
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  await expect
    .poll(() => text, { timeout: 20_000 })
    .toMatch(/"lost":\d+,"msg":"the log could not be written for a time"/)
  for (const line of text.trim().split('\n').slice(0, -1)) JSON.parse(line)
  child.stdout?.pause()
  await makeLines(url, 5000)
  await expectStops(child)
})

it('descriptors are kept for Postgres and the log: past them new sockets are closed, and taken again', async () => {
  const { url: databaseUrl } = await database()
  const main = new MainProcess(
    { PORT: '0', JWT_SECRET: TEST_SECRET, DATABASE_URL: databaseUrl, MIGRATE: 'off', RATE_LIMIT: 'off' },
    { descriptors: 200 },
  )
  onTestFinished(() => void main.child.kill('SIGKILL'))
  const url = await main.listening()
  const author = await caller(url, 'author')
  const stream = await openSse(author)
  onTestFinished(() => stream.close())
  const story = await author.post()
  let closed = 0
  const crowd = Array.from({ length: 300 }, () =>
    dial(url)
      .resume()
      .on('end', () => {
        closed += 1
      }),
  )
  onTestFinished(() => crowd.forEach((socket) => void socket.destroy()))
  await expect.poll(() => main.output).toContain('the limit of open sockets is reached')
  // What it has not opened yet, it can.
  const viewers = await Promise.all(Array.from({ length: 20 }, (_, i) => caller(url, `viewer-${i}`)))
  await author.call('GET', `/stories/${story}`).catch(() => undefined)
  expect(closed).toBeGreaterThan(150)
  crowd.forEach((socket) => void socket.destroy())
  const open = () =>
    call(url, '/readyz').then(
      ({ status }) => status,
      () => 0,
    )
  await expect.poll(open, { timeout: 20_000, interval: 50 }).toBe(200)
  await Promise.all(viewers.map((viewer) => viewer.view(story)))
  await stream.take(20)
  // Twenty at once need new sockets; the one request before them may have found one that was open.
  await expect.poll(() => main.output).toContain('new sockets are accepted again')
  expect(main.output).not.toMatch(/EMFILE/)
  await main.kill('SIGTERM')
})

/** A module that the instance runs beside its own. */
const beside = (code: string) => `--import data:text/javascript,${encodeURIComponent(code)}`

async function besieged(nodeOptions: string, environment: Environment = {}) {
  const { url: databaseUrl } = await database()
  const main = await spawnInstance({
    DATABASE_URL: databaseUrl,
    MIGRATE: 'off',
    NODE_OPTIONS: nodeOptions,
    ...environment,
  })
  onTestFinished(() => void main.child.kill('SIGKILL'))
  return main
}

it('a heap that is nearly full takes no new streams, keeps those it has, and takes them again', {
  timeout: 60_000,
}, async () => {
  const fill = `let all = []
    process.on('SIGUSR2', () => {
      if (all.length > 0) { all = []; globalThis.gc(); return }
      const { getHeapStatistics } = process.getBuiltinModule('node:v8')
      const share = () => { const h = getHeapStatistics(); return h.used_heap_size / h.heap_size_limit }
      while (share() < 0.6) all.push(Array.from({ length: 1000 }, (_, i) => ({ i })))
    })`
  const main = await besieged(
    `--max-old-space-size=256 ${beside(fill)} ${beside('import v8 from "node:v8"; v8.setFlagsFromString("--expose-gc"); globalThis.gc = (await import("node:vm")).runInNewContext("gc")')}`,
    { MAX_HEAP_PERCENT: '50' },
  )
  const author = await caller(main.url, 'author')
  const stream = await openSse(author)
  onTestFinished(() => stream.close())
  const story = await author.post()
  main.child.kill('SIGUSR2')
  const opened = async () =>
    (
      await call(main.url, '/me/stream?offset=now&live=sse', {
        token: author.token,
        headers: { accept: '*/*' },
      })
    ).status
  await expect.poll(() => main.output).toContain('the heap is nearly full')
  expect(await opened()).toBe(503)
  await (await caller(main.url, 'viewer')).view(story)
  await stream.take(1)
  main.child.kill('SIGUSR2')
  await expect.poll(() => main.output).toContain('the heap has room again')
  const again = await openSse(author)
  again.close()
  await main.kill('SIGTERM')
})

it('an event loop that is late refuses new work, answers health checks, and takes work again', {
  timeout: 60_000,
}, async () => {
  const block = `let until = 0
    process.on('SIGUSR2', () => { until = Date.now() + 4000 })
    setInterval(() => { if (Date.now() < until) { const t = Date.now(); while (Date.now() - t < 600); } }, 10).unref()`
  const main = await besieged(beside(block), { MAX_EVENT_LOOP_DELAY_MS: '200' })
  const author = await caller(main.url, 'author')
  const story = await author.post()
  main.child.kill('SIGUSR2')
  await expect.poll(() => main.output).toContain('the event loop is late')
  const refused = await author.call<{ type: string }>('GET', `/stories/${story}`)
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('1')
  expect((await call(main.url, '/livez')).status).toBe(200)
  await expect.poll(() => main.output, { timeout: 20_000 }).toContain('the event loop keeps up again')
  await sleep(100)
  await expectService(main.url)
  await main.kill('SIGTERM')
})

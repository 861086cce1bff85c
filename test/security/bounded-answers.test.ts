import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterEach, expect, it, onTestFinished } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import { createDatabase } from '../support/database.ts'
import { type Environment, type MainProcess, spawnInstance } from '../support/instance.ts'
import { scrape } from '../support/metrics.ts'
import { ServerProcess } from '../support/server-process.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'
import { dial } from './http/exchange.ts'
import { countCases } from './support/full.ts'

/** Who asks for more than they read must not cost memory, nor anybody else a moment. */

const EVENTS = 1000
/** What the attacks may cost, as the issue of it is: the heap grows a little whatever is done. */
const MAY_GROW_MIB = 100

let dialled: Socket[] = []
afterEach(() => {
  for (const socket of dialled) socket.destroy()
  dialled = []
})

interface Scene {
  readonly main: MainProcess & { url: string }
  readonly server: ServerProcess
  readonly attacker: Caller
  readonly bystander: Caller
  readonly story: string
  readonly sql: postgres.Sql
  /** A request for the attacker's whole stream, some 200 kB. */
  readonly poll: string
}

async function scene(environment: Environment = {}): Promise<Scene> {
  const database = await createDatabase()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  const main = await spawnInstance({ DATABASE_URL: database.url, MIGRATE: 'off', ...environment })
  onTestFinished(async () => {
    await main.kill('SIGKILL')
    await sql.end()
    await database.drop()
  })
  const [attacker, bystander] = (await newCallers(main.url, 'attacker', 'bystander')) as [Caller, Caller]
  const viewers = Array.from({ length: EVENTS }, (_, i) => `viewer-${i}`)
  await insertViews(sql, await insertStory(sql, attacker.user), viewers)
  const story = await insertStory(sql, bystander.user)
  const path = `/events?after=0&limit=${EVENTS}`
  const headers = { accept: 'application/json' }
  // What serving as many to clients that read takes, V8 keeps.
  const reader = async () => {
    for (let i = 0; i < 10; i++) await call(main.url, path, { token: attacker.token, headers })
  }
  await Promise.all(Array.from({ length: 24 }, reader))
  const poll = `GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nAuthorization: Bearer ${attacker.token}\r\n\r\n`
  return { main, server: new ServerProcess(main.child.pid), attacker, bystander, story, sql, poll }
}

function attack(url: string, bytes: string): Socket {
  const socket = dial(url).pause()
  dialled.push(socket)
  socket.write(bytes)
  return socket
}

/** Looks on for a time: what memory was at its highest, and what a bystander met. */
async function watch({ main, server, bystander, story, sql }: Scene, ms: number) {
  const base = server.residentMiB
  const stream = await openSse(bystander)
  onTestFinished(() => stream.close())
  let peak = base
  let slowest = 0
  const statuses = new Set<number>()
  const until = Date.now() + ms
  for (let i = 0; Date.now() < until; i++) {
    const began = Date.now()
    statuses.add((await call(main.url, `/stories/${story}`, { token: bystander.token })).status)
    slowest = Math.max(slowest, Date.now() - began)
    await insertViews(sql, story, [`someone-${i}`])
    await stream.take(1)
    peak = Math.max(peak, server.residentMiB)
    await sleep(50)
  }
  return { grown: Math.round(peak - base), slowest, statuses: [...statuses] }
}

const limited = async ({ main }: Scene, limit: string) =>
  (await scrape(main.url)).get(`glimpse_limited_total{limit="${limit}"}`) ?? 0

it('24 sockets with 200 polls each that read nothing', { timeout: 60_000 }, async (context) => {
  const here = await scene()
  for (let i = 0; i < 24; i++) attack(here.main.url, here.poll.repeat(200))
  const { grown, slowest, statuses } = await watch(here, 3000)
  countCases(context, 24 * 200, `${grown} MiB at most, a bystander waits ${slowest} ms at most`)
  expect(grown).toBeLessThan(MAY_GROW_MIB)
  expect(statuses).toEqual([200])
  expect(slowest).toBeLessThan(2000)
})

it('what one user does not take is bounded over all of their sockets, and refused past it', {
  timeout: 60_000,
}, async () => {
  const here = await scene({ MAX_UNSENT_BYTES_PER_USER: '1048576' })
  for (let i = 0; i < 40; i++) attack(here.main.url, here.poll.repeat(50))
  const refusals = () => limited(here, 'unsent_answers')
  await expect.poll(refusals, { timeout: 30_000, interval: 200 }).toBeGreaterThan(0)
  const { statuses } = await watch(here, 1000)
  expect(statuses).toEqual([200])
  const path = `/events?after=0&limit=${EVENTS}`
  const refused = await call(here.main.url, path, {
    token: here.attacker.token,
    headers: { accept: 'application/json' },
  })
  expect(refused.status).toBe(429)
  expect(refused.json.detail).toBe('This user does not take the answers it asks for.')
})

it('tiny requests without a token, 2,000 a packet', { timeout: 60_000 }, async (context) => {
  const here = await scene()
  // The answer before keeps the socket busy.
  for (let i = 0; i < 100; i++)
    attack(here.main.url, `${here.poll}${'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2000)}`)
  const { grown, statuses } = await watch(here, 3000)
  countCases(context, 200_000, `${grown} MiB at most`)
  // All of a packet is parsed before the socket can be given up: garbage of some hundred MB, which is collected.
  expect(grown).toBeLessThan(5 * MAY_GROW_MIB)
  expect(statuses).toEqual([200])
})

it('a reader who takes a byte at a time is dropped, one who reads steadily is not', async () => {
  const here = await scene({ ANSWER_TIMEOUT_MS: '1500' })
  const dripper = attack(here.main.url, here.poll.repeat(100))
  const gone = once(dripper, 'close').catch(() => undefined)
  dripper.on('error', () => {}).on('readable', () => {})
  const dripping = setInterval(() => void dripper.read(1), 20)
  onTestFinished(() => clearInterval(dripping))
  // Whoever does not read learns only by writing that the connection is gone.
  const knocking = setInterval(() => dripper.writable && dripper.write('\r\n'), 200)
  onTestFinished(() => clearInterval(knocking))
  const steady = attack(here.main.url, here.poll.repeat(100))
  let answers = 0
  steady
    .setEncoding('latin1')
    .on('data', (chunk: string) => {
      answers += chunk.split('HTTP/1.1 200').length - 1
    })
    .resume()
  await gone
  await expect.poll(() => answers, { timeout: 20_000 }).toBe(100)
  expect(await limited(here, 'answer_timeout')).toBe(1)
})

it('requests that are sent ahead are answered one after the other, whatever their number', async (context) => {
  const here = await scene()
  const count = 1000
  const one = (i: number) =>
    `GET /stories/${here.story}?n=${i} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${here.bystander.token}\r\n\r\n`
  const socket = attack(here.main.url, Array.from({ length: count }, (_, i) => one(i)).join(''))
  let text = ''
  socket
    .setEncoding('latin1')
    .on('data', (chunk: string) => {
      text += chunk
    })
    .resume()
  await expect.poll(() => text.split('HTTP/1.1 200').length - 1, { timeout: 25_000 }).toBe(count)
  countCases(context, count)
})

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { ListenSession } from '../../src/postgres/listen-session.ts'
import { channelOf } from '../support/channel.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { hasOpenssl, TlsFront } from '../support/tls-front.ts'

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 1 })
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

/** What a session hears of payloads that are sent in one transaction. */
async function heard(url: string, payloads: readonly string[]): Promise<string[]> {
  const received: string[] = []
  let complete = () => {}
  const all = new Promise<void>((resolve) => {
    complete = resolve
  })
  const session = await ListenSession.open({
    connection: parseConnectionUrl(url),
    connectTimeoutMs: 5000,
    onPayload: (payload) => {
      if (received.push(payload) === payloads.length) complete()
    },
    onClosed: () => {},
  })
  onTestFinished(() => session.end())
  await sql`select pg_notify(${await channelOf(sql)}, payload) from unnest(${[...payloads]}::text[]) as payload`
  await all
  return received
}

/** Together more than comes in one chunk. */
const PAYLOADS = Array.from({ length: 60 }, (_, n) => `${n} ❤️ ${'x'.repeat(n * 130)}`)

describe('a LISTEN session hears each payload, whole and in order', () => {
  it('without TLS', async () => {
    expect(await heard(database.url, PAYLOADS)).toEqual(PAYLOADS)
  })

  it('with TLS', async ({ skip }) => {
    skip(!hasOpenssl, 'openssl is not installed')
    const { hostname, port } = new URL(database.url)
    const front = await TlsFront.start({ host: hostname, port: Number(port) })
    onTestFinished(() => front.close())
    expect(await heard(front.urlFor(database.url), PAYLOADS)).toEqual(PAYLOADS)
  })
})

describe('a LISTEN session that rests', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it.for([
    ['without TLS', false],
    ['with TLS', true],
  ] as const)('reads nothing until its time is over, and then all, in order: %s', async ([, encrypted], {
    skip,
  }) => {
    skip(encrypted && !hasOpenssl, 'openssl is not installed')
    let { url } = database
    if (encrypted) {
      const { hostname, port } = new URL(url)
      const front = await TlsFront.start({ host: hostname, port: Number(port) })
      onTestFinished(() => front.close())
      url = front.urlFor(url)
    }
    const received: string[] = []
    const session = await ListenSession.open({
      connection: parseConnectionUrl(url),
      connectTimeoutMs: 5000,
      onPayload: (payload) => received.push(payload),
      onClosed: () => {},
    })
    onTestFinished(() => session.end())
    const channel = await channelOf(sql)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    session.rest(10)
    // Asked for again, as a busy bus does before the first rest has begun, it is no longer.
    session.rest(10)
    await new Promise((resolve) => setImmediate(resolve))
    for (const payload of ['1', '2', '3']) await sql`select pg_notify(${channel}, ${payload})`
    // Each round trip is time for the notifications to be read, if they were.
    for (let n = 0; n < 20; n++) await sql`select ${n}::int`
    expect(received).toEqual([])
    vi.advanceTimersByTime(10)
    await expect.poll(() => received, { timeout: 20_000 }).toEqual(['1', '2', '3'])
    await sql`select pg_notify(${channel}, '4')`
    await expect.poll(() => received, { timeout: 20_000 }).toEqual(['1', '2', '3', '4'])
  })
})

it('rests at once where it is asked to after a chunk', async () => {
  const received: string[] = []
  let chunks = 0
  const session: ListenSession = await ListenSession.open({
    connection: parseConnectionUrl(database.url),
    connectTimeoutMs: 5000,
    onPayload: (payload) => received.push(payload),
    onChunk: () => {
      chunks++
      if (received.length === 1) session.rest(10)
    },
    onClosed: () => {},
  })
  onTestFinished(() => session.end())
  const channel = await channelOf(sql)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  await sql`select pg_notify(${channel}, '1')`
  // Not by expect.poll, which moves the clock.
  while (received.length === 0) await sql`select 1`
  for (const payload of ['2', '3']) await sql`select pg_notify(${channel}, ${payload})`
  for (let n = 0; n < 20; n++) await sql`select ${n}::int`
  expect(received).toEqual(['1'])
  const before = chunks
  vi.advanceTimersByTime(10)
  await expect.poll(() => received, { timeout: 20_000 }).toEqual(['1', '2', '3'])
  expect(chunks).toBe(before + 1)
})

it('tells that it was closed by the server', async () => {
  let closed = () => {}
  const told = new Promise<void>((resolve) => {
    closed = resolve
  })
  const session = await ListenSession.open({
    connection: parseConnectionUrl(database.url),
    connectTimeoutMs: 5000,
    onPayload: () => {},
    onClosed: closed,
  })
  onTestFinished(() => session.end())
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name = 'glimpse-listen'`
  await told
})

describe('a server that is silent once it is connected to', () => {
  it.for([
    ['without TLS', false],
    ['with TLS', true],
  ] as const)('is given up in time %s', async ([, secured], { skip }) => {
    skip(secured && !hasOpenssl, 'openssl is not installed')
    const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    onTestFinished(() => void silent.close())
    let url = Object.assign(new URL(database.url), { host: `127.0.0.1:${port}` }).href
    if (secured) {
      const front = await TlsFront.start({ host: '127.0.0.1', port })
      onTestFinished(() => front.close())
      url = front.urlFor(database.url)
    }
    const opening = ListenSession.open({
      connection: parseConnectionUrl(url),
      connectTimeoutMs: 200,
      onPayload: () => {},
      onClosed: () => {},
    })
    await expect(opening).rejects.toThrow()
  })
})

it('rejects with what the server said', async () => {
  const missing = Object.assign(new URL(database.url), { pathname: '/there_is_no_such_database' }).href
  const opening = ListenSession.open({
    connection: parseConnectionUrl(missing),
    connectTimeoutMs: 5000,
    onPayload: () => {},
    onClosed: () => {},
  })
  await expect(opening).rejects.toThrow('there_is_no_such_database')
})

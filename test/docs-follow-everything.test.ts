import { readFile } from 'node:fs/promises'
import { Logger, run } from 'graphile-worker'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { createLogger } from '../src/observability/log.ts'
import { parseConnectionUrl } from '../src/postgres/connection-url.ts'
import { migrate } from '../src/store/migrate.ts'
import { PostgresServer } from './faults/prover/postgres-server.ts'
import { insertStory, insertViews, upTo } from './support/sql-writer.ts'

/** docs/follow-everything.md, word for word, under its roles. */

let sqlBlocks: string[]
let jsBlocks: string[]
let server: PostgresServer
let url: string
let backendUrl: string
let owner: postgres.Sql
let backend: postgres.Sql
beforeAll(async () => {
  const text = await readFile('docs/follow-everything.md', 'utf8')
  const blocks = (language: string) =>
    [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
      ([, block]) => block ?? '',
    )
  sqlBlocks = blocks('sql')
  jsBlocks = blocks('js')
  server = await PostgresServer.create({ fsync: 'off' })
  const database = await server.createDatabase()
  url = database.url
  await migrate(parseConnectionUrl(url), createLogger('silent'))
  owner = postgres(url, { max: 10, onnotice: () => {} })
  const admin = postgres(database.adminUrl, { max: 1 })
  await admin`create role app_backend login password 'x'`
  await admin`create schema app authorization app_backend`
  await admin.end()
  backendUrl = Object.assign(new URL(url), { username: 'app_backend', password: 'x' }).href
  backend = postgres(backendUrl, { max: 4 })
  await backend`create table app.seen (user_id text, seq bigint)`
  await backend`grant usage on schema app to public`
  await backend`grant all on app.seen to public`
}, 120_000)
afterAll(async () => {
  await backend?.end()
  await owner?.end()
  await server?.close()
})

/** On a connection of its own, because a block begins and commits by itself. */
async function execute(at: string, text = ''): Promise<void> {
  const sql = postgres(at, { max: 1, onnotice: () => {} })
  try {
    await sql.unsafe(text)
  } finally {
    await sql.end()
  }
}

const moduleOf = (code = '') => import(`data:text/javascript,${encodeURIComponent(code)}`)

/** Users' events by the log: what every follower is measured against. */
const inLog = () =>
  owner<{ user_id: string; seq: string }[]>`select user_id, seq from glimpse.events order by user_id, seq`
const seen = () =>
  owner<{ user_id: string; seq: string }[]>`select user_id, seq from app.seen order by user_id, seq`

/** Transactions that stay open for a while and overtake each other, some of which are rolled back. */
async function write(prefix: string, transactions: number): Promise<void> {
  const authors = upTo(12).map((n) => `${prefix} ${n}`)
  const stories = await Promise.all(authors.map((author) => insertStory(owner, author)))
  const writer = async (nth: number) => {
    for (const n of upTo(transactions / 6))
      await owner
        .begin(async (tx) => {
          const of = (offset: number) => stories[(n * 7 + nth + offset) % stories.length] ?? ''
          await insertViews(tx as unknown as postgres.Sql, of(0), [`v ${nth} ${n} a`, `v ${nth} ${n} b`])
          await tx`select pg_sleep(${(n % 4) / 200})`
          if (n % 10 === 9) throw new Error('rolled back')
        })
        .catch((error: Error) => {
          if (error.message !== 'rolled back') throw error
        })
  }
  await Promise.all(upTo(6).map(writer))
}

it('queues what a reader by time or by number misses, and gives the backend no more than the queue', async () => {
  await expect(execute(backendUrl, sqlBlocks[0])).rejects.toMatchObject({ code: '42501' })
  await execute(url, sqlBlocks[0])
  for (const more of [
    'insert into feed.events (user_id, body) values (1, null)',
    'create trigger t after delete on feed.events execute function suppress_redundant_updates_trigger()',
    'select body from glimpse.events',
  ])
    await expect(execute(backendUrl, more)).rejects.toMatchObject({ code: '42501' })

  const [early, late] = [await insertStory(owner, 'early'), await insertStory(owner, 'late')]
  const read = async (at: { time: string; id: string }) => ({
    byTime:
      await owner`select user_id, logged_at::text as time from glimpse.events where logged_at > ${at.time}::text::timestamptz order by logged_at`,
    byId: await owner`select user_id, id from feed.events where id > ${at.id} order by id`,
  })
  let place = { time: '2000-01-01Z', id: '0' }
  await owner.begin(async (held) => {
    await insertViews(held as unknown as postgres.Sql, early, ['bob'])
    await insertViews(owner, late, ['bob'])
    const { byTime, byId } = await read(place)
    expect([...byTime, ...byId].map(({ user_id }) => user_id)).toEqual(['late', 'late'])
    place = { time: byTime[0]?.time, id: byId[0]?.id }
  })
  // The event of the first is there now, and neither reader will ever see it.
  expect(await read(place)).toEqual({ byTime: [], byId: [] })
  expect(await inLog()).toHaveLength(2)

  const { drain } = await moduleOf(jsBlocks[0])
  const users: string[] = []
  const apply = async (_tx: unknown, user: string) => void users.push(user)
  expect(await drain(backend, apply)).toBe(true)
  expect(await drain(backend, apply)).toBe(false)
  expect(users).toEqual(['early', 'late'])
})

it('gives every event once to workers that fail half-way, beside transactions that overtake each other', {
  timeout: 120_000,
}, async () => {
  await owner`truncate glimpse.events, glimpse.streams`
  const { drain } = await moduleOf(jsBlocks[0])
  let applied = 0
  let failures = 0
  const apply = async (tx: postgres.Sql, user: string, { seq }: { seq: number }) => {
    await tx`insert into app.seen values (${user}, ${seq})`
    applied += 1
    if (applied % 151 !== 0) return
    failures += 1
    throw new Error('planted')
  }
  let writing = true
  const worker = async () => {
    for (;;) {
      const last = !writing
      const more = await drain(backend, apply).catch((error: Error) => {
        if (error.message !== 'planted') throw error
        return true
      })
      if (last && !more) return
    }
  }
  await Promise.all([worker(), worker(), write('author', 300).finally(() => (writing = false))])
  expect(failures).toBeGreaterThan(1)
  expect((await inLog()).length).toBeGreaterThan(400)
  expect(await seen()).toEqual(await inLog())
  expect(await owner`select from feed.events`).toHaveLength(0)
})

it('gives every event once to graphile-worker, whose jobs fail before and after their effect', {
  timeout: 120_000,
}, async () => {
  await owner`truncate glimpse.events, glimpse.streams, app.seen`
  const { once } = await moduleOf(jsBlocks[1])
  let attempts = 0
  const apply = async (
    client: { query(text: string, values: unknown[]): Promise<unknown> },
    user: string,
    { seq }: { seq: number },
  ) => {
    await client.query('insert into app.seen values ($1, $2)', [user, seq])
    attempts += 1
    if (attempts % 100 === 7) throw new Error('planted before the commit')
  }
  const task = once(apply)
  let ended = 0
  const runner = await run({
    connectionString: url,
    concurrency: 4,
    pollInterval: 100,
    noHandleSignals: true,
    logger: new Logger(() => () => {}),
    taskList: {
      async glimpse_event(payload, helpers) {
        await task(payload, helpers)
        ended += 1
        // As where the worker is killed before it could say that the job is done.
        if (ended % 100 === 3) throw new Error('planted after the commit')
      },
    },
  })
  onTestFinished(() => runner.stop())
  await execute(url, sqlBlocks[1])
  await write('engine', 180)
  const jobs = async () => Number((await owner`select count(*) from graphile_worker.jobs`)[0]?.count)
  await expect.poll(jobs, { timeout: 45_000, interval: 200 }).toBe(0)
  expect(ended).toBeGreaterThan(100)
  expect((await inLog()).length).toBeGreaterThan(200)
  expect(await seen()).toEqual(await inLog())
})

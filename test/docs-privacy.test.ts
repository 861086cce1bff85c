import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { localStorageCursor } from '../src/client/stores.ts'
import { createPool } from '../src/postgres/pool.ts'
import { removeExpiredStories, removeExpiredTickets, trimEvents } from '../src/store/retention.ts'
import { Caller, call } from './support/api.ts'
import { glimpseHere } from './support/cli.ts'
import { open } from './support/clients/index.ts'
import { createDatabase, type TestDatabase } from './support/database.ts'
import { spawnInstance } from './support/instance.ts'
import { insertViews } from './support/sql-writer.ts'
import { signToken } from './support/token.ts'

/** Nothing else in a database or a log can be taken for one of these. */
const USER = 'ann.unmistakable@example.org'
const TEXT = 'unmistakable words of a story'
const ADDRESS = '203.0.113.77'

const page = await readFile('docs/privacy.md', 'utf8')

interface Kept {
  readonly about: string
  readonly until: string
}

/** What the page says of each table. */
const tables = new Map<string, Kept>()
for (const [, names = '', about = '', until = ''] of page.matchAll(
  /^\| ((?:`\w+`(?:, )?)+) \| (.*?) \| ?(.*?) ?\|$/gm,
))
  for (const [, name = ''] of names.matchAll(/`(\w+)`/g)) tables.set(name, { about, until })

const naming = [...tables].filter(([, { about }]) => !about.startsWith('nothing')).map(([name]) => name)

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await database.drop()
})

/** The tables that have any of these anywhere. */
async function tracesOf(...texts: string[]): Promise<string[]> {
  const found: string[] = []
  for (const name of tables.keys()) {
    const [row] = await sql`
      select from glimpse.${sql(name)} t where t::text ~ ${texts.map((text) => text.replaceAll('.', '\\.')).join('|')} limit 1`
    if (row !== undefined) found.push(name)
  }
  return found.sort()
}

/** An instance at its most talkative, and all that a user can leave behind with it. */
async function usedByAnn() {
  const instance = await spawnInstance({
    DATABASE_URL: database.url,
    MIGRATE: 'off',
    LOG_LEVEL: 'trace',
    TRUST_PROXY: '1',
    DRAIN_TIMEOUT_MS: '100',
  })
  onTestFinished(() => void instance.kill('SIGKILL'))
  const ann = new Caller(instance.url, USER, await signToken(USER))
  const bob = new Caller(instance.url, 'bob', await signToken('bob'))
  const headers = { 'x-forwarded-for': ADDRESS, 'user-agent': `Browser of ${USER}` }
  const stream = await open('sse', { ...ann, headers })
  const theirs = await bob.post()
  const posted = await call<{ id: string }>(instance.url, '/stories', {
    method: 'POST',
    token: ann.token,
    headers,
    json: { text: TEXT },
  })
  const own = posted.json.id
  await ann.view(theirs)
  await ann.react(theirs, '🔥')
  await bob.view(own)
  await insertViews(sql, own, ['carol'])
  await stream.take(2)
  expect((await ann.call('PUT', '/me/read', { cursor: stream.cursor })).status).toBe(200)
  expect((await ann.call('POST', '/tickets')).status).toBe(201)
  await expect.poll(() => tracesOf(USER), { timeout: 10_000 }).toContain('connections')
  return { instance, ann, bob, theirs, headers }
}

describe('docs/privacy.md', () => {
  it('knows every table, and which of them name a user', { timeout: 60_000 }, async () => {
    const rows = await sql<{ name: string; unlogged: boolean }[]>`
      select relname as name, relpersistence = 'u' as unlogged from pg_class
       where relnamespace = 'glimpse'::regnamespace and relkind in ('r', 'm', 'p')`
    expect([...tables.keys()].sort()).toEqual(rows.map(({ name }) => name).sort())

    const unlogged = rows.filter((row) => row.unlogged).map(({ name }) => `\`${name}\``)
    const [, said = ''] = /^.*?((?:`\w+`(?:, | and ))+`\w+`) are unlogged/m.exec(page) ?? []
    expect(said.split(/, | and /).sort()).toEqual(unlogged.sort())

    const { instance } = await usedByAnn()
    // Whoever holds this row keeps the instance from moving the event on.
    const holder = await sql.reserve()
    await holder`begin`
    await holder`select from glimpse.queue_state for update`
    await sql`select glimpse.enqueue((${USER}, 'photo.tagged', '{}', now())::glimpse.new_event)`
    expect(await tracesOf(USER, TEXT)).toEqual(naming.toSorted())
    expect(await tracesOf(ADDRESS, 'Browser of')).toEqual([])

    const environment = { DATABASE_URL: database.url }
    const exported = await glimpseHere(['export', USER], environment)
    const printed = exported.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).table)
    expect([...new Set(printed)].sort()).toEqual(naming.toSorted())
    await holder`rollback`
    holder.release()

    expect((await glimpseHere(['forget', USER, '--yes'], environment)).code).toBe(0)
    await expect.poll(() => tracesOf(USER, TEXT), { timeout: 10_000 }).toEqual([])
    expect((await glimpseHere(['export', USER], environment)).stdout).toBe('')
    await instance.kill('SIGTERM')
  })

  it('the log and the metrics name nobody, also where something fails', { timeout: 60_000 }, async () => {
    const { instance, ann, theirs, headers } = await usedByAnn()
    // An error of Postgres that has the row at fault.
    await sql`alter table glimpse.stories add constraint nobody check (author_id not like 'ann%') not valid`
    expect((await ann.call('POST', '/stories', { text: TEXT })).status).toBe(500)
    await sql`alter table glimpse.stories drop constraint nobody`
    const refusals = [
      call(instance.url, `/stories/${USER}/view`, { method: 'POST', token: ann.token, headers }),
      call(instance.url, `/stories/${theirs}/reactions`, {
        method: 'POST',
        token: ann.token,
        headers,
        json: { emoji: TEXT },
      }),
      call(instance.url, `/events?token=${USER}`, { headers }),
      call(instance.url, `/${USER}`, { headers }),
    ]
    for (const { status } of await Promise.all(refusals)) expect([400, 401, 404]).toContain(status)
    const { text } = await call(instance.url, '/metrics')
    expect(await instance.kill('SIGTERM')).toMatchObject({ code: 0 })
    expect(instance.output).toContain('violates check constraint')
    for (const written of [instance.output, text])
      for (const [what, value] of Object.entries({ USER, TEXT, ADDRESS, token: ann.token }))
        expect(written.includes(value), what).toBe(false)
    await sql`call glimpse.forget(${USER})`
  })

  it('what is past its time goes, but for the row of streams', { timeout: 60_000 }, async () => {
    const { instance } = await usedByAnn()
    await instance.kill('SIGTERM')
    await sql`update glimpse.events set logged_at = logged_at - interval '25 hours'`
    await sql`update glimpse.streams set oldest_at = oldest_at - interval '25 hours'`
    await sql`update glimpse.stories set expires_at = now() - interval '25 hours'`
    await sql`update glimpse.tickets set expires_at = now() - interval '1 second'`
    const pool = createPool(database.url, 1, 'privacy-test')
    onTestFinished(() => pool.end({ timeout: 1 }))
    await trimEvents(pool, 24)
    while ((await removeExpiredStories(pool, 24)) > 0);
    await removeExpiredTickets(pool)
    expect(await tracesOf(USER, TEXT)).toEqual(['streams'])
    expect([...tables].filter(([, { until }]) => /erased/.test(until)).map(([name]) => name)).toEqual([
      'streams',
    ])
  })

  it('the client keeps a cursor and nothing else', () => {
    const kept = new Map<string, string>()
    vi.stubGlobal('localStorage', {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    })
    onTestFinished(() => void vi.unstubAllGlobals())
    localStorageCursor('glimpse').save('7f3a9c0d12e4.42.k3x9q1', false)
    expect([...kept]).toEqual([['glimpse', '7f3a9c0d12e4.42.k3x9q1']])
  })
})

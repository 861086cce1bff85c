import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { migrate } from '../../src/store/migrate.ts'
import { type Database, PostgresServer } from '../faults/prover/postgres-server.ts'
import { glimpseHere } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { poll } from '../support/clients/poll.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { upTo } from '../support/sql-writer.ts'
import { TEST_SECRET } from '../support/token.ts'

/** What providers and administrators set for a role or a database, and what the service must do all the same. */
let server: PostgresServer
let admin: postgres.Sql
let database: Database
beforeAll(async () => {
  server = await PostgresServer.create({ fsync: 'off' })
  admin = postgres(server.adminUrl('postgres'), { max: 1, onnotice: () => {} })
  database = await server.createDatabase()
}, 60_000)
afterAll(async () => {
  await admin.end()
  await server.close()
})

async function started(url: string, environment: Record<string, string> = {}): Promise<Instance> {
  const instance = await startInstance(
    { MIGRATE: 'on', ...environment },
    { database: { url, drop: async () => {} } },
  )
  onTestFinished(() => instance.close())
  return instance
}

/** Every kind of request once, views in a crowd, and the events that they make. */
async function works(instance: Instance): Promise<void> {
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const stories = await Promise.all(upTo(3).map(() => alice.post({ text: 'hello' })))
  const [story = ''] = stories
  const stream = await open('sse', { url: instance.url, token: alice.token })
  onTestFinished(() => stream.close())
  const crowd = await Promise.all(upTo(20).map((n) => instance.caller(`viewer-${n}`)))
  const answers = await Promise.all(
    crowd.flatMap((caller) => stories.map((id) => caller.call('POST', `/stories/${id}/view`))),
  )
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  await bob.react(story, '❤️')
  await bob.unreact(story)
  await expect.poll(() => stream.seqs.length).toBe(61)
  expect(stream.seqs).toEqual([...upTo(61)])
  const page = await poll({ url: instance.url, token: alice.token, lastEventId: '0' })
  expect(page.json.events).toHaveLength(61)
  expect((await alice.call('PUT', '/me/read', { cursor: page.json.cursor })).status).toBe(200)
  expect(await alice.story(story)).toMatchObject({ views: 20 })
  expect((await alice.call('POST', '/tickets')).status).toBe(201)
  expect((await alice.call('GET', '/me/connections')).status).toBe(200)
  expect((await alice.call('DELETE', `/stories/${story}`)).status).toBe(204)
  expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
}

/** A view that waits for somebody's lock, longer than any deadline that is set below. */
async function waits(instance: Instance, adminUrl: string): Promise<void> {
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const story = await alice.post()
  const somebody = postgres(adminUrl, { max: 1, onnotice: () => {} })
  onTestFinished(() => somebody.end())
  const view = await somebody.begin(async (sql) => {
    await sql`select from glimpse.stories where id = ${story} for update`
    const answer = bob.call('POST', `/stories/${story}/view`)
    await sql`select pg_sleep(0.6)`
    return { answer }
  })
  expect((await view.answer).status).toBe(200)
}

/** Those that go together are set together: whichever of them the service gives in to, the test fails. */
const SETTINGS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'transactions that are serializable, read only and deferrable': {
    default_transaction_isolation: `'serializable'`,
    default_transaction_read_only: `'on'`,
    default_transaction_deferrable: `'on'`,
  },
  'transactions of one snapshot': { default_transaction_isolation: `'repeatable read'` },
  'short deadlines': { statement_timeout: `'100ms'`, lock_timeout: `'1ms'`, transaction_timeout: `'300ms'` },
  'short patience with who is idle': {
    idle_session_timeout: `'300ms'`,
    idle_in_transaction_session_timeout: `'100ms'`,
  },
  'an empty search_path': { search_path: `''` },
  'another search_path': { search_path: 'nowhere, public' },
  'other formats and another encoding': {
    extra_float_digits: `'-15'`,
    standard_conforming_strings: `'off'`,
    datestyle: `'German'`,
    intervalstyle: `'sql_standard'`,
    timezone: `'Asia/Kolkata'`,
    bytea_output: `'escape'`,
    client_encoding: `'LATIN1'`,
  },
  'other plans, and errors for what row security hides': {
    row_security: `'off'`,
    plan_cache_mode: `'force_generic_plan'`,
    enable_nestloop: `'off'`,
    jit: `'on'`,
  },
}

describe('works where the role has', () => {
  it.each(Object.entries(SETTINGS))('%s', { timeout: 60_000 }, async (_, settings) => {
    for (const [name, value] of Object.entries(settings))
      await admin.unsafe(`alter role glimpse_app set ${name} to ${value}`)
    onTestFinished(async () => void (await admin.unsafe('alter role glimpse_app reset all')))
    const fresh = await server.createDatabase()
    onTestFinished(() => server.dropDatabase(fresh))
    const instance = await started(fresh.url)
    await works(instance)
    await waits(instance, fresh.adminUrl)
  })
})

it('says what to do where no trigger fires (session_replication_role)', { timeout: 60_000 }, async () => {
  await migrate(parseConnectionUrl(database.url), createLogger('silent'))
  await admin`alter role glimpse_app set session_replication_role to replica`
  onTestFinished(async () => void (await admin`alter role glimpse_app reset all`))
  await expect(started(database.url)).rejects.toThrow(
    /session_replication_role is replica .*alter role … reset session_replication_role/,
  )
  const { code, stdout } = await glimpseHere(['doctor', '--json'], {
    DATABASE_URL: database.url,
    JWT_SECRET: TEST_SECRET,
    PORT: '0',
    MAX_CONNECTIONS: '100',
  })
  expect(code).toBe(1)
  expect(stdout).toMatch(/session_replication_role is replica: no trigger fires/)
})

it('works as a role that has just the granted rights', { timeout: 60_000 }, async () => {
  const fresh = await server.createDatabase()
  onTestFinished(() => server.dropDatabase(fresh))
  await migrate(parseConnectionUrl(fresh.url), createLogger('silent'))
  await admin`create role glimpse_service login password 'service'`
  onTestFinished(async () => {
    const here = postgres(fresh.adminUrl, { max: 1 })
    await here`drop owned by glimpse_service`
    await here.end()
    await admin`drop role glimpse_service`
  })
  const owner = postgres(fresh.url, { max: 1 })
  await owner`grant usage on schema glimpse to glimpse_service`
  await owner`grant select, insert, update, delete on all tables in schema glimpse to glimpse_service`
  await owner`grant execute on all functions in schema glimpse to glimpse_service`
  await owner.end()
  const url = Object.assign(new URL(fresh.url), { username: 'glimpse_service', password: 'service' }).href
  await works(await started(url, { MIGRATE: 'off' }))
})

it('migrates a schema made before, as its owner without CREATE on the database', {
  timeout: 60_000,
}, async () => {
  const fresh = await server.createDatabase()
  onTestFinished(() => server.dropDatabase(fresh))
  await admin`create role glimpse_owner login password 'owner'`
  const here = postgres(fresh.adminUrl, { max: 1 })
  await here`create schema glimpse authorization glimpse_owner`
  onTestFinished(async () => {
    await here`drop owned by glimpse_owner cascade`
    await here.end()
    await admin`drop role glimpse_owner`
  })
  const url = Object.assign(new URL(fresh.url), { username: 'glimpse_owner', password: 'owner' }).href
  await works(await started(url))
})

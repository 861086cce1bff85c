import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { type Database, PostgresServer } from '../faults/prover/postgres-server.ts'
import { open } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let server: PostgresServer
let admin: postgres.Sql
beforeAll(async () => {
  server = await PostgresServer.create({ fsync: 'off' })
  admin = postgres(server.adminUrl('postgres'), { max: 1, onnotice: () => {} })
}, 60_000)
afterAll(async () => {
  await admin.end()
  await server.close()
})

async function started(): Promise<{ database: Database; instance: Instance }> {
  const database = await server.createDatabase()
  const instance = await startInstance(
    { MIGRATE: 'on' },
    { database: { url: database.url, drop: () => server.dropDatabase(database) } },
  )
  onTestFinished(async () => {
    await instance.close()
    await server.dropDatabase(database)
  })
  return { database, instance }
}

const readiness = async (instance: Instance) => (await fetch(`${instance.url}/readyz`)).status

it('keeps its LISTEN where Postgres lets in no more connections', { timeout: 60_000 }, async () => {
  const { database, instance } = await started()
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const story = await alice.post()
  const stream = await open('sse', { url: instance.url, token: alice.token })
  onTestFinished(() => stream.close())
  const listener = async () =>
    (
      await admin<{ pid: number }[]>`
        select pid from pg_stat_activity where datname = ${database.name} and application_name = 'glimpse-listen'`
    ).map(({ pid }) => pid)
  const before = await listener()
  expect(before).toHaveLength(1)

  await admin`alter role glimpse_app connection limit 1`
  onTestFinished(async () => void (await admin`alter role glimpse_app connection limit -1`))
  await admin`select pg_terminate_backend(pid) from pg_stat_activity
               where datname = ${database.name} and application_name like 'glimpse-%' and application_name <> 'glimpse-listen'`
  expect((await bob.call('GET', `/stories/${story}`)).status).toBe(503)
  await expect.poll(() => readiness(instance)).toBe(503)
  // Somebody else's write is heard all the same.
  const writer = postgres(database.adminUrl, { max: 1 })
  onTestFinished(() => writer.end())
  await writer`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'carol')`
  await expect.poll(() => JSON.stringify(stream.messages)).toContain('carol')
  expect(await listener()).toEqual(before)

  await admin`alter role glimpse_app connection limit -1`
  await expect.poll(() => readiness(instance)).toBe(200)
  expect(await listener()).toEqual(before)
})

it('says 503 and is not ready while commits wait for a synchronous standby that is gone', {
  timeout: 60_000,
}, async () => {
  const { instance } = await started()
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const story = await alice.post()
  await admin`alter system set synchronous_standby_names = 'gone'`
  const restore = async () => {
    await admin`alter system reset synchronous_standby_names`
    await admin`select pg_reload_conf()`
  }
  onTestFinished(restore)
  await admin`select pg_reload_conf()`
  // Of the tests' server alone, once it has read its settings anew.
  await vi.waitUntil(
    async () => (await admin`show synchronous_standby_names`)[0]?.synchronous_standby_names === 'gone',
    20_000,
  )
  const answers = Promise.all([
    bob.call('POST', `/stories/${story}/view`),
    bob.call('POST', `/stories/${story}/reactions`, { emoji: '❤️' }),
    bob.call('POST', '/stories', {}),
  ])
  await expect.poll(() => readiness(instance)).toBe(503)
  expect((await answers).map(({ status }) => status)).toEqual([503, 503, 503])
  await restore()
  await expect.poll(() => readiness(instance)).toBe(200)
  expect((await bob.call('POST', `/stories/${story}/view`)).status).toBe(200)
})

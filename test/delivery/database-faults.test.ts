import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { Caller } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { type Instance, spawnInstance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'

async function failures(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Object.fromEntries(
    [...text.matchAll(/^glimpse_database_failures_total\{kind="(\w+)"\} (\d+)$/gm)].map(([, kind, n]) => [
      kind,
      Number(n),
    ]),
  )
}

async function started(): Promise<{ instance: Instance; sql: postgres.Sql }> {
  const database = await createDatabase()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  const instance = await startInstance({}, { database })
  onTestFinished(async () => {
    await instance.close()
    await sql.end()
    await database.drop()
  })
  return { instance, sql }
}

it('a missing function is 500 and not "try again", is counted, and shows in readiness until it is there again', async () => {
  const { instance, sql } = await started()
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const story = await alice.post()
  await sql`alter function glimpse.record_views rename to record_views_elsewhere`
  for (let i = 0; i < 3; i++) expect((await bob.call('POST', `/stories/${story}/view`)).status).toBe(500)
  expect((await failures(instance.url)).fault).toBeGreaterThanOrEqual(3)
  const ready = await fetch(`${instance.url}/readyz`)
  expect(ready.status).toBe(503)
  expect(await ready.json()).toMatchObject({
    reasons: ['statements of the kind "write" fail by 42883; the log says more'],
  })
  await sql`alter function glimpse.record_views_elsewhere rename to record_views`
  expect((await bob.call('POST', `/stories/${story}/view`)).status).toBe(200)
  expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
})

it('a table that cannot be read is 500 for who reads it, and no reason to take the instance out', async () => {
  const { instance, sql } = await started()
  const alice = await instance.caller('alice')
  const story = await alice.post()
  await sql`alter table glimpse.stories rename to stories_elsewhere`
  for (let i = 0; i < 4; i++) expect((await alice.call('GET', `/stories/${story}`)).status).toBe(500)
  expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
  await sql`alter table glimpse.stories_elsewhere rename to stories`
})

it('is logged at error level, in few lines however often it happens, without what callers sent', async () => {
  const database = await createDatabase()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  const main = await spawnInstance({ DATABASE_URL: database.url, MIGRATE: 'off' })
  onTestFinished(async () => {
    await main.kill('SIGKILL')
    await sql.end()
    await database.drop()
  })
  const alice = new Caller(main.url, 'alice', await signToken('alice'))
  const story = await alice.post({ text: 'private words' })
  await sql`alter table glimpse.stories rename to stories_elsewhere`
  await Promise.all(Array.from({ length: 60 }, () => alice.call('GET', `/stories/${story}`)))
  const lines = () =>
    main.lines.filter(({ level, msg }) => level === 'error' && msg === 'a statement failed for good')
  await expect.poll(() => lines().length).toBeGreaterThan(0)
  expect(lines().length).toBeLessThan(25)
  expect(JSON.stringify(lines())).toContain('42P01')
  expect(main.output).not.toContain('private words')
})

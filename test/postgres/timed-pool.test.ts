import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { createPool, type TimedPool } from '../../src/postgres/pool.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

let database: TestDatabase
let sql: postgres.Sql
let timed: TimedPool
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2 })
  timed = createPool(database.url, 1, 'timed')
})
afterAll(async () => {
  await Promise.all([timed.end(), sql.end()])
  await database.drop()
})

it('gives up a statement that waits for a table’s lock, takes its backend back, and goes on', async () => {
  await sql.begin(async (held) => {
    await held`LOCK TABLE glimpse.stories IN ACCESS EXCLUSIVE MODE`
    await expect(
      timed.within(200, async (pool) => pool`SELECT count(*)::int AS n FROM glimpse.stories`),
    ).rejects.toThrow('no answer within 200 ms')
    await vi.waitFor(
      async () =>
        expect(
          await sql`SELECT FROM pg_locks WHERE NOT granted AND relation = 'glimpse.stories'::regclass`,
        ).toEqual([]),
      20_000,
    )
    expect(await timed.within(5000, async (pool) => [...(await pool`SELECT 1 AS n`)])).toEqual([{ n: 1 }])
  })
  expect(
    await timed.within(5000, async (pool) => [
      ...(await pool`SELECT count(*)::int AS n FROM glimpse.stories`),
    ]),
  ).toEqual([{ n: 0 }])
})

it('passes on what a statement fails with', async () => {
  await expect(timed.within(5000, async (pool) => pool`SELECT 1 / 0`)).rejects.toThrow('division by zero')
})

it('gives up a server that says nothing, a statement made of fragments included', async () => {
  const silent = await TcpProxy.before(database.url)
  onTestFinished(() => silent.close())
  silent.blackhole()
  const behind = createPool(silent.urlFor(database.url), 1, 'timed')
  onTestFinished(() => behind.end({ timeout: 0 }))
  // Cancelling what was never sent, or dropping the promise of a cancel, would be an unhandled rejection: it fails the run.
  await expect(
    behind.within(100, async (pool) => pool`WITH ${pool`a AS (SELECT 1)`} SELECT * FROM a`),
  ).rejects.toThrow('no answer within 100 ms')
  silent.resetAll()
})

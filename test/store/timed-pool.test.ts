import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createPool } from '../../src/store/pool.ts'
import { TimedPool } from '../../src/store/timed-pool.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let sql: postgres.Sql
let timed: TimedPool
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2 })
  timed = new TimedPool(() => createPool(database.url, 1, 'timed'))
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
    await vi.waitFor(async () =>
      expect(
        await sql`SELECT FROM pg_locks WHERE NOT granted AND relation = 'glimpse.stories'::regclass`,
      ).toEqual([]),
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

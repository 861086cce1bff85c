import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { Database } from '../../src/postgres/database.ts'
import type { Pool } from '../../src/postgres/pool.ts'
import { WritePools } from '../../src/store/batchers.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let edge: Database
let pools: WritePools
beforeAll(async () => {
  database = await createDatabase()
  edge = new Database(parseConnectionUrl(database.url))
  pools = new WritePools(edge)
})
afterAll(async () => {
  await edge.end({ timeout: 1 })
  await database.drop()
})

const locks = { timeoutMs: 30, skipLocked: false }

async function backend(sql: Pool): Promise<number | undefined> {
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid from pg_sleep(0.05)`
  return row?.pid
}

it('sends statements of one kind behind each other over one connection, and what waits isolated over others', async () => {
  const inLine = { ...locks, isolated: false }
  const isolated = { ...locks, isolated: true }
  const [first, second, other, waiting, alsoWaiting] = await Promise.all([
    pools.write('views', inLine, backend),
    pools.write('views', inLine, backend),
    pools.write('reactions', inLine, backend),
    pools.write('views', isolated, backend),
    pools.write('views', isolated, backend),
  ])
  expect(second).toBe(first)
  expect(new Set([first, other, waiting, alsoWaiting]).size).toBe(4)
})

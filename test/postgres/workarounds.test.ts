import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { openPool } from '../../src/postgres/pool.ts'
import { SingleSession } from '../../src/postgres/single-session.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

/**
 * Each test in `the driver still` shows what src/postgres/README.md works around. Where one fails, the driver has been
 * fixed: remove the workaround, its row and the test.
 */
let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

describe('the driver still', () => {
  it('serialises parameters twice where a prepared statement is lost (row 1)', async () => {
    const sql = postgres(database.url, { max: 1 })
    onTestFinished(() => sql.end({ timeout: 0 }))
    const ask = () => sql<{ it: boolean }[]>`select ${true}::bool as it`
    expect(await ask()).toEqual([{ it: true }])
    await sql.unsafe('deallocate all')
    expect(await ask()).toEqual([{ it: false }])
  })

  it('ends the process by a socket that fails before it listens (row 3)', async () => {
    const script = `
      import { connect } from 'node:net'
      import postgres from 'postgres'
      const sql = postgres({ host: 'x', port: 1, socket: () => {
        const socket = connect(9, '127.0.0.1')
        socket.destroy(Object.assign(new Error('EHOSTUNREACH'), { code: 'EHOSTUNREACH' }))
        return socket
      } })
      await sql\`select 1\`.catch(() => {})
      console.log('survived')
      process.exit(0)`
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script])
    await expect(run).rejects.toMatchObject({ stderr: expect.stringContaining('EHOSTUNREACH') })
  })

  it('never answers where all of several hosts are down (row 4)', async () => {
    const sql = postgres('postgres://u@127.0.0.1:9,127.0.0.1:8/db', { max: 1, connect_timeout: 1 })
    const asked = sql`select 1`.then(
      () => 'answered',
      () => 'refused',
    )
    expect(await Promise.race([asked, sleep(1500, 'silent')])).toBe('silent')
    await sql.end({ timeout: 0 })
  })

  it('puts rows too far back after a statement that failed in the midst of its own (row 12)', async () => {
    const sql = postgres(database.url, { max: 1 })
    onTestFinished(() => sql.end({ timeout: 0 }))
    await expect(sql.unsafe(FAILS_AFTER_TWO)).rejects.toMatchObject({ code: '22012' })
    const rows = await sql`select 'a' as it`
    expect(rows).toHaveLength(3)
    expect(rows[2]).toEqual({ it: 'a' })
  })
})

const FAILS_AFTER_TWO = 'select 1 / (3 - i) as it from generate_series(1, 3) i'

it('rows stand where they belong after a statement that failed in the midst of its own', async () => {
  const connection = parseConnectionUrl(database.url)
  // Through a pipeline the next statement was sent before the failure is known.
  const pool = openPool(connection, 'workarounds', { max: 1, pipeline: 4 })
  onTestFinished(() => pool.end({ timeout: 0 }))
  for (let round = 0; round < 3; round++) {
    const failed = pool`select 1 / (3 - i) as it from generate_series(1, 3) i`
    const next = pool<{ it: string }[]>`select unnest(array['a', 'b']) as it`
    await expect(failed).rejects.toMatchObject({ code: '22012' })
    expect((await next).map(({ it }) => it)).toEqual(['a', 'b'])
    expect([...(await pool`select 'c' as it`)]).toEqual([{ it: 'c' }])
  }

  const session = await SingleSession.open({ connection, purpose: 'workarounds', connectTimeoutMs: 5000 })
  onTestFinished(() => session.end())
  await expect(session.query(FAILS_AFTER_TWO)).rejects.toMatchObject({ code: '22012' })
  expect([...(await session.query(`select 'a' as it`))]).toEqual([{ it: 'a' }])
})

it('a lost prepared statement is sent again with what it was given', async () => {
  const sql = openPool(parseConnectionUrl(database.url), 'workarounds', { max: 1 })
  onTestFinished(() => sql.end({ timeout: 0 }))
  const ask = () => sql`
    select ${true}::bool as yes, ${false}::bool as no, t, i, b::float8 as b, u::text
      from unnest(${['a"b', '\\', '{c}']}::text[], ${[1, 2, 3]}::int[], ${[4, 5, 2 ** 53 - 1]}::bigint[],
                  ${Array(3).fill('550e8400-e29b-41d4-a716-446655440000')}::uuid[]) as x (t, i, b, u)`
  const before = await ask()
  expect(before).toMatchObject([{ yes: true, no: false, t: 'a"b', i: 1, b: 4 }, { t: '\\' }, { t: '{c}' }])
  await sql`deallocate all`
  expect(await ask()).toEqual(before)
})

import fc from 'fast-check'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Cursors } from '../src/cursor.ts'
import { createDatabase, type TestDatabase } from './support/database.ts'

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

const MODULUS = 2_147_483_647

const user = fc
  .string({
    unit: fc.oneof(
      fc.constantFrom('a', '|', 'é', '❤️', '👩‍👩‍👧', '𝕏', '日'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    ),
    minLength: 1,
    maxLength: 255,
  })
  .filter((text) => !/[\p{Cc}\p{Surrogate}]/u.test(text) && [...text].length <= 255)

/** Microseconds since 1970, as far as a double holds them: up to the year 2255. */
const time = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, 1, MODULUS - 1, MODULUS, MODULUS + 1, Number.MAX_SAFE_INTEGER),
  // Around its multiples a division that is rounded up would be one too many.
  fc
    .tuple(fc.nat(4_194_303), fc.integer({ min: -1, max: 1 }))
    .map(([n, by]) => Math.max(0, n * MODULUS + by)),
  fc
    .date({ min: new Date(0), max: new Date('2255-01-01'), noInvalidDate: true })
    .map((date) => date.getTime() * 1000),
)

it('the check of a cursor is the same here and in SQL', async () => {
  const pairs = fc.sample(fc.tuple(user, time), 5000)
  const rows = await sql<{ check: string }[]>`
    select to_hex(glimpse.cursor_check(user_id, at)) as check
      from unnest(${pairs.map(([user]) => user)}::text[], ${pairs.map(([, time]) => time)}::bigint[])
        with ordinality as pair (user_id, at, nth)
     order by nth`
  const made = pairs.map(([user, time]) => new Cursors(user).check(time))
  expect(rows.map(({ check }) => check)).toEqual(made)
  for (const check of made) expect(check).toMatch(/^[0-9a-f]{1,8}$/)
  // Cursors that are not told apart would make the comparison worthless.
  expect(new Set(made).size).toBeGreaterThan(new Set(pairs.map((pair) => pair.join())).size * 0.99)
})

it('and binds to the user, and to each microsecond of half an hour', () => {
  fc.assert(
    fc.property(
      user,
      fc.integer({ min: 0, max: 2 ** 52 }),
      fc.integer({ min: 1, max: 1_800_000_000 }),
      (user, at, by) => {
        const cursors = new Cursors(user)
        expect(cursors.check(at)).not.toBe(cursors.check(at + by))
        expect(cursors.fits({ check: cursors.check(at) }, at)).toBe(true)
        expect(cursors.fits({ check: cursors.check(at) }, at + by)).toBe(false)
      },
    ),
  )
})

it('a time is exact to the microsecond until 2041, and none where it is infinite', async () => {
  const times = fc.sample(fc.integer({ min: 0, max: 2 ** 51 }), 1000)
  const rows = await sql<{ same: boolean }[]>`
    select glimpse.microseconds(timestamptz 'epoch' + at * interval '1 microsecond') = at as same
      from unnest(${times}::bigint[]) as time (at)`
  expect(rows.filter(({ same }) => !same)).toEqual([])
  const [infinite] = await sql`
    select glimpse.microseconds('infinity') as future, glimpse.microseconds('-infinity') as past`
  expect(infinite).toEqual({ future: null, past: null })
})

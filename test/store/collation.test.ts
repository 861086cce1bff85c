import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { createDatabase } from '../support/database.ts'

it('every key of text is compared as bytes: no upgrade of a library can leave its index broken', async () => {
  const database = await createDatabase()
  const sql = postgres(database.url, { max: 1 })
  onTestFinished(async () => {
    await sql.end()
    await database.drop()
  })
  const keys = await sql<{ key: string; collation: string }[]>`
    select i.indexrelid::regclass || ' ' || a.attname as key, c.collname as collation
      from pg_index i
      join pg_class t on t.oid = i.indrelid and t.relnamespace = 'glimpse'::regnamespace
      join pg_attribute a on a.attrelid = i.indexrelid
      join pg_collation c on c.oid = a.attcollation`
  expect(keys.length).toBeGreaterThan(6)
  for (const { key, collation } of keys) expect(collation, key).toBe('C')
})

import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { Cleaner } from '../../src/store/retention.ts'
import { createDatabase } from '../support/database.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'

async function scene() {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const sql = postgres(database.url, { max: 2, onnotice: () => {} })
  onTestFinished(() => sql.end({ timeout: 1 }))
  const pool = createPool(database.url, 1, 'cleaner-test')
  onTestFinished(() => pool.end())
  const story = await insertStory(sql, 'alice')
  await insertViews(sql, story, ['bob'])
  await sql`update glimpse.stories set expires_at = '-infinity'`
  await sql`
    insert into glimpse.tickets (digest, user_id, token_ends_at, expires_at) values ('used up', 'bob', 0, now() - interval '1 minute')`
  const metrics = createMetrics()
  const cleaner = new Cleaner({
    sql: pool,
    retentionHours: 24,
    log: createLogger('silent'),
    metrics,
    intervalMs: 20,
  })
  const left = async () => {
    const [row] = await sql<{ left: number }[]>`
      select (select count(*) from glimpse.stories)::int + (select count(*) from glimpse.tickets)::int as left`
    return row?.left
  }
  return { sql, cleaner, metrics, left }
}

it('a job that fails keeps none of the others from their turn', async () => {
  const { sql, cleaner, metrics, left } = await scene()
  await sql`alter table glimpse.events rename to elsewhere`
  cleaner.start()
  await expect.poll(left).toBe(0)
  await cleaner.stop()
  expect((await metrics.cleaningFailures.get()).values[0]?.value).toBeGreaterThan(0)
  expect((await metrics.cleaned.get()).values[0]?.value).toBe(0)
})

it('a role without rights in the schema cannot stop it, whatever advisory lock it holds', async () => {
  const { sql, cleaner, left } = await scene()
  const [row] = await sql`
    select count(*)::int as granted from information_schema.role_table_grants
     where table_schema = 'glimpse' and table_name = 'cleaning' and grantee <> current_user`
  expect(row).toEqual({ granted: 0 })
  const stranger = await sql.reserve()
  await stranger`select pg_advisory_lock(4739210552)`
  cleaner.start()
  await expect.poll(left).toBe(0)
  await cleaner.stop()
  stranger.release()
})

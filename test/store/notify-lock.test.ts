import { rm } from 'node:fs/promises'
import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { migrate } from '../../src/store/migrate.ts'
import { recordReactions, recordViews } from '../../src/store/recording.ts'
import { makeServerFolder } from '../support/leftovers.ts'
import { insertStory } from '../support/sql-writer.ts'

// All commits of a cluster that notify take one lock, and hold it until they are on disk. A standby that never answers
// stands for a very slow disk here: a commit that asks for it holds the lock for as long as we like.
it('a batch does not take a slow commit of somebody else for a held row', async () => {
  const dataDir = await makeServerFolder()
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const log = createLogger('silent')
  const { url, release } = await startEmbeddedPostgres({ dataDir, log, settings: { fsync: 'off' } })
  onTestFinished(release)
  await migrate(parseConnectionUrl(url), log)

  const sql = postgres(url, { max: 1, onnotice: () => {} })
  onTestFinished(() => sql.end())
  const [storyId, other] = [await insertStory(sql, 'alice'), await insertStory(sql, 'ann')]
  await sql`alter database glimpse set synchronous_commit = local`
  await sql`alter system set synchronous_standby_names = 'nobody'`
  await sql`select pg_reload_conf()`

  const slow = postgres(url, { max: 1, onnotice: () => {}, connection: { synchronous_commit: 'on' } })
  onTestFinished(() => slow.end())
  let held = false
  // The first ones may come before the setting is in force, and go through.
  const commits = (async () => {
    while (!held) await slow`select pg_notify('elsewhere', 'x')`
  })()
  await until(sql, 'SyncRep')
  held = true

  const pool = createPool(url, 2, 'notify-lock-test')
  onTestFinished(() => pool.end())
  const locks = { timeoutMs: 30, skipLocked: false, isolated: false }
  const view = recordViews(pool, [{ storyId, viewerId: 'bob' }], locks)
  const reaction = recordReactions(pool, [{ storyId: other, userId: 'bob', emoji: '👍' }], locks)
  const recorded = Promise.all([view, reaction])
  recorded.catch(() => {})
  await until(sql, 'object')
  // Several times as long as it waits for a row.
  await sql`select pg_sleep(0.2)`

  await sql`select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`
  await commits
  for (const [written] of await recorded) expect(written).toMatchObject({ result: { outcome: 'recorded' } })
})

/** Resolves when a session waits for this (PostgreSQL manual, "Wait Events"). */
async function until(sql: postgres.Sql, event: string): Promise<void> {
  for (;;) {
    const [{ waiting }] = await sql<[{ waiting: number }]>`
      select count(*)::int as waiting from pg_stat_activity where wait_event = ${event}`
    if (waiting > 0) return
    await sql`select pg_sleep(0.01)`
  }
}

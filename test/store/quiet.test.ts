import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { checkDatabase } from '../../src/store/requirements.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 3, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await database.drop()
})
beforeEach(async () => {
  await sql`truncate glimpse.stories, glimpse.events, glimpse.streams cascade`
})

it('makes no event of 100,000 old views, while live ones make theirs', { timeout: 120_000 }, async () => {
  const [story, other] = [await insertStory(sql, 'alice'), await insertStory(sql, 'alice')]
  await sql.begin(async (backfill) => {
    await backfill`set local glimpse.quiet = on`
    for (let part = 0; part < 100; part++) {
      await backfill`
        insert into glimpse.story_views (story_id, viewer_id, viewed_at)
        select ${story}, 'old' || n, '2025-01-01Z' from generate_series(${part * 1000}::int, ${part * 1000 + 999}::int) n`
      // Somebody else's, in the middle of it: a lock on the table or on the stream would stop it. Nor is the story
      // itself held, as long as it has no tally.
      await insertViews(sql, part % 2 ? other : story, [`live${part}`])
    }
  })
  const [views] = await sql`select count(*)::int as total from glimpse.story_views`
  expect(views).toEqual({ total: 100_100 })
  const log = await readLog(sql, 'alice')
  expect(log.map(({ seq }) => seq)).toEqual(upTo(100))
  expect(log.every(({ body }, i) => body.includes(`"viewer_id":"live${i}"`))).toBe(true)
})

it('is over with the transaction, on the same session', async () => {
  const story = await insertStory(sql, 'alice')
  const session = await sql.reserve()
  try {
    for (const end of ['commit', 'rollback']) {
      await session`begin`
      await session`set local glimpse.quiet = on`
      await insertViews(session, story, [`quiet ${end}`])
      await session.unsafe(end)
      await insertViews(session, story, [`loud ${end}`])
    }
  } finally {
    session.release()
  }
  const log = await readLog(sql, 'alice')
  expect(log.map(({ body }) => JSON.parse(body).data.viewer_id)).toEqual(['loud commit', 'loud rollback'])
})

it('keeps new and changed reactions quiet', async () => {
  const story = await insertStory(sql, 'alice')
  await sql.begin(async (backfill) => {
    await backfill`set local glimpse.quiet = on`
    await backfill`insert into glimpse.story_reactions (story_id, user_id, emoji) values (${story}, 'bob', '👏')`
    await backfill`update glimpse.story_reactions set emoji = '❤️'`
  })
  expect(await readLog(sql, 'alice')).toEqual([])
  await sql`update glimpse.story_reactions set emoji = '👏'`
  expect(await readLog(sql, 'alice')).toHaveLength(1)
})

it.each([
  ['on', 0],
  ['TRUE', 0],
  ['yes', 0],
  ['1', 0],
  ['off', 1],
  ['', 1],
])('takes %j, and makes %i events', async (value, events) => {
  const story = await insertStory(sql, 'alice')
  await sql.begin(async (transaction) => {
    await transaction`select set_config('glimpse.quiet', ${value}, true)`
    await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'bob')`
  })
  expect(await readLog(sql, 'alice')).toHaveLength(events)
})

it('refuses to start where sessions are quiet by default', async () => {
  const quiet = postgres(database.url, { max: 1, connection: { 'glimpse.quiet': 'on' } as object })
  try {
    await expect(checkDatabase(quiet)).rejects.toThrow(/glimpse\.quiet is on .* reset "glimpse\.quiet"/)
  } finally {
    await quiet.end()
  }
})

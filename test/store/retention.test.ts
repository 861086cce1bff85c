import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { removeExpiredStories, trimEvents } from '../../src/store/retention.ts'
import { createDatabase } from '../support/database.ts'
import { insertReaction, insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

let database: Awaited<ReturnType<typeof createDatabase>>
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 4 })
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await database.drop()
})
beforeEach(async () => {
  await sql`truncate glimpse.stories, glimpse.events, glimpse.streams cascade`
})

const RETENTION_HOURS = 24

/** A stream of `old` events logged two days ago and `fresh` ones logged now. */
async function streamOf(user: string, { old, fresh }: { old: number; fresh: number }): Promise<void> {
  const story = await insertStory(sql, user)
  if (old > 0) {
    await insertViews(
      sql,
      story,
      upTo(old).map((n) => `old${n}`),
    )
    await sql`update glimpse.events set logged_at = logged_at - interval '48 hours' where user_id = ${user}`
    await sql`update glimpse.streams set oldest_at = oldest_at - interval '48 hours' where user_id = ${user}`
  }
  if (fresh > 0)
    await insertViews(
      sql,
      story,
      upTo(fresh).map((n) => `fresh${n}`),
    )
}

/** Index entries of views that this session has read lately, those of removed rows among them. */
async function entriesRead(transaction: postgres.TransactionSql): Promise<number> {
  const [row] = await transaction<{ entries: number }[]>`
    select pg_stat_get_xact_tuples_returned('glimpse.story_views_pkey'::regclass)::int as entries`
  return row?.entries ?? 0
}

async function stateOf(user: string) {
  const [stream] =
    await sql`select head::int, oldest::int, oldest_at is not null as kept from glimpse.streams where user_id = ${user}`
  return { ...stream, seqs: (await readLog(sql, user)).map(({ seq }) => seq) }
}

describe('trimming', () => {
  it('takes what is older than the retention and leaves the rest, with numbers that go on', async () => {
    await streamOf('mixed', { old: 3, fresh: 2 })
    await streamOf('young', { old: 0, fresh: 2 })
    await streamOf('gone', { old: 4, fresh: 0 })
    expect(await trimEvents(sql, RETENTION_HOURS)).toEqual({ events: 7, streams: 2 })
    expect(await trimEvents(sql, RETENTION_HOURS)).toEqual({ events: 0, streams: 0 })
    expect(await stateOf('mixed')).toEqual({ head: 5, oldest: 4, kept: true, seqs: [4, 5] })
    expect(await stateOf('young')).toEqual({ head: 2, oldest: 1, kept: true, seqs: [1, 2] })
    expect(await stateOf('gone')).toEqual({ head: 4, oldest: 5, kept: false, seqs: [] })

    await insertViews(sql, await insertStory(sql, 'gone'), ['back'])
    expect(await stateOf('gone')).toEqual({ head: 5, oldest: 5, kept: true, seqs: [5] })
  })

  it('takes a long history in pieces', async () => {
    await streamOf('long', { old: 1500, fresh: 1 })
    const pieces: number[] = []
    for (;;) {
      const { events } = await trimEvents(sql, RETENTION_HOURS)
      if (events === 0) break
      pieces.push(events)
    }
    expect(pieces).toEqual([500, 500, 500])
    expect(await stateOf('long')).toEqual({ head: 1501, oldest: 1501, kept: true, seqs: [1501] })
  })

  it('does not wait for a stream that is being written to, and takes it the next time', async () => {
    await streamOf('busy', { old: 2, fresh: 0 })
    await streamOf('idle', { old: 2, fresh: 0 })
    const session = await sql.reserve()
    await session`begin`
    await session`select from glimpse.streams where user_id = 'busy' for no key update`
    expect(await trimEvents(sql, RETENTION_HOURS)).toMatchObject({ events: 2 })
    await session`commit`
    session.release()
    expect(await stateOf('idle')).toMatchObject({ oldest: 3 })
    expect(await trimEvents(sql, RETENTION_HOURS)).toMatchObject({ events: 2 })
  })

  it('takes a prefix, where the clock was stepped back while the events came', async () => {
    await streamOf('stepped', { old: 0, fresh: 6 })
    // 1 to 3 by a clock that was an hour ahead, 5 by one that was two days behind.
    await sql`update glimpse.events set logged_at = now() + interval '1 hour' where user_id = 'stepped' and seq <= 3`
    await sql`update glimpse.events set logged_at = now() - interval '48 hours' where user_id = 'stepped' and seq = 5`
    await sql`update glimpse.streams set oldest_at = now() - interval '48 hours' where user_id = 'stepped'`
    await trimEvents(sql, RETENTION_HOURS)
    // A time that is still to come says nothing; the event behind it is older than that. 4 is young enough, and keeps 5.
    expect(await stateOf('stepped')).toEqual({ head: 6, oldest: 4, kept: true, seqs: [4, 5, 6] })
  })

  it('leaves an event that is too old behind one that is not', async () => {
    await streamOf('hole', { old: 2, fresh: 3 })
    await sql`update glimpse.events set logged_at = now() - interval '48 hours' where user_id = 'hole' and seq = 4`
    await trimEvents(sql, RETENTION_HOURS)
    expect(await stateOf('hole')).toEqual({ head: 5, oldest: 3, kept: true, seqs: [3, 4, 5] })
  })

  it('is the work of one instance at a time', async () => {
    await streamOf('shared', { old: 2, fresh: 0 })
    const session = await sql.reserve()
    await session`begin`
    await session`select from glimpse.cleaning where job = 'events' for update`
    expect(await trimEvents(sql, RETENTION_HOURS)).toMatchObject({ events: 0 })
    await session`commit`
    session.release()
    expect(await trimEvents(sql, RETENTION_HOURS)).toMatchObject({ events: 2 })
  })
})

describe('expired stories', () => {
  it('go with their views and reactions once the retention has passed; their events stay', async () => {
    const [old, recent, live] = await Promise.all(upTo(3).map(() => insertStory(sql, 'alice')))
    for (const story of [old, recent, live] as string[]) {
      await insertViews(sql, story, ['bob', 'carol'])
      await insertReaction(sql, story, 'bob', '❤️')
    }
    await sql`update glimpse.stories set expires_at = now() - interval '25 hours' where id = ${old as string}`
    await sql`update glimpse.stories set expires_at = now() - interval '23 hours' where id = ${recent as string}`

    let rows = 0
    for (let removed = -1; removed !== 0; rows += removed)
      removed = await removeExpiredStories(sql, RETENTION_HOURS)
    expect(rows).toBe(4)
    const left = await sql`select id from glimpse.stories order by created_at`
    expect(left.map(({ id }) => id).sort()).toEqual([recent, live].sort())
    expect(await sql`select from glimpse.story_views`).toHaveLength(4)
    expect(await sql`select from glimpse.story_reactions`).toHaveLength(2)
    expect((await stateOf('alice')).seqs).toEqual(upTo(9))
  })

  it('go in portions each of which begins where the one before it ended', async () => {
    const stories = [
      await insertStory(sql, 'alice'),
      await insertStory(sql, 'alice'),
      await insertStory(sql, 'bob'),
    ]
    const [large = '', late = ''] = stories
    await sql`alter table glimpse.story_views disable trigger user`
    await sql`insert into glimpse.story_views (story_id, viewer_id) select ${large}, 'v' || n from generate_series(1, 9000) n`
    await sql`insert into glimpse.story_views (story_id, viewer_id) select unnest(${stories}::uuid[]), 'w'`
    await sql`alter table glimpse.story_views enable trigger user`
    await sql`update glimpse.stories set expires_at = now() - interval '25 hours' - interval '1 minute' * (id = ${large})::int`
    // As long as it sees them, no index entry of a removed row can be taken for dead.
    const old = await sql.reserve()
    await old`begin isolation level repeatable read`
    await old`select from glimpse.stories`

    const read: number[] = []
    const rows: number[] = []
    for (let removed = -1; removed !== 0; rows.push(removed)) {
      removed = await sql.begin(async (transaction) => {
        const before = await entriesRead(transaction)
        const count = await removeExpiredStories(transaction as unknown as postgres.Sql, RETENTION_HOURS)
        read.push((await entriesRead(transaction)) - before)
        return count
      })
      // Somebody's view that comes behind the place.
      if (rows.length === 2)
        await sql`insert into glimpse.story_views (story_id, viewer_id) values (${large}, 'a'), (${late}, 'a')`
    }
    await old`rollback`
    old.release()
    expect(rows.slice(0, 4)).toEqual([2000, 2000, 2000, 2000])
    expect(rows.reduce((sum, count) => sum + count, 0)).toBe(9000 + 3 + 2 + 3)
    // Twice what is removed: to find and to remove it. At the end, with the story itself, all that it had.
    for (const entries of read.slice(0, -2)) expect(entries).toBeLessThan(4100)
    expect(await sql`select from glimpse.story_views`).toHaveLength(0)
    expect(await sql`select from glimpse.stories`).toHaveLength(0)
  })

  it('stay while views or reactions of them remain, so that no cascade takes a long time', async () => {
    const [viewed, reacted] = [await insertStory(sql, 'alice'), await insertStory(sql, 'alice')]
    // 2,000 rows go in one statement. No events: they would take longer than all the rest.
    await sql`alter table glimpse.story_views disable trigger user`
    await sql`alter table glimpse.story_reactions disable trigger user`
    await sql`insert into glimpse.story_views (story_id, viewer_id) select ${viewed}, 'v' || n from generate_series(1, 2001) n`
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) select ${reacted}, 'v' || n, '❤️' from generate_series(1, 2001) n`
    await sql`alter table glimpse.story_views enable trigger user`
    await sql`alter table glimpse.story_reactions enable trigger user`
    await sql`update glimpse.stories set expires_at = now() - interval '25 hours'`

    expect(await removeExpiredStories(sql, RETENTION_HOURS)).toBe(2000)
    expect(await sql`select from glimpse.stories`).toHaveLength(2)
    // The last row of one and the story, and of the other as much as goes at once.
    expect(await removeExpiredStories(sql, RETENTION_HOURS)).toBe(2002)
    expect(await sql`select from glimpse.stories`).toHaveLength(1)
    expect(await removeExpiredStories(sql, RETENTION_HOURS)).toBe(2)
    expect(await sql`select from glimpse.stories`).toHaveLength(0)
  })
})

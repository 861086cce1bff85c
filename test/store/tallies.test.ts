import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { failureKind } from '../../src/postgres/failure.ts'
import { createPool, type Pool } from '../../src/postgres/pool.ts'
import { recordReactions, recordViews } from '../../src/store/recording.ts'
import { deleteStory, getStory } from '../../src/store/stories.ts'
import { createDatabase } from '../support/database.ts'
import { insertReaction, insertStory, insertViews, upTo } from '../support/sql-writer.ts'

let database: Awaited<ReturnType<typeof createDatabase>>
let sql: postgres.Sql
let pool: Pool
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 8, onnotice: () => {} })
  pool = createPool(database.url, 8, 'tallies-test')
})
afterAll(async () => {
  await pool.end()
  await sql.end()
  await database.drop()
})
beforeEach(async () => {
  await sql`truncate glimpse.stories, glimpse.events, glimpse.streams cascade`
})

const LOCKS = { timeoutMs: 2000, skipLocked: false, isolated: false }

/** What GET says, after the tallies were compared with what the tables have. */
async function talliesOf(story: string) {
  const [[counted], reactions, tallied] = await Promise.all([
    sql`select count(*)::int as views from glimpse.story_views where story_id = ${story}`,
    sql`select emoji, count(*)::int as total from glimpse.story_reactions where story_id = ${story} group by emoji`,
    sql`select emoji, total::int from glimpse.story_tallies where story_id = ${story}`,
  ])
  const expected = {
    views: counted?.views,
    reactions: Object.fromEntries(reactions.map(({ emoji, total }) => [emoji, total])),
  }
  expect(Object.fromEntries(tallied.map(({ emoji, total }) => [emoji, total]))).toEqual({
    '': expected.views,
    ...expected.reactions,
  })
  const found = await getStory(pool, story)
  expect(found?.story).toMatchObject(expected)
  return expected
}

/** As a story of 0.1 is: nobody has tallied it. */
async function untally(story: string): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`select from glimpse.story_tallies where story_id = ${story} and emoji = '' for update`
    await transaction`delete from glimpse.story_tallies where story_id = ${story}`
  })
}
const rewind = () =>
  sql`update glimpse.cleaning set position = '00000000-0000-0000-0000-000000000000' where job = 'tallies'`

async function tallyAll(): Promise<void> {
  for (let looked = 1; looked > 0; ) {
    const [row] = await sql<{ looked: number }[]>`select glimpse.tally_stories() as looked`
    looked = row?.looked ?? 0
  }
}

describe('the tallies of a story are right after', () => {
  it('a statement of the service, and one that changes nothing', async () => {
    const [a, b] = [await insertStory(sql, 'alice'), await insertStory(sql, 'bob')]
    const views = [a, b, a].map((storyId, i) => ({ storyId, viewerId: ['bob', 'bob', 'alice'][i] ?? '' }))
    for (let i = 0; i < 2; i++) await recordViews(pool, views, LOCKS)
    for (const emoji of ['👍', '🔥', '🔥'])
      await recordReactions(
        pool,
        [
          { storyId: a, userId: 'bob', emoji },
          { storyId: a, userId: 'carol', emoji: '👍' },
        ],
        LOCKS,
      )
    expect(await talliesOf(a)).toEqual({ views: 2, reactions: { '🔥': 1, '👍': 1 } })
    expect(await talliesOf(b)).toEqual({ views: 1, reactions: {} })
  })

  it('rows of several stories in one statement, and deleting some of them', async () => {
    const [a, b] = [await insertStory(sql, 'alice'), await insertStory(sql, 'alice')]
    await sql`insert into glimpse.story_views (story_id, viewer_id) select s, 'v' || n from unnest(${[a, b]}::uuid[]) s, generate_series(1, 5) n`
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) select s, 'v' || n, case when n < 3 then '👍' else '🔥' end from unnest(${[a, b]}::uuid[]) s, generate_series(1, 5) n`
    expect(await talliesOf(b)).toEqual({ views: 5, reactions: { '👍': 2, '🔥': 3 } })
    await sql`delete from glimpse.story_views where viewer_id in ('v1', 'v2') or story_id = ${b}`
    await sql`delete from glimpse.story_reactions where user_id in ('v1', 'v2')`
    expect(await talliesOf(a)).toEqual({ views: 3, reactions: { '🔥': 3 } })
    expect(await talliesOf(b)).toEqual({ views: 0, reactions: { '🔥': 3 } })
  })

  it('COPY', async () => {
    const story = await insertStory(sql, 'alice')
    const views = await sql`copy glimpse.story_views (story_id, viewer_id) from stdin`.writable()
    views.end(
      upTo(7)
        .map((n) => `${story}\tv${n}\n`)
        .join(''),
    )
    await new Promise((resolve) => views.on('finish', resolve))
    expect(await talliesOf(story)).toEqual({ views: 7, reactions: {} })
  })

  it('UPDATE of an emoji, of a story, and of neither', async () => {
    const [a, b] = [await insertStory(sql, 'alice'), await insertStory(sql, 'bob')]
    await insertViews(sql, a, ['x', 'y', 'z'])
    for (const user of ['x', 'y', 'z']) await insertReaction(sql, a, user, '👍')
    await sql`update glimpse.story_reactions set emoji = '🔥' where user_id <> 'z'`
    await sql`update glimpse.story_reactions set reacted_at = now() - interval '1 hour'`
    await sql`update glimpse.story_views set story_id = ${b} where viewer_id = 'x'`
    await sql`update glimpse.story_reactions set story_id = ${b}, emoji = '🎉' where user_id = 'x'`
    expect(await talliesOf(a)).toEqual({ views: 2, reactions: { '🔥': 1, '👍': 1 } })
    expect(await talliesOf(b)).toEqual({ views: 1, reactions: { '🎉': 1 } })
  })

  it('TRUNCATE', async () => {
    const story = await insertStory(sql, 'alice')
    const fill = async () => {
      await insertViews(sql, story, ['x', 'y'])
      await insertReaction(sql, story, 'x', '👍')
    }
    await fill()
    await sql`truncate glimpse.story_views`
    expect(await talliesOf(story)).toEqual({ views: 0, reactions: { '👍': 1 } })
    await sql`truncate glimpse.story_reactions`
    expect(await talliesOf(story)).toEqual({ views: 0, reactions: {} })
    await fill()
    expect(await talliesOf(story)).toEqual({ views: 2, reactions: { '👍': 1 } })
    await sql`truncate glimpse.stories cascade`
    expect(await sql`select from glimpse.story_tallies`).toHaveLength(0)
  })

  it('a rollback, and a backfill with the events switched off', async () => {
    const story = await insertStory(sql, 'alice')
    await sql
      .begin(async (transaction) => {
        await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'x')`
        throw new Error('rolled back')
      })
      .catch(() => {})
    await sql.begin(async (transaction) => {
      await transaction`alter table glimpse.story_views disable trigger story_viewed`
      await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'y')`
      await transaction`alter table glimpse.story_views enable trigger story_viewed`
    })
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
    expect(await sql`select from glimpse.events`).toHaveLength(0)
  })

  it('deleting the story by hand', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x', 'y'])
    await insertReaction(sql, story, 'x', '👍')
    await sql`delete from glimpse.stories where id = ${story}`
    expect(await sql`select from glimpse.story_tallies`).toHaveLength(0)
  })

  it('views of many writers at once, the authors among them, who never deadlock', async () => {
    const stories = await storiesOf('a', 'b', 'c', 'a', 'b', 'c')
    const view = async (writer: number) => {
      for (let n = 0; n < 20; n++) {
        const some = stories.filter((_, i) => (i + writer + n) % 3 > 0)
        if (n % 2) some.reverse()
        // An author's own view makes no event, hence locks no stream.
        const viewerOf = (i: number) => (n % 3 === 0 ? 'abc'.charAt((writer + i) % 3) : `w${writer}_${n}`)
        await recordViews(
          pool,
          some.map((storyId, i) => ({ storyId, viewerId: viewerOf(i) })),
          LOCKS,
        )
      }
    }
    await Promise.all(upTo(6).map(view))
    for (const story of stories) await talliesOf(story)
  })

  it('all kinds of writers at once while the stories are tallied', async () => {
    const stories = await storiesOf('a', 'b', 'c', 'a', 'b', 'c')
    const retally = async () => {
      for (let n = 0; n < 12; n++) {
        await untally(stories[n % 6] ?? '')
        await rewind()
        await tallyAll()
      }
    }
    await Promise.all([...upTo(6).map((writer) => writeMuch(stories, writer)), retally()])
    await rewind()
    await tallyAll()
    for (const story of stories) await talliesOf(story)
  })
})

async function storiesOf(...authors: string[]): Promise<string[]> {
  const stories: string[] = []
  for (const author of authors) stories.push(await insertStory(sql, author))
  return stories
}

/** Views, reactions and their removal on some of the stories, in one order and the other. */
async function writeMuch(stories: readonly string[], writer: number): Promise<void> {
  const locks = { ...LOCKS, timeoutMs: 100 }
  const emoji = ['👍', '🔥', '🎉']
  for (let n = 0; n < 15; n++) {
    const user = n % 5 === 0 ? 'abc'.charAt(n % 3) : `w${writer}_${n % 4}`
    const some = stories.filter((_, i) => (i + writer + n) % 3 > 0)
    if (n % 2) some.reverse()
    const views = some.map((storyId) => ({ storyId, viewerId: n % 5 === 0 ? user : `${user}_${n}` }))
    const reactions = some.map((storyId, i) => ({
      storyId,
      userId: user,
      emoji: emoji[(n + i + writer) % 3] ?? '',
    }))
    await untilFree(() => recordViews(pool, views, locks))
    await untilFree(() => recordReactions(pool, reactions, locks))
    if (n % 4 === 0)
      await untilFree(
        () =>
          sql`delete from glimpse.story_reactions where user_id = ${user} and story_id = ${some[0] ?? ''}`,
      )
    if (n % 6 === 5)
      await untilFree(
        () =>
          sql`delete from glimpse.story_views where viewer_id = ${`${user}_${n}`} and story_id = ${some[1] ?? ''}`,
      )
  }
}

/** Tries again after a lock, as the batcher does. */
async function untilFree(write: () => PromiseLike<unknown>): Promise<void> {
  for (;;) {
    try {
      await write()
      return
    } catch (error) {
      if (failureKind(error) !== 'contention') throw error
    }
  }
}

describe('a story that nobody has tallied', () => {
  it('is counted when it is read, and tallied in the background', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x', 'y'])
    await insertReaction(sql, story, 'x', '👍')
    await untally(story)
    await insertViews(sql, story, ['z'])
    expect((await getStory(pool, story))?.story).toMatchObject({ views: 3, reactions: { '👍': 1 } })
    await rewind()
    await tallyAll()
    expect(await talliesOf(story)).toEqual({ views: 3, reactions: { '👍': 1 } })
    expect(await sql`select position from glimpse.cleaning where job = 'tallies'`).toEqual([
      { position: null },
    ])
  })

  it('is left for later while its author is written to, and found again', async () => {
    const [held, free] = [await insertStory(sql, 'held'), await insertStory(sql, 'free')]
    for (const story of [held, free]) await untally(story)
    await rewind()
    const session = await sql.reserve()
    await session`begin`
    await session`insert into glimpse.story_views (story_id, viewer_id) values (${held}, 'x')`
    await tallyAll()
    expect((await sql`select story_id from glimpse.story_tallies`).map(({ story_id }) => story_id)).toEqual([
      free,
    ])
    await session`commit`
    session.release()
    await tallyAll()
    expect(await talliesOf(held)).toEqual({ views: 1, reactions: {} })
  })

  it('fails a stricter transaction that has not seen it tallied', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x'])
    await untally(story)
    await rewind()
    const session = await sql.reserve()
    await session`begin isolation level repeatable read`
    await session`select count(*) from glimpse.story_views`
    await tallyAll()
    await expect(
      session`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'alice')`,
    ).rejects.toMatchObject({ code: '40001' })
    await session`rollback`
    session.release()
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
  })

  it('all of them after glimpse.recount_stories()', async () => {
    const story = await insertStory(sql, 'alice')
    await sql`alter table glimpse.story_views disable trigger user`
    await insertViews(sql, story, ['x'])
    await sql`alter table glimpse.story_views enable trigger user`
    await sql`select glimpse.recount_stories()`
    expect((await getStory(pool, story))?.story.views).toBe(1)
    await tallyAll()
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
  })
})

describe('a deleted story', () => {
  it('is gone for readers and writers at once, views and all still there', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x'])
    await insertReaction(sql, story, 'x', '👍')
    expect(await deleteStory(pool, story, 'bob')).toBe('forbidden')
    expect(await deleteStory(pool, story, 'alice')).toBe('removed')
    expect(await deleteStory(pool, story, 'alice')).toBe('unknown_story')
    expect(await getStory(pool, story)).toBeUndefined()
    const [view] = await recordViews(pool, [{ storyId: story, viewerId: 'y' }], LOCKS)
    const [reaction] = await recordReactions(pool, [{ storyId: story, userId: 'y', emoji: '👍' }], LOCKS)
    expect([view, reaction]).toEqual(Array(2).fill({ result: { outcome: 'unknown_story' } }))
    await expect(insertViews(sql, story, ['y'])).rejects.toMatchObject({ code: '23503' })
    await expect(insertReaction(sql, story, 'y', '👍')).rejects.toMatchObject({ code: '23503' })
    expect(await sql`select from glimpse.story_views`).toHaveLength(1)
  })

  it('takes in no view that waited for the deletion', async () => {
    const story = await insertStory(sql, 'alice')
    const session = await sql.reserve()
    await session`begin`
    await session`update glimpse.stories set expires_at = '-infinity' where id = ${story}`
    await session`delete from glimpse.story_tallies where story_id = ${story}`
    const view = recordViews(pool, [{ storyId: story, viewerId: 'x' }], LOCKS)
    const reaction = recordReactions(pool, [{ storyId: story, userId: 'x', emoji: '👍' }], LOCKS)
    const refused = Promise.all(
      [view, reaction].map((one) =>
        expect(one).rejects.toMatchObject({ code: '23503', schema_name: 'glimpse' }),
      ),
    )
    await waitFor(2)
    await session`commit`
    session.release()
    await refused
    expect(await sql`select from glimpse.story_views`).toHaveLength(0)
  })
})

describe('a view of a story', () => {
  const unknown = '00000000-0000-4000-8000-000000000000'
  const kinds = { 'tallied one': () => {}, 'one that is not tallied': untally, 'an expired one': expire }

  it('that does not exist is refused as by a foreign key, by INSERT and UPDATE', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x'])
    const refused = { code: '23503', schema_name: 'glimpse', detail: expect.stringContaining(unknown) }
    await expect(
      sql`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'y'), (${unknown}, 'y')`,
    ).rejects.toMatchObject(refused)
    await expect(
      sql`update glimpse.story_views set story_id = ${unknown} where story_id = ${story}`,
    ).rejects.toMatchObject(refused)
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
  })

  describe.each(Object.entries(kinds))('%s', (_kind, make) => {
    it('is deleted with it, by a deletion that waits until it is committed', async () => {
      const story = await insertStory(sql, 'alice')
      await make(story)
      const session = await sql.reserve()
      await session`begin`
      await session`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'x')`
      const deletion = sql`delete from glimpse.stories where id = ${story}`.execute()
      await waitFor(1)
      await session`commit`
      session.release()
      await deletion
      expect(await sql`select from glimpse.story_views`).toHaveLength(0)
      expect(await sql`select from glimpse.stories`).toHaveLength(0)
    })

    it('is refused after it waited for its deletion', async () => {
      const story = await insertStory(sql, 'alice')
      await make(story)
      const session = await sql.reserve()
      await session`begin`
      await session`delete from glimpse.stories where id = ${story}`
      const view = expect(insertViews(sql, story, ['x'])).rejects.toMatchObject({ code: '23503' })
      await waitFor(1)
      await session`commit`
      session.release()
      await view
      expect(await sql`select from glimpse.story_views`).toHaveLength(0)
    })
  })

  it('that a stricter transaction did not see fails its deletion of the story', async () => {
    const story = await insertStory(sql, 'alice')
    const session = await sql.reserve()
    await session`begin isolation level repeatable read`
    await session`select from glimpse.stories`
    await insertViews(sql, story, ['x'])
    await expect(session`delete from glimpse.stories where id = ${story}`).rejects.toMatchObject({
      code: '40001',
    })
    await session`rollback`
    session.release()
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
  })

  it.each([
    ['cascade', 'truncate glimpse.stories cascade'],
    [
      'in one statement',
      'truncate glimpse.stories, glimpse.story_views, glimpse.story_reactions, glimpse.story_tallies',
    ],
  ])('goes when all stories are truncated: %s', async (_how, statement) => {
    await insertViews(sql, await insertStory(sql, 'alice'), ['x', 'y'])
    await sql.unsafe(statement)
    expect(await sql`select from glimpse.story_views`).toHaveLength(0)
  })
})

async function expire(story: string): Promise<void> {
  await sql`update glimpse.stories set expires_at = now() - interval '1 hour' where id = ${story}`
  await untally(story)
}

/** Resolves when so many sessions of this database wait for a lock. */
async function waitFor(sessions: number): Promise<void> {
  for (;;) {
    const rows =
      await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    if (rows.length >= sessions) return
  }
}

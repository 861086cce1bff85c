import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { failureKind } from '../../src/postgres/failure.ts'
import { createPool, type Pool } from '../../src/postgres/pool.ts'
import { recordReactions, recordViews } from '../../src/store/recording.ts'
import { deleteStory, getStory, StoryScout } from '../../src/store/stories.ts'
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
  await sql.end({ timeout: 1 })
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
    sql`select emoji, total::int, awaiting from glimpse.story_tallies where story_id = ${story}`,
  ])
  const expected = {
    views: counted?.views,
    reactions: Object.fromEntries(reactions.map(({ emoji, total }) => [emoji, total])),
  }
  if (tallied.some(({ emoji, awaiting }) => emoji === '' && awaiting === null))
    expect(Object.fromEntries(tallied.map(({ emoji, total }) => [emoji, total]))).toEqual({
      '': expected.views,
      ...expected.reactions,
    })
  const found = await getStory(pool, story)
  expect(found?.story).toMatchObject(expected)
  return expected
}

/** As popular stories are: until now it was counted. */
async function tally(story: string): Promise<void> {
  for (let tallied: boolean | undefined; !tallied; ) {
    const [row] = await sql<{ tallied: boolean }[]>`select glimpse.tally_story(${story}) as tallied`
    tallied = row?.tallied
  }
}
/** Whether it has a tally that is used. */
async function isTallied(story: string): Promise<boolean> {
  const rows =
    await sql`select from glimpse.story_tallies where story_id = ${story} and emoji = '' and awaiting is null`
  return rows.length > 0
}
const KINDS = { 'counted when it is read': async () => {}, tallied: tally }

describe.each(Object.entries(KINDS))('the tallies of a story that is %s are right after', (_kind, make) => {
  /** A story of the author. */
  async function post(author: string): Promise<string> {
    const story = await insertStory(sql, author)
    await make(story)
    return story
  }
  async function storiesOf(...authors: string[]): Promise<string[]> {
    const stories: string[] = []
    for (const author of authors) stories.push(await post(author))
    return stories
  }

  it('a statement of the service, and one that changes nothing', async () => {
    const [a, b] = [await post('alice'), await post('bob')]
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
    const [a, b] = [await post('alice'), await post('alice')]
    await sql`insert into glimpse.story_views (story_id, viewer_id) select s, 'v' || n from unnest(${[a, b]}::uuid[]) s, generate_series(1, 5) n`
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) select s, 'v' || n, case when n < 3 then '👍' else '🔥' end from unnest(${[a, b]}::uuid[]) s, generate_series(1, 5) n`
    expect(await talliesOf(b)).toEqual({ views: 5, reactions: { '👍': 2, '🔥': 3 } })
    await sql`delete from glimpse.story_views where viewer_id in ('v1', 'v2') or story_id = ${b}`
    await sql`delete from glimpse.story_reactions where user_id in ('v1', 'v2')`
    expect(await talliesOf(a)).toEqual({ views: 3, reactions: { '🔥': 3 } })
    expect(await talliesOf(b)).toEqual({ views: 0, reactions: { '🔥': 3 } })
  })

  it('COPY', async () => {
    const story = await post('alice')
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
    const [a, b] = [await post('alice'), await post('bob')]
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
    const story = await post('alice')
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
    const story = await post('alice')
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
    // Nor after a view that made one, in the same transaction; and whoever says otherwise is counted right.
    await sql.begin(async (transaction) => {
      await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'z')`
      await transaction`alter table glimpse.story_views disable trigger story_viewed`
      await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'z2'), (${story}, 'z3')`
      await transaction`set local glimpse.viewed = on`
      await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'z4')`
      await transaction`alter table glimpse.story_views enable trigger story_viewed`
    })
    expect(await talliesOf(story)).toEqual({ views: 5, reactions: {} })
    const told =
      await sql`select body::json -> 'data' ->> 'viewer_id' as viewer from glimpse.events order by seq`
    expect(told.map(({ viewer }) => viewer).filter((viewer) => ['z', 'z2', 'z3'].includes(viewer))).toEqual([
      'z',
    ])
  })

  it('views that a trigger of somebody else writes between ours, each with its event', async () => {
    const [story = '', other = ''] = await storiesOf('alice', 'bob')
    await sql.unsafe(`
      create function public.view_another() returns trigger language plpgsql as $$
      begin
        if pg_trigger_depth() = 1 then
          insert into glimpse.story_views (story_id, viewer_id) values ('${other}', 'echo');
        end if;
        return null;
      end $$;
      create trigger story_viewed_b after insert on glimpse.story_views
        for each statement execute function public.view_another()`)
    try {
      await insertViews(sql, story, ['x'])
    } finally {
      await sql`drop function public.view_another cascade`
    }
    expect([await talliesOf(story), await talliesOf(other)]).toEqual(
      Array(2).fill({ views: 1, reactions: {} }),
    )
    expect(await sql`select user_id from glimpse.events order by user_id`).toEqual([
      { user_id: 'alice' },
      { user_id: 'bob' },
    ])
  })

  it('deleting the story by hand', async () => {
    const story = await post('alice')
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
})

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

describe('a story is tallied', () => {
  it.each([
    'views',
    'reactions',
  ] as const)('when it is read with a thousand %s, and not before', async (kind) => {
    const story = await insertStory(sql, 'alice')
    const add = (from: number, to: number) =>
      kind === 'views'
        ? sql`insert into glimpse.story_views (story_id, viewer_id) select ${story}, 'v' || n from generate_series(${from}::int, ${to}::int) n`
        : sql`insert into glimpse.story_reactions (story_id, user_id, emoji) select ${story}, 'v' || n, '👍' from generate_series(${from}::int, ${to}::int) n`
    const expected = (total: number) =>
      kind === 'views' ? { views: total, reactions: {} } : { views: 0, reactions: { '👍': total } }
    await add(1, 999)
    for (let n = 0; n < 5; n++) expect(await talliesOf(story)).toEqual(expected(999))
    expect(await sql`select from glimpse.story_tallies`).toHaveLength(0)
    await add(1000, 1000)
    await expect
      .poll(async () => {
        expect((await getStory(pool, story))?.story).toMatchObject(expected(1000))
        return isTallied(story)
      })
      .toBe(true)
    await add(1001, 1003)
    expect(await talliesOf(story)).toEqual(expected(1003))
  })

  it('though nobody reads it, when one of its views is looked at', async () => {
    const [read, popular] = [await insertStory(sql, 'alice'), await insertStory(sql, 'alice')]
    await sql`insert into glimpse.story_views (story_id, viewer_id) select ${popular}, 'v' || n from generate_series(1, 1000) n`
    const views = [{ storyId: read }, { storyId: popular }]
    const [first, second, third] = [0, 1, 2].map((n) => new StoryScout(pool, () => (n + 0.5) / 500))
    third?.viewed(views)
    first?.viewed(views)
    await expect
      .poll(async () => {
        // A look that is still under way is the only one.
        for (let call = 0; call < 20; call++) second?.viewed(views)
        return isTallied(popular)
      })
      .toBe(true)
    expect(await isTallied(read)).toBe(false)
    expect(await talliesOf(popular)).toEqual({ views: 1000, reactions: {} })
  })

  it('and no look does any harm where the database is away', async () => {
    const scout = new StoryScout(createPool('postgres://127.0.0.1:1/none', 1, 'tallies-test'), () => 0)
    for (let n = 0; n < 3; n++) {
      scout.viewed([{ storyId: 'a' }])
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })

  it('once everybody has ended who began to write before, and nobody waits', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x0', 'x1', 'x2', 'x3'])
    await insertReaction(sql, story, 'x0', '👍')
    const earlier = await sql.reserve()
    await earlier`begin`
    await earlier`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'y')`
    await earlier`delete from glimpse.story_reactions where story_id = ${story}`
    for (let step = 0; step < 3; step++) {
      // As a dump of another cluster may have it.
      if (step === 2)
        await sql`update glimpse.story_tallies set awaiting = awaiting || '{4000000000,3}'::xid[] where emoji = ''`
      expect(await sql`select glimpse.tally_story(${story}) as tallied`).toEqual([{ tallied: false }])
      await sql`delete from glimpse.story_views where viewer_id = ${`x${step}`}`
      expect((await getStory(pool, story))?.story).toMatchObject({ views: 3 - step, reactions: { '👍': 1 } })
    }
    await earlier`commit`
    earlier.release()
    await tally(story)
    expect(await talliesOf(story)).toEqual({ views: 2, reactions: {} })
  })

  it('also once those have ended who began to write while it got its tally', async () => {
    const [story, other] = [await insertStory(sql, 'alice'), await insertStory(sql, 'bob')]
    const [tallying, writer] = [await sql.reserve(), await sql.reserve()]
    try {
      await tallying`begin`
      await tallying`select glimpse.tally_story(${story})`
      await writer`begin`
      await writer`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'x')`
      // The last that has ended is then older than the writer.
      await tallying`commit`
      for (let n = 0; n < 3; n++)
        expect(await sql`select glimpse.tally_story(${story}) as tallied`).toEqual([{ tallied: false }])
      // Those who come later are not waited for.
      await tallying`begin`
      await tallying`insert into glimpse.story_views (story_id, viewer_id) values (${other}, 'x')`
      await writer`commit`
      await tally(story)
      expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
      await tallying`commit`
    } finally {
      for (const connection of [tallying, writer]) {
        await connection`rollback`
        connection.release()
      }
    }
  })

  it('once the writers of views and reactions have ended, whoever else writes something', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['x'])
    const other = await sql.reserve()
    try {
      await other`begin`
      await other`select count(*) from glimpse.story_views`
      await other`insert into glimpse.streams (user_id) values ('zoe')`
      for (const tallied of [false, true])
        expect(await sql`select glimpse.tally_story(${story}) as tallied`).toEqual([{ tallied }])
      expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
    } finally {
      await other`rollback`
      other.release()
    }
  })

  it('not in the transaction that begins it, however often that tries', async () => {
    const story = await insertStory(sql, 'alice')
    await sql.begin(async (transaction) => {
      for (let n = 0; n < 3; n++)
        expect(await transaction`select glimpse.tally_story(${story}) as tallied`).toEqual([
          { tallied: false },
        ])
      // It can't see the tally.
      await insertViews(sql, story, ['x'])
    })
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
    await tally(story)
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
  })

  it('later where somebody holds its tally, and the next ones all the same', async () => {
    const stories = [await insertStory(sql, 'alice'), await insertStory(sql, 'bob')].sort()
    const [held = '', next = ''] = stories
    await sql`insert into glimpse.story_views (story_id, viewer_id) select s, 'v' || n from unnest(${stories}::uuid[]) s, generate_series(1, 1000) n`
    for (const story of stories) await sql`select glimpse.tally_story(${story})`
    // Nobody who is still at it.
    await sql`update glimpse.story_tallies set awaiting = '{3}'`
    const writer = await sql.reserve()
    try {
      for (const write of [
        () => writer`insert into glimpse.story_views (story_id, viewer_id) values (${held}, 'x')`,
        () => writer`update glimpse.story_reactions set emoji = '🔥' where story_id = ${held}`,
      ]) {
        await insertReaction(sql, held, `u${Math.random()}`, '👍')
        await writer`begin`
        await write()
        await sql`update glimpse.cleaning set position = '00000000-0000-0000-0000-000000000000' where job = 'tallies'`
        expect(await sql`select glimpse.tally_stories() as looked`).toEqual([{ looked: 2 }])
        expect([await isTallied(held), await isTallied(next)]).toEqual([false, true])
        await writer`rollback`
      }
    } finally {
      await writer`rollback`
      writer.release()
    }
    await tally(held)
    expect((await talliesOf(held)).views).toBe(1000)
  })

  it('while its author views it, who does not wait for the counting', async () => {
    const story = await insertStory(sql, 'alice')
    await sql`insert into glimpse.story_views (story_id, viewer_id) select ${story}, 'v' || n from generate_series(1, 1000) n`
    await sql`select glimpse.tally_story(${story})`
    // Nobody who is still at it.
    await sql`update glimpse.story_tallies set awaiting = '{3}'`
    const [counting, blocker] = [await sql.reserve(), await sql.reserve()]
    try {
      // Counting waits for this lock, where a story of a million views would take its time.
      await blocker`begin`
      await blocker`lock table glimpse.story_reactions in access exclusive mode`
      let viewed = false
      const counted = (async () => {
        while (!viewed) await counting`select glimpse.tally_story(${story})`.catch(() => {})
      })()
      await waitFor(1)
      await sql.begin(async (author) => {
        await author`set local lock_timeout = '100ms'`
        await author`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'alice')`
      })
      viewed = true
      await counted
    } finally {
      await blocker`rollback`
      for (const connection of [counting, blocker]) connection.release()
    }
    await tally(story)
    expect((await talliesOf(story)).views).toBe(1001)
  })

  it('and right after a stricter transaction, which has not seen it, truncates', async () => {
    const story = await insertStory(sql, 'alice')
    for (const [table, expected] of [
      ['story_views', { views: 0, reactions: { '👍': 1 } }],
      ['story_reactions', { views: 1, reactions: {} }],
      ['story_views, glimpse.story_reactions, glimpse.story_tallies', { views: 0, reactions: {} }],
    ] as const) {
      await sql`truncate glimpse.story_views, glimpse.story_reactions`
      await sql.begin('isolation level repeatable read', async (strict) => {
        await strict`select count(*) from glimpse.story_tallies`
        await insertViews(sql, story, ['x'])
        await insertReaction(sql, story, 'x', '👍')
        await tally(story)
        await strict.unsafe(`truncate glimpse.${table}`)
      })
      expect(await talliesOf(story)).toEqual(expected)
      await tally(story)
      await insertViews(sql, story, ['y'])
      expect(await talliesOf(story)).toEqual({ ...expected, views: expected.views + 1 })
    }
  })

  it('in the background where it was viewed before there were tallies, or after glimpse.recount_stories()', async () => {
    const [many, few] = [await insertStory(sql, 'alice'), await insertStory(sql, 'alice')]
    await sql`insert into glimpse.story_views (story_id, viewer_id) select ${many}, 'v' || n from generate_series(1, 1000) n`
    await insertViews(sql, few, ['x'])
    for (const story of [many, few]) await tally(story)
    await sql`alter table glimpse.story_views disable trigger user`
    for (const story of [many, few]) await insertViews(sql, story, ['y'])
    await sql`alter table glimpse.story_views enable trigger user`
    await sql`select glimpse.recount_stories()`
    expect((await getStory(pool, few))?.story.views).toBe(2)
    await expect
      .poll(async () => {
        await walk()
        return isTallied(many)
      })
      .toBe(true)
    await walk()
    expect(await talliesOf(many)).toEqual({ views: 1001, reactions: {} })
    await insertViews(sql, few, ['z'])
    expect(await talliesOf(few)).toEqual({ views: 3, reactions: {} })
    expect(await isTallied(few)).toBe(false)
    expect(await sql`select position from glimpse.cleaning where job = 'tallies'`).toEqual([
      { position: null },
    ])
  })

  it.each([
    'alice',
    'bob',
  ])('and fails a stricter transaction that has not seen it tallied and views it, as %s', async (viewer) => {
    const story = await insertStory(sql, 'alice')
    const session = await sql.reserve()
    await session`begin isolation level repeatable read`
    await session`select count(*) from glimpse.story_views`
    await tally(story)
    await expect(
      session`insert into glimpse.story_views (story_id, viewer_id) values (${story}, ${viewer})`,
    ).rejects.toMatchObject({ code: '40001' })
    await session`rollback`
    session.release()
    expect(await talliesOf(story)).toEqual({ views: 0, reactions: {} })
  })

  it('never under a stricter isolation, which would not see the last views', async () => {
    const story = await insertStory(sql, 'alice')
    await expect(
      sql.begin('isolation level repeatable read', (strict) => strict`select glimpse.tally_story(${story})`),
    ).rejects.toMatchObject({ code: '25000' })
  })

  it('while all kinds of writers are at it, and readers see what the tables have at each moment', async () => {
    const stories: string[] = []
    for (const author of ['a', 'b', 'c', 'a', 'b', 'c']) stories.push(await insertStory(sql, author))
    const storyOf = (n: number) => stories[n % stories.length] ?? ''
    const seen = new Set<string>()
    let writing = true
    const retally = async (first: number) => {
      for (let n = first; writing; n++) {
        // Where the machine is slow, a recount of the other takes longer than it waits.
        await untilFree(() => sql`select glimpse.tally_story(${storyOf(n)})`)
        if (await isTallied(storyOf(n))) seen.add(storyOf(n))
        if (n % 60 === 59) await untilFree(() => sql`select glimpse.recount_stories()`)
      }
    }
    const read = async () => {
      for (let n = 0; writing; n++) {
        await sql.begin('isolation level repeatable read', async (moment) => {
          const [counted] = await moment`
            select (select count(*)::int from glimpse.story_views where story_id = ${storyOf(n)}) as views,
                   (select coalesce(json_object_agg(emoji, total), '{}') from (
                     select emoji, count(*) as total from glimpse.story_reactions where story_id = ${storyOf(n)} group by emoji
                   ) r) as reactions`
          const found = await getStory(moment as unknown as Pool, storyOf(n))
          expect({ views: found?.story.views, reactions: found?.story.reactions }).toEqual(counted)
        })
      }
    }
    const tending = Promise.all([retally(0), retally(3), read()])
    tending.catch(() => {}) // waited for below
    try {
      await Promise.all(upTo(4).map((writer) => writeMuch(stories, writer)))
    } finally {
      writing = false
      await tending
    }
    for (const story of stories) {
      await talliesOf(story)
      await tally(story)
      await talliesOf(story)
    }
    expect(seen.size).toBe(stories.length)
  })
})

/** The whole of the cleaner's job. */
async function walk(): Promise<void> {
  for (let looked = 1; looked > 0; ) {
    const [row] = await sql<{ looked: number }[]>`select glimpse.tally_stories() as looked`
    looked = row?.looked ?? 0
  }
}

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

  it('keeps nobody waiting who views it at this moment, and is not tallied', async () => {
    const story = await insertStory(sql, 'alice')
    const session = await sql.reserve()
    await session`begin`
    await session`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'x')`
    expect(await deleteStory(pool, story, 'alice')).toBe('removed')
    await session`commit`
    session.release()
    expect(await getStory(pool, story)).toBeUndefined()
    expect(await sql`select glimpse.tally_story(${story}) as tallied`).toEqual([{ tallied: false }])
    expect(await sql`select from glimpse.story_tallies`).toHaveLength(0)
  })
})

describe('a view of a story', () => {
  const unknown = '00000000-0000-4000-8000-000000000000'
  const kinds = { 'tallied one': tally, 'one that is not tallied': async () => {}, 'an expired one': expire }

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

  it.each([
    'x',
    'alice',
    'somebody, moved here,',
  ])('by %s that a stricter transaction did not see fails its deletion of the story', async (viewer) => {
    const story = await insertStory(sql, 'alice')
    if (viewer.includes(' ')) await insertViews(sql, await insertStory(sql, 'bob'), [viewer])
    const session = await sql.reserve()
    await session`begin isolation level repeatable read`
    await session`select from glimpse.stories`
    if (viewer.includes(' ')) await sql`update glimpse.story_views set story_id = ${story}`
    else await insertViews(sql, story, [viewer])
    await expect(session`delete from glimpse.stories where id = ${story}`).rejects.toMatchObject({
      code: '40001',
    })
    await session`rollback`
    session.release()
    expect(await talliesOf(story)).toEqual({ views: 1, reactions: {} })
  })

  it('goes when a stricter transaction, which has not seen it, truncates all stories', async () => {
    const story = await insertStory(sql, 'alice')
    await sql.begin('isolation level repeatable read', async (strict) => {
      await strict`select count(*) from glimpse.story_views`
      await insertViews(sql, story, ['x'])
      await strict`truncate glimpse.stories cascade`
    })
    expect(await sql`select from glimpse.story_views`).toHaveLength(0)
  })

  it('keeps the id of its story, which may change while there is none', async () => {
    const story = await insertStory(sql, 'alice')
    const rename = sql`update glimpse.stories set id = gen_random_uuid() where id = ${story}`
    await insertViews(sql, story, ['x'])
    await expect(rename).rejects.toMatchObject({ code: '23503' })
    await sql`delete from glimpse.story_views`
    await sql.begin('isolation level repeatable read', async (strict) => {
      await strict`select from glimpse.stories`
      await insertViews(sql, story, ['x'])
      await expect(
        strict.savepoint((s) => s`update glimpse.stories set id = gen_random_uuid() where id = ${story}`),
      ).rejects.toMatchObject({ code: expect.stringMatching(/40001|23503/) })
    })
    await sql`delete from glimpse.story_views`
    await sql`update glimpse.stories set id = gen_random_uuid() where id = ${story}`
    expect(await sql`select from glimpse.stories where id <> ${story}`).toHaveLength(1)
  })

  describe('or a reaction, changed or removed at the moment when its story is,', () => {
    const changes = {
      'a view': 'delete from glimpse.story_views',
      'a reaction': 'delete from glimpse.story_reactions',
      'an emoji': `update glimpse.story_reactions set emoji = '🔥'`,
    }
    const removals = {
      'the cleaner': 'select glimpse.remove_stories(24, 100, 100)',
      'a statement': 'delete from glimpse.stories',
    }
    const cases = Object.keys(changes).flatMap((what) =>
      Object.keys(removals).flatMap((who) => ['tallied', 'not tallied'].map((kind) => [what, who, kind])),
    ) as [keyof typeof changes, keyof typeof removals, string][]
    it.each(cases)('does not deadlock: %s, %s, %s', async (what, who, kind) => {
      const story = await insertStory(sql, 'alice')
      await insertViews(sql, story, ['x', 'y'])
      for (const user of ['x', 'y']) await insertReaction(sql, story, user, '👍')
      if (kind === 'tallied') await tally(story)
      await expire(story)
      await sql`update glimpse.stories set expires_at = expires_at - interval '10 days'`
      // Between the change of the rows and the story's lock.
      await sql.unsafe(`
        create function public.linger() returns trigger language plpgsql as $$
          begin perform pg_sleep(0.3); return null; end $$;
        create trigger a after delete on glimpse.story_views for each statement
          when (current_setting('application_name') = 'slow') execute function public.linger();
        create trigger a after update or delete on glimpse.story_reactions for each statement
          when (current_setting('application_name') = 'slow') execute function public.linger()`)
      const slow = postgres(database.url, { max: 1, connection: { application_name: 'slow' } })
      try {
        await slow`select`
        const change = slow.unsafe(
          `${changes[what]} where ${what === 'a view' ? 'viewer_id' : 'user_id'} = 'x'`,
        )
        const changed = change.execute()
        await expect
          .poll(
            () =>
              sql`select from pg_stat_activity where application_name = 'slow' and wait_event = 'PgSleep'`,
          )
          .toHaveLength(1)
        await Promise.all([changed, sql.unsafe(removals[who])])
        await sql.unsafe(removals[who])
      } finally {
        await slow.end()
        await sql`drop function public.linger cascade`
      }
      expect(await sql`select from glimpse.stories`).toHaveLength(0)
      expect(await sql`select from glimpse.story_views`).toHaveLength(0)
    })
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
}

/** Resolves when so many sessions of this database wait for a lock. */
async function waitFor(sessions: number): Promise<void> {
  for (;;) {
    const rows =
      await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    if (rows.length >= sessions) return
  }
}

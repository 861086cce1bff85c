import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { createPool } from '../../src/postgres/pool.ts'
import { EventLog, PAGE_MAX_BYTES, readHeads, readPages } from '../../src/store/event-log.ts'
import { markRead } from '../../src/store/read-marker.ts'
import { channelOf } from '../support/channel.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { insertReaction, insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 6, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await database.drop()
})
beforeEach(async () => {
  await sql`truncate glimpse.stories, glimpse.events, glimpse.streams cascade`
})

const dataOf = async (user: string) => (await readLog(sql, user)).map(({ body }) => JSON.parse(body).data)
const seqsOf = async (user: string) => (await readLog(sql, user)).map(({ seq }) => seq)

/** Appends events of these users in this order; the data is the place in the call. */
const append = (users: readonly string[], at = (nth: number) => new Date(1_750_000_000_000 + nth)) =>
  sql`select glimpse.append(variadic array(
        select row(user_id, 'test.made', to_json(nth::int), at)::glimpse.new_event
          from unnest(${users as string[]}::text[], ${users.map((_, nth) => at(nth).toISOString())}::text[]::timestamptz[]) with ordinality as e (user_id, at, nth)
         order by nth))`

describe('a reaction', () => {
  it('of the author makes no event, neither at first nor changed', async () => {
    const story = await insertStory(sql, 'alice')
    await insertReaction(sql, story, 'alice', '❤️')
    await sql`update glimpse.story_reactions set emoji = '🔥'`
    expect(await seqsOf('alice')).toEqual([])
  })

  it('that is set to the emoji it has makes no event; among others in one statement too', async () => {
    const story = await insertStory(sql, 'alice')
    for (const user of ['bob', 'carol']) await insertReaction(sql, story, user, '❤️')
    await sql`update glimpse.story_reactions set emoji = case user_id when 'bob' then '🔥' else '❤️' end`
    await sql`update glimpse.story_reactions set reacted_at = now()`
    expect((await dataOf('alice')).map(({ user_id, emoji }) => [user_id, emoji])).toEqual([
      ['bob', '❤️'],
      ['carol', '❤️'],
      ['bob', '🔥'],
    ])
  })
})

describe('events of one statement', () => {
  it('of recipients in any order are numbered in the order of the call, whatever their times', async () => {
    await append(['b', 'a', 'b', 'c', 'a', 'b'], (nth) => new Date(1_750_000_000_000 - nth))
    expect([await dataOf('a'), await dataOf('b'), await dataOf('c')]).toEqual([[2, 5], [1, 3, 6], [4]])
    for (const user of ['a', 'b', 'c']) expect(await seqsOf(user)).toEqual(upTo((await dataOf(user)).length))
  })

  it('stand in the order in which views were made, and reactions', async () => {
    const stories = [await insertStory(sql, 'alice'), await insertStory(sql, 'alice')]
    const viewers = ['v4', 'v1', 'v3', 'v2', 'v5']
    const at = viewers.map((viewer) =>
      new Date(1_750_000_000_000 + 1000 * Number(viewer.slice(1))).toISOString(),
    )
    await sql`insert into glimpse.story_views (story_id, viewer_id, viewed_at)
      select (${stories}::uuid[])[1 + nth % 2], viewer, at
        from unnest(${viewers}::text[], ${at}::text[]::timestamptz[]) with ordinality as v (viewer, at, nth)`
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji, reacted_at)
      select (${stories}::uuid[])[1 + nth % 2], viewer, '❤️', at
        from unnest(${viewers}::text[], ${at}::text[]::timestamptz[]) with ordinality as v (viewer, at, nth)`
    const made = (await dataOf('alice')).map(({ viewer_id, user_id }) => viewer_id ?? user_id)
    expect(made).toEqual(['v1', 'v2', 'v3', 'v4', 'v5', 'v1', 'v2', 'v3', 'v4', 'v5'])
  })

  it('raise the streams of many users, each to its own head', async () => {
    const users = upTo(60).map((n) => `u${(n * 37) % 61}`)
    for (const [nth, user] of users.entries()) await append(Array(1 + (nth % 3)).fill(user))
    await append(users)
    for (const [nth, user] of users.entries()) expect(await seqsOf(user)).toEqual(upTo(2 + (nth % 3)))
  })

  it('lock the streams in sorted order', async () => {
    await append(['a', 'b', 'c'])
    // Whoever waits for b holds a already, and not c.
    const [holder, writer] = [await sql.reserve(), await sql.reserve()]
    await holder`begin`
    await holder`select from glimpse.streams where user_id = 'b' for update`
    const written = writer`select glimpse.append(variadic array(
      select row(u, 'test.made', '1', now())::glimpse.new_event from unnest('{c,b,a}'::text[]) u))`.execute()
    await until(`wait_event_type = 'Lock'`)
    expect(await isFree('a')).toBe(false)
    expect(await isFree('c')).toBe(true)
    await holder`commit`
    await written
    for (const session of [holder, writer]) session.release()
  })
})

describe('batches that are recorded', () => {
  it.each(['views', 'reactions'])('%s stand in the order that all batches share', async (kind) => {
    const stories = (await Promise.all(upTo(6).map((n) => insertStory(sql, `author ${n}`)))).sort().reverse()
    const pairs = stories.flatMap((story) => ['z', 'm', 'a'].map((user) => [story, user] as const))
    const [ids, users] = [pairs.map(([id]) => id), pairs.map(([, user]) => user)]
    if (kind === 'views')
      await sql`select glimpse.record_views(${ids}::uuid[], ${users}::text[], 30, false, null)`
    else
      await sql`select glimpse.record_reactions(${ids}::uuid[], ${users}::text[], ${users.map(() => '❤️')}::text[], 30, false, null)`
    // A fresh table keeps rows in the order in which they were inserted.
    const rows =
      kind === 'views'
        ? await sql`select story_id::text || ' ' || viewer_id as pair from glimpse.story_views order by ctid`
        : await sql`select story_id::text || ' ' || user_id as pair from glimpse.story_reactions order by ctid`
    expect(rows.map(({ pair }) => pair)).toEqual(pairs.map((pair) => pair.join(' ')).sort())
  })

  it.each([
    'the story',
    "its author's stream",
  ])('pass over a row for which %s is held, without waiting', async (what) => {
    const [held, free] = [await insertStory(sql, 'held'), await insertStory(sql, 'free')]
    const holder = await sql.reserve()
    await holder`begin`
    if (what === 'the story') await holder`select from glimpse.stories where id = ${held} for update`
    else await holder`select from glimpse.streams where user_id = 'held' for no key update`
    // Nobody waits: what did so would fail by 55P03 after 5 ms.
    const [recording] = await sql`
      select others from glimpse.record_views(${[held, free]}::uuid[], '{bob,bob}'::text[], 5, true, null)`
    const marked =
      await sql`select user_id from glimpse.streams where user_id in ('held', 'free') for no key update skip locked`
    await holder`rollback`
    holder.release()
    expect(recording?.others).toEqual([[1, 'held', 'held']])
    expect(await seqsOf('free')).toEqual([1])
    expect(marked.length).toBeGreaterThan(0)
  })

  it('read marks lock streams in sorted order, and pass over held ones', async () => {
    const users = ['a', 'b', 'c']
    await append(users)
    const [head] = await readHeads(sql, [{ user: 'a', seq: -1 }])
    const marks = [...users]
      .reverse()
      .map((user) => ({ user, epoch: head?.epoch ?? '', seq: 1, check: undefined }))
    const holder = await sql.reserve()
    await holder`begin`
    await holder`select from glimpse.streams where user_id = 'b' for update`
    const passed = await markRead(sql, marks.slice(0, 2), { timeoutMs: 5, skipLocked: true, isolated: false })
    expect(passed).toMatchObject([{ result: { outcome: 'marked' } }, { heldScope: 'b' }])
    await sql`update glimpse.streams set read = 0 where user_id = 'c'`
    const marked = markRead(sql, marks, { timeoutMs: 20_000, skipLocked: false, isolated: false })
    await until(`wait_event_type = 'Lock'`)
    expect(await isFree('a')).toBe(false)
    expect(await isFree('c')).toBe(true)
    await holder`commit`
    holder.release()
    expect(await marked).toHaveLength(3)
  })
})

describe('whatever somebody did to the heads by hand', () => {
  it.each([
    ['the row was deleted', () => sql`delete from glimpse.streams`, 4],
    ['it was set back', () => sql`update glimpse.streams set head = head - 2`, 4],
    ['it was set to 0', () => sql`update glimpse.streams set head = 0`, 4],
    ['it was set below 0', () => sql`update glimpse.streams set head = -5`, 4],
    ['it was set ahead', () => sql`update glimpse.streams set head = 9`, 10],
    ['the log was emptied and its head kept', () => sql`truncate glimpse.events`, 4],
  ])('%s: the next view is stored, and takes a number that no event had', async (_what, change, next) => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['v1', 'v2', 'v3'])
    const before = await readLog(sql, 'alice')
    await change()
    await insertViews(sql, story, ['v4'])
    await insertViews(sql, story, ['v5', 'v6'])
    const kept = (await sql`select from glimpse.events where user_id = 'alice' and seq <= 3`).length
    expect(await seqsOf('alice')).toEqual([...upTo(kept), next, next + 1, next + 2])
    expect((await readLog(sql, 'alice')).slice(0, kept)).toEqual(before.slice(0, kept))
    const [head] = await readHeads(sql, [{ user: 'alice', seq: -1 }])
    expect(head).toMatchObject({ head: next + 2, headTime: expect.any(Number) })
  })

  it('and the log lacks an event: a lone view does not take its number', async () => {
    const story = await insertStory(sql, 'alice')
    await insertViews(sql, story, ['v1', 'v2', 'v3'])
    await sql`delete from glimpse.events where seq = 2`
    await sql`update glimpse.streams set head = 0`
    await insertViews(sql, story, ['v4'])
    expect(await seqsOf('alice')).toEqual([1, 3, 4])
  })

  it('and only to one of the recipients: the others go on as they were', async () => {
    await append(['a', 'b', 'c', 'b'])
    await sql`update glimpse.streams set head = 0 where user_id = 'b'`
    await append(['c', 'b', 'a', 'b'])
    expect([await seqsOf('a'), await seqsOf('b'), await seqsOf('c')]).toEqual([[1, 2], upTo(4), [1, 2]])
    expect(await dataOf('b')).toEqual([2, 4, 2, 4])
  })

  it('and without the row that names the channel: events are logged', async () => {
    const story = await insertStory(sql, 'alice')
    const channel = await channelOf(sql)
    await sql`delete from glimpse.history`
    await insertViews(sql, story, ['bob'])
    expect(await seqsOf('alice')).toEqual([1])
    await sql`insert into glimpse.history (channel) values (${channel})`
  })
})

describe('what one stream carries', () => {
  /** An event of this many bytes at least; `more` is added. */
  const large = (bytes: number) =>
    sql`select glimpse.append(row('alice', 'test.made', to_json(repeat('é', ${bytes}::int / 2)), now())::glimpse.new_event)`

  it('is an event of at most 64 KiB, in bytes', async () => {
    await large(65_000)
    await expect(large(65_536)).rejects.toMatchObject({
      code: '22023',
      message: expect.stringMatching(
        /glimpse\.append: an event for user 'alice' has \d+ bytes; it may have at most 65536/,
      ),
    })
    const [event] = await readLog(sql, 'alice')
    expect(Buffer.byteLength(event?.body ?? '')).toBeLessThanOrEqual(65_536)
    expect(await seqsOf('alice')).toEqual([1])
  })

  it('is read in pages of at most 1 MiB, each with one event at least', async () => {
    for (let n = 0; n < 34; n++) await large(64_000)
    const seqs: number[] = []
    for (let after = 0, pages = 0; pages < 10; pages++) {
      const [page] = await readPages(sql, [{ user: 'alice', after, limit: 200 }])
      const fresh = (page?.seqs ?? []).filter((seq) => seq > after)
      if (fresh.length === 0) break
      const bytes = (page?.bodies ?? []).reduce((sum, body) => sum + Buffer.byteLength(body), 0)
      expect(bytes).toBeLessThanOrEqual(PAGE_MAX_BYTES)
      expect(page?.complete).toBe(fresh.at(-1) === 34)
      seqs.push(...fresh)
      after = fresh.at(-1) ?? after
    }
    expect(seqs).toEqual(upTo(34))
    await sql`update glimpse.events set body = repeat('x', 2000000) where seq = 2`
    const [page] = await readPages(sql, [{ user: 'alice', after: 1, limit: 200 }])
    expect(page?.seqs).toEqual([1, 2])
  })
})

it.each([
  '',
  'x'.repeat(64),
  'a b',
])('a channel that no writer could notify on is refused: "%s"', async (channel) => {
  await expect(sql`update glimpse.history set channel = ${channel}`).rejects.toMatchObject({ code: '23514' })
})

describe('reads of many streams', () => {
  /** A connection whose plans give rows in no order but the one that is asked for. */
  async function withoutNestedLoops<Result>(work: (sql: ReturnType<typeof createPool>) => Promise<Result>) {
    const pool = createPool(database.url, 1, 'log-test')
    try {
      // What is left is a merge join, which gives them by user.
      await pool`set enable_nestloop = off`
      await pool`set enable_hashjoin = off`
      return await work(pool)
    } finally {
      await pool.end({ timeout: 1 })
    }
  }

  it('are answered in the order of the requests, with bodies in the order of their numbers', async () => {
    const users = upTo(40).map((n) => `u${(n * 17) % 41}`)
    for (const [nth, user] of users.entries()) await append(Array(1 + nth).fill(user))
    // Rows that were written again stand in another order than their numbers.
    await sql`update glimpse.events set body = body where seq % 2 = 1`
    await withoutNestedLoops(async (pool) => {
      const heads = await readHeads(
        pool,
        users.map((user) => ({ user, seq: 1 })),
      )
      expect(heads.map(({ head }) => head)).toEqual(users.map((_, nth) => 1 + nth))
      const pages = await readPages(
        pool,
        users.map((user) => ({ user, after: 0, limit: 200 })),
      )
      expect(pages.map(({ seqs }) => seqs)).toEqual(users.map((_, nth) => upTo(1 + nth)))
      for (const { seqs, bodies } of pages) expect(bodies.map((body) => JSON.parse(body).seq)).toEqual(seqs)
    })
  })

  /** The last one that Postgres has; in µs since 1970 it is no bigint. */
  const LAST_TIME = '294276-12-31 23:59:59.999999+00'
  const others = upTo(49).map((n) => `u${n}`)
  const everybody = [...others.slice(0, 20), 'broken', ...others.slice(20)]

  it.each([
    [
      'an event',
      () => sql`update glimpse.events set logged_at = 'infinity' where user_id = 'broken' and seq = 2`,
    ],
    [
      'the head',
      () =>
        sql`update glimpse.streams set head_at = '-infinity', read_at = 'infinity' where user_id = 'broken'`,
    ],
    ['the edge', () => sql`update glimpse.streams set trimmed_at = 'infinity' where user_id = 'broken'`],
    [
      'the last event',
      () =>
        sql`update glimpse.events set logged_at = ${LAST_TIME}::text::timestamptz where user_id = 'broken' and seq = 3`,
    ],
    [
      'every place',
      () => sql`
        update glimpse.streams
           set head_at = ${LAST_TIME}::text::timestamptz, previous_at = ${LAST_TIME}::text::timestamptz, trimmed_at = ${LAST_TIME}::text::timestamptz, read_at = ${LAST_TIME}::text::timestamptz
         where user_id = 'broken'`,
    ],
  ])('where %s of one has a time that is none: all are answered', async (_what, change) => {
    await append(everybody.flatMap((user) => [user, user, user]))
    await change()
    const log = new EventLog(sql)
    const pages = await Promise.all(everybody.map((user) => log.page(user, 0)))
    for (const [nth, page] of pages.entries())
      if (everybody[nth] !== 'broken') expect(page.seqs).toEqual([1, 2, 3])
    const heads = await log.heads(everybody)
    expect(heads.map((head) => head?.head)).toEqual(everybody.map(() => 3))
    // And its author's views go on.
    await append(['broken'])
    expect(await seqsOf('broken')).toEqual([1, 2, 3, 4])
  })

  it.each([
    ['streams', 'head', 'update glimpse.streams set head = 9223372036854775807'],
    ['streams', 'head', 'update glimpse.streams set head = 9007199254740993'],
    ['streams', 'oldest', 'update glimpse.streams set oldest = -9223372036854775808'],
    ['streams', 'read', 'update glimpse.streams set read = 9223372036854775807'],
    ['events', 'seq', 'update glimpse.events set seq = 9223372036854775807'],
  ])('a number in %s.%s from which nobody can count on is refused: %s', async (_table, _column, statement) => {
    await append(['a'])
    await expect(sql.unsafe(statement)).rejects.toMatchObject({
      code: '23514',
      constraint_name: 'countable',
    })
  })

  it('where the head of one cannot be read at all: the others are answered, by the sweep too', async () => {
    await append(everybody)
    const [whole] = await sql`select pg_get_functiondef('glimpse.microseconds'::regproc) as it`
    onTestFinished(async () => {
      await sql.unsafe(whole?.it)
    })
    // Stands for a damaged page of the table, which raises XX001 for whoever reads a row of it.
    await sql.unsafe(`
      create or replace function glimpse.microseconds(at timestamptz) returns bigint language plpgsql as $$
      begin
        if at = '1999-01-01' then raise exception using errcode = 'data_corrupted', message = 'invalid page'; end if;
        return (date_part('epoch', at) * 1000000)::bigint;
      end $$`)
    await sql`update glimpse.streams set trimmed_at = '1999-01-01' where user_id = 'broken'`
    const pool = createPool(database.url, 1, 'log-test')
    onTestFinished(() => pool.end({ timeout: 0 }))
    const unreadable: unknown[] = []
    const log = new EventLog(pool, (error) => unreadable.push(error))
    const heads = await log.heads(everybody)
    expect(heads.map((head) => head?.head)).toEqual(
      everybody.map((user) => (user === 'broken' ? undefined : 1)),
    )
    expect(unreadable).toHaveLength(1)
    const opened = await Promise.allSettled(everybody.map((user) => log.head(user)))
    expect(opened.map(({ status }) => status)).toEqual(
      everybody.map((user) => (user === 'broken' ? 'rejected' : 'fulfilled')),
    )
  })

  it('where one cannot be read at all: the other 49 are answered, and it comes as one that lost its events', async () => {
    await append(everybody.flatMap((user) => [user, user]))
    // Stands for a damaged page of the table, which raises XX001 for whoever reads a row of it.
    await sql`alter table glimpse.events rename to whole_events`
    await sql.unsafe(`
      create function glimpse.damaged(body text) returns text language plpgsql as $$
      begin raise exception using errcode = 'data_corrupted', message = 'invalid page'; end $$;
      create view glimpse.events as select user_id, seq, logged_at,
        case when user_id = 'broken' then glimpse.damaged(body) else body end as body from glimpse.whole_events`)
    try {
      const unreadable: unknown[] = []
      const log = new EventLog(sql, (error) => unreadable.push(error))
      const pages = await Promise.all(everybody.map((user) => log.page(user, 0)))
      for (const [nth, page] of pages.entries()) {
        expect(page.head).toBe(2)
        expect(page.seqs).toEqual(everybody[nth] === 'broken' ? [] : [1, 2])
        expect(page.complete).toBe(true)
      }
      expect(unreadable).toMatchObject([{ code: 'XX001' }])
    } finally {
      await sql`drop view glimpse.events`
      await sql`drop function glimpse.damaged`
      await sql`alter table glimpse.whole_events rename to events`
    }
  })
})

/** Resolves when a connection to this database is in a state. */
async function until(state: string): Promise<void> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    const [row] = await sql.unsafe(
      `select count(*)::int as sessions from pg_stat_activity where datname = current_database() and ${state}`,
    )
    if (row?.sessions > 0) return
    await sql`select pg_sleep(0.01)`
  }
  throw new Error(`no connection had ${state}`)
}

/** Whether nobody has locked a user's stream. */
async function isFree(user: string): Promise<boolean> {
  const rows = await sql`select from glimpse.streams where user_id = ${user} for update skip locked`
  return rows.length === 1
}

// What names a user must not matter to another one's stream.
it('users whose names sort differently by locale are numbered apart', async () => {
  const users = ['ä', 'a', 'Z', 'z', 'é', 'e', `${randomUUID()}`, 'A']
  await append([...users, ...users])
  for (const user of users) expect(await seqsOf(user)).toEqual([1, 2])
})

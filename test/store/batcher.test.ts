import { randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GlimpseError } from '../../src/errors.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { Database } from '../../src/postgres/database.ts'
import type { LockPolicy } from '../../src/postgres/lock-timeout.ts'
import { Batcher } from '../../src/store/batcher.ts'
import { createBatchers, WritePools } from '../../src/store/batchers.ts'
import { type Recorded, recordViews, type View } from '../../src/store/recording.ts'
import { createDatabase } from '../support/database.ts'
import { insertStory, upTo } from '../support/sql-writer.ts'

let database: Awaited<ReturnType<typeof createDatabase>>
let sql: postgres.Sql
const opened: Database[] = []
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 6 })
})
afterAll(async () => {
  // A test that failed may have kept its session, and another try passes all the same.
  await Promise.all([sql.end({ timeout: 1 }), ...opened.map((each) => each.end({ timeout: 0 }))])
  await database.drop()
})

function openPools(url: string, options?: { statementTimeoutMs: number }): WritePools {
  const edge = new Database(parseConnectionUrl(url))
  opened.push(edge)
  return new WritePools(edge, options)
}

const batchers = () => createBatchers(openPools(database.url), createMetrics(), 20_000)

function viewBatcher(
  options: Partial<ConstructorParameters<typeof Batcher<View, Recorded>>[0]> & {
    readonly pools?: WritePools
    /** Hears of every statement. */
    readonly onWrite?: (rows: readonly View[], locks: LockPolicy) => void
  } = {},
) {
  const { pools = openPools(database.url), onWrite } = options
  return new Batcher<View, Recorded>({
    keyOf: (view) => `${view.storyId} ${view.viewerId}`,
    same: () => true,
    repeated: (recorded) => recorded,
    write: (rows, locks) => {
      onWrite?.(rows, locks)
      return pools.write('views', locks, (connection) => recordViews(connection, rows, locks))
    },
    ...options,
  })
}

async function streamOf(user: string): Promise<string[]> {
  const rows = await sql<{ body: string }[]>`
    select body from glimpse.events where user_id = ${user} order by seq`
  return rows.map(({ body }) => body)
}

describe('many rows at once', () => {
  it('are written by few statements, and each caller hears of its own', async () => {
    const story = await insertStory(sql, 'crowd')
    const sizes: number[] = []
    const views = viewBatcher({
      onWrite: (rows) => sizes.push(rows.length),
    })
    const results = await Promise.all(
      upTo(1200).map((n) => views.submit({ storyId: story, viewerId: `v${n}` })),
    )
    expect(results.every(({ outcome }) => outcome === 'recorded')).toBe(true)
    expect(await streamOf('crowd')).toHaveLength(1200)
    expect(sizes).toEqual([500, 500, 200])
    expect(views.waiting).toBe(0)
  })

  it('tell an unknown story and an expired one from a live one', async () => {
    const { views } = batchers()
    const live = await insertStory(sql, 'mixed')
    const expired = await insertStory(sql, 'mixed')
    await sql`update glimpse.stories set expires_at = now() - interval '1 second' where id = ${expired}`
    const stories = [live, randomUUID(), expired]
    const results = await Promise.all(stories.map((storyId) => views.submit({ storyId, viewerId: 'bob' })))
    expect(results.map(({ outcome }) => outcome)).toEqual(['recorded', 'unknown_story', 'expired_story'])
  })

  it('past the bound are refused, and those before it are written', async () => {
    const story = await insertStory(sql, 'bounded')
    const views = viewBatcher({ maxWaiting: 10 })
    const outcomes = await Promise.allSettled(
      upTo(12).map((n) => views.submit({ storyId: story, viewerId: `v${n}` })),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
    expect(outcomes.at(-1)).toMatchObject({ reason: { code: 'overloaded', details: { retryAfter: 1 } } })
    expect(await streamOf('bounded')).toHaveLength(10)
  })
})

describe('identical requests', () => {
  it('share one write: the first is told recorded, the others repeated, all the same time', async () => {
    const { views } = batchers()
    const story = await insertStory(sql, 'twins')
    const results = await Promise.all(upTo(5).map(() => views.submit({ storyId: story, viewerId: 'bob' })))
    expect(results.map(({ outcome }) => outcome)).toEqual(['recorded', ...Array(4).fill('repeated')])
    expect(new Set(results.map((result) => 'at' in result && result.at)).size).toBe(1)
    expect(await streamOf('twins')).toHaveLength(1)
  })

  it('of one user with different emoji are written one after the other, and each makes its event', async () => {
    const { reactions } = batchers()
    const storyId = await insertStory(sql, 'toggler')
    const emoji = ['❤️', '😂', '😂', '❤️']
    const results = await Promise.all(
      emoji.map((one) => reactions.submit({ storyId, userId: 'bob', emoji: one })),
    )
    expect(results.map(({ outcome }) => outcome)).toEqual(['recorded', 'recorded', 'repeated', 'recorded'])
    const bodies = await streamOf('toggler')
    expect(bodies.map((body) => JSON.parse(body).data.emoji)).toEqual(['❤️', '😂', '❤️'])
  })
})

describe('a row that the database refuses', () => {
  // Both pass no validation over HTTP; here they stand for whatever a validation forgets.
  it.each([
    ['breaks a constraint', 'tab\there'],
    ['cannot be stored as text', 'nul\0here'],
  ])('because it %s fails alone', async (_, poison) => {
    const author = `poisoned ${randomUUID()}`
    const story = await insertStory(sql, author)
    const { views } = batchers()
    const viewers = [...upTo(30).map((n) => `v${n}`), poison, ...upTo(30).map((n) => `w${n}`)]
    const outcomes = await Promise.allSettled(
      viewers.map((viewerId) => views.submit({ storyId: story, viewerId })),
    )
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    expect(outcomes[30]).toMatchObject({ reason: { code: 'internal' } })
    expect((outcomes[30] as PromiseRejectedResult).reason).toBeInstanceOf(GlimpseError)
    expect(await streamOf(author)).toHaveLength(60)
  })
})

describe('a row whose lock is held elsewhere', () => {
  /** Somebody's psql that viewed a story and did not commit: it holds the author's row of streams. */
  async function holdStream(author: string) {
    const story = await insertStory(sql, author)
    const session = await sql.reserve()
    await session`begin`
    await session`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'psql')`
    return {
      story,
      release: async () => {
        await session`commit`
        session.release()
      },
    }
  }

  it('is answered busy after twice the time for a lock, also where Postgres makes the statement wait for more than one', async () => {
    const views = viewBatcher({
      blockedTimeoutMs: 50,
      write: (rows, { isolated }) =>
        isolated ? new Promise(() => {}) : Promise.resolve(rows.map(() => ({ heldScope: 'held' }))),
    })
    const waiting = upTo(3).map((n) => views.submit({ storyId: randomUUID(), viewerId: `v${n}` }))
    for (const view of waiting)
      await expect(view).rejects.toMatchObject({ code: 'busy', details: { retryAfter: 1 } })
    expect(views.waiting).toBe(0)
  })

  it('is answered busy in bounded time, and holds up nobody else for long', async () => {
    const held = await holdStream('held')
    const free = await insertStory(sql, 'free')
    const views = viewBatcher({ blockedTimeoutMs: 500 })
    const start = performance.now()
    const blocked = views.submit({ storyId: held.story, viewerId: 'bob' }).catch((error) => error)
    const others = await Promise.all(upTo(40).map((n) => views.submit({ storyId: free, viewerId: `v${n}` })))
    const othersMs = performance.now() - start
    expect(others.every(({ outcome }) => outcome === 'recorded')).toBe(true)
    expect(await blocked).toMatchObject({ code: 'busy', details: { retryAfter: 1 } })
    expect(performance.now() - start).toBeLessThan(20_000)
    expect(othersMs).toBeLessThan(20_000)
    await held.release()
    expect(await views.submit({ storyId: held.story, viewerId: 'bob' })).toMatchObject({
      outcome: 'recorded',
    })
  })

  it('succeeds if the lock is let go in time, and its numbers follow those of who held it', async () => {
    const held = await holdStream('patient')
    const views = viewBatcher({ blockedTimeoutMs: 10_000 })
    const waiting = Promise.all(upTo(3).map((n) => views.submit({ storyId: held.story, viewerId: `v${n}` })))
    // The main queue's lock timeout has passed, so that the rows wait in a queue of their own.
    await expect.poll(() => lockWaits()).toBeGreaterThan(0)
    await held.release()
    expect((await waiting).map(({ outcome }) => outcome)).toEqual(['recorded', 'recorded', 'recorded'])
    expect((await streamOf('patient')).map((body) => JSON.parse(body).data.viewer_id)[0]).toBe('psql')
  })

  it.each([
    ['the stream', 'select from glimpse.streams where user_id = $1 for update'],
    ['a story that is being deleted', 'delete from glimpse.stories where author_id = $1'],
  ])('because %s is held costs the others one lock timeout, once', async (_, hold) => {
    const author = `held ${randomUUID()}`
    const story = await insertStory(sql, author)
    const session = await sql.reserve()
    await session`begin`
    await session.unsafe(hold, [author])
    const free = await insertStory(sql, 'free')
    const waits: boolean[] = []
    const views = viewBatcher({
      blockedTimeoutMs: 500,
      onWrite: (rows, locks) => {
        if (rows.some(({ storyId }) => storyId === free)) waits.push(!locks.skipLocked)
      },
    })
    const blocked: Promise<unknown>[] = []
    for (const round of upTo(30)) {
      blocked.push(views.submit({ storyId: story, viewerId: `b${round}` }).catch(({ code }) => code))
      const others = upTo(10).map((n) => views.submit({ storyId: free, viewerId: `${author} ${round} ${n}` }))
      expect((await Promise.all(others)).every(({ outcome }) => outcome === 'recorded')).toBe(true)
    }
    expect(waits.filter((waited) => waited)).toHaveLength(1)
    expect(await Promise.all(blocked)).toEqual(Array(30).fill('busy'))
    await session`rollback`
    session.release()
    expect(await views.submit({ storyId: story, viewerId: 'late' })).toMatchObject({ outcome: 'recorded' })
  })

  it('has a bounded crowd, so that a locked author does not use up the places of all', async () => {
    const held = await holdStream('viral')
    const views = viewBatcher({ blockedTimeoutMs: 500, maxBlockedRows: 5, maxRows: 5 })
    const startedAt = performance.now()
    const codes = await Promise.all(
      upTo(100).map((n) =>
        views.submit({ storyId: held.story, viewerId: `v${n}` }).catch(({ code }) => code),
      ),
    )
    expect(codes).toEqual(Array(100).fill('busy'))
    expect(performance.now() - startedAt).toBeLessThan(20_000)
    await held.release()
  })

  it('is answered in bounded time though every row has its own lock, so that halving finds no end', async () => {
    const storyId = await insertStory(sql, 'same rows')
    const rows = upTo(100).map((n) => ({ storyId, viewerId: `v${n}` }))
    const session = await sql.reserve()
    await session`begin`
    await session`insert into glimpse.story_views (story_id, viewer_id)
                  select ${storyId}, v from unnest(${rows.map(({ viewerId }) => viewerId)}::text[]) v`
    const views = viewBatcher({ blockedTimeoutMs: 300 })
    const startedAt = performance.now()
    const codes = await Promise.all(rows.map((row) => views.submit(row).catch(({ code }) => code)))
    expect(codes).toEqual(Array(100).fill('busy'))
    expect(performance.now() - startedAt).toBeLessThan(20_000)
    await session`rollback`
    session.release()
  })

  it('of the whole table ends in unavailable after the statement timeout, and the writes after it go on', async () => {
    const story = await insertStory(sql, 'table lock')
    const session = await sql.reserve()
    await session`begin`
    await session`lock table glimpse.story_views in share mode`
    const views = viewBatcher({ pools: openPools(database.url, { statementTimeoutMs: 300 }) })
    expect(await views.submit({ storyId: story, viewerId: 'v1' }).catch(({ code }) => code)).toBe(
      'unavailable',
    )
    // The statement was cancelled, not left to wait on a connection that nobody gets back.
    await expect.poll(() => lockWaits()).toBe(0)
    await session`rollback`
    session.release()
    expect(await views.submit({ storyId: story, viewerId: 'v1' })).toMatchObject({ outcome: 'recorded' })
  })

  it('that is its own key is isolated too, and leaves the rest of its batch alone', async () => {
    const story = await insertStory(sql, 'own view')
    const sibling = await insertStory(sql, 'own view')
    const session = await sql.reserve()
    await session`begin`
    // The author's own view makes no event, so the author's stream is free: the row itself is held, and its story's.
    await session`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'own view')`
    const views = viewBatcher({ blockedTimeoutMs: 500 })
    const own = views.submit({ storyId: story, viewerId: 'own view' }).catch((error) => error.code)
    const same = views.submit({ storyId: story, viewerId: 'v0' }).catch((error) => error.code)
    const others = await Promise.all(
      upTo(20).map((n) => views.submit({ storyId: sibling, viewerId: `v${n}` })),
    )
    expect(others.every(({ outcome }) => outcome === 'recorded')).toBe(true)
    expect(await Promise.all([own, same])).toEqual(['busy', 'busy'])
    await session`rollback`
    expect(await views.submit({ storyId: story, viewerId: 'v0' })).toMatchObject({ outcome: 'recorded' })
    session.release()
  })

  async function lockWaits(): Promise<number> {
    const [row] = await sql<{ waits: number }[]>`
      select count(*)::int as waits from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`
    return row?.waits ?? 0
  }
})

describe('a database that is not there', () => {
  it('is unavailable to everybody, with a time to try again', async () => {
    const nowhere = openPools('postgres://nobody@127.0.0.1:9/none')
    const { views } = createBatchers(nowhere, createMetrics(), 20_000)
    const outcomes = await Promise.allSettled(
      upTo(3).map((n) => views.submit({ storyId: randomUUID(), viewerId: `v${n}` })),
    )
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ reason: { code: 'unavailable', details: { retryAfter: 1 } } })
  })
})

it('batches of several instances that hold the same rows in other orders do not deadlock', async () => {
  const stories = await Promise.all(upTo(20).map((n) => insertStory(sql, `order${n}`)))
  const instances = upTo(4).map(() => batchers().views)
  const rows = stories.flatMap((storyId) => upTo(20).map((n) => ({ storyId, viewerId: `v${n}` })))
  const before = await deadlocks()
  const results = await Promise.all(
    instances.flatMap((views, i) => {
      const turned = [...rows.slice(i * 97), ...rows.slice(0, i * 97)]
      return (i % 2 === 0 ? turned : turned.reverse()).map((row) => views.submit(row))
    }),
  )
  expect(results.filter(({ outcome }) => outcome === 'recorded')).toHaveLength(rows.length)
  expect(await deadlocks()).toBe(before)
  for (const n of upTo(20)) expect(await streamOf(`order${n}`)).toHaveLength(20)
})

async function deadlocks(): Promise<number> {
  const [row] = await sql<{ deadlocks: number }[]>`
    select deadlocks::int from pg_stat_database where datname = current_database()`
  return row?.deadlocks ?? 0
}

import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { WebSocket } from 'undici'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { createLogger } from '../src/observability/log.ts'
import { parseConnectionUrl } from '../src/postgres/connection-url.ts'
import { migrate } from '../src/store/migrate.ts'
import { grantsFor } from '../src/store/rights.ts'
import { PostgresServer } from './faults/prover/postgres-server.ts'
import { type Caller, newCallers } from './support/api.ts'
import { open } from './support/clients/index.ts'
import { type Instance, startInstance } from './support/instance.ts'
import { upTo } from './support/sql-writer.ts'

/**
 * docs/from-the-go-service.md, step by step, with a model of the old service that goes on recording views, reactions and
 * stories all the while; in test:field on a database of a realistic size.
 */
const VIEWS_BEFORE = process.env.GLIMPSE_FIELD === 'on' ? 240_000 : 3000
const AUTHORS = 50
const STORIES = 200
/** How long the writers go on between two steps, ms. */
const BETWEEN_MS = 250

let blocks: string[]
let server: PostgresServer
let owner: postgres.Sql
let oldUrl: string
let instance: Instance
beforeAll(async () => {
  const text = await readFile('docs/from-the-go-service.md', 'utf8')
  blocks = [...text.matchAll(/^```sql\n(-- run as old_service\n[\s\S]*?)^```$/gm)].map(([, sql = '']) => sql)
  expect(text.match(/^```sql$/gm)).toHaveLength(blocks.length)
  server = await PostgresServer.create({ fsync: 'off' })
  const { url, adminUrl } = await server.createDatabase()
  owner = postgres(url, { max: 2, onnotice: () => {} })
  const admin = postgres(adminUrl, { max: 1 })
  await admin`create role old_service login password 'x'`
  await admin`create schema old authorization old_service`
  await admin.end()
  oldUrl = Object.assign(new URL(url), { username: 'old_service', password: 'x' }).href
  await migrate(parseConnectionUrl(url), createLogger('silent'))
  instance = await startInstance({}, { database: { url, drop: async () => {} } })
}, 120_000)
afterAll(async () => {
  await instance?.close()
  await owner?.end()
  await server?.close()
})

/** As psql would run it; again where the page says so: it could not have its locks in time. */
async function step(nth: number): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const sql = postgres(oldUrl, { max: 1, onnotice: () => {} })
    try {
      await sql.unsafe(blocks[nth] ?? '')
      return
    } catch (error) {
      if ((error as { code?: string }).code !== '55P03' || attempt === 50) throw error
    } finally {
      await sql.end()
    }
  }
}

interface View {
  readonly key: string
  readonly startedAt: number
  readonly endedAt: number
}

/** The old service: it writes to its tables and then tells the author's socket, if there is one. */
class OldService {
  readonly sql = postgres(oldUrl, { max: 10 })
  readonly sockets = new Map<number, (key: string) => void>()

  async view(story: { id: string; author: number }, viewer: number): Promise<void> {
    await this.sql`insert into old.story_views values (${story.id}, ${viewer}, now())`
    this.sockets.get(story.author)?.(`${story.id} ${viewer}`)
  }

  react(story: string, user: number, emoji: string) {
    return this.sql`insert into old.reactions values (${story}, ${user}, ${emoji}, clock_timestamp())`
  }

  post(id: string, author: number) {
    return this
      .sql`insert into old.stories values (${id}, ${author}, ${'x'.repeat(3000)}, now(), now() + interval '1 day')`
  }

  remove(id: string) {
    return this.sql`delete from old.stories where id = ${id}`
  }
}

it('loses no view and tells none twice while the old service goes on', { timeout: 240_000 }, async () => {
  expect(blocks).toHaveLength(5)
  await step(0)
  const old = new OldService()
  onTestFinished(() => old.sql.end())
  await old.sql`insert into old.stories
    select gen_random_uuid(), n % ${AUTHORS}, 'old', now(), now() + case when n % 7 = 0 then -1 else 1 end * interval '1 day'
      from generate_series(1, ${STORIES}::int) n`
  // Some look twice, which the old tables keep.
  await old.sql`insert into old.story_views
    select id, 100000 + n - n % 10 / 9, now() - interval '1 hour'
      from old.stories, generate_series(1, ${VIEWS_BEFORE / STORIES}::int) n`
  await old.sql`insert into old.reactions select story_id, viewer_id, '👍', viewed_at from old.story_views where viewer_id % 20 = 0`
  await old.sql`create index on old.story_views (story_id)`
  await old.sql`analyze`
  const stories = await old.sql<{ id: string; author: number }[]>`
    select id, user_id::int as author from old.stories where expires_at > now()`
  await owner.unsafe(grantsFor('old_service', ['mirror', 'write', 'react']).join(';'))

  // The writers: calls go to the old service until the proxy sends them to Glimpse.
  let callsGoTo: 'old' | 'glimpse' = 'old'
  let writing = true
  let viewer = 1_000_000
  const views: View[] = []
  const readers = await newCallers(instance.url, ...upTo(8).map(String))
  const failures: unknown[] = []
  const tried = <Result>(work: PromiseLike<Result>): Promise<Result | undefined> =>
    Promise.resolve(work).catch((error) => void failures.push(error))
  const recordViews = async (nth: number) => {
    for (let n = nth; writing; n += 7) {
      const story = stories[n % stories.length] as (typeof stories)[number]
      const startedAt = performance.now()
      if (callsGoTo === 'old') {
        viewer += 1
        const by = viewer
        await tried(old.view(story, by))
        views.push({ key: `${story.id} ${by}`, startedAt, endedAt: performance.now() })
        // Looks again, sometimes by the other way.
        if (n % 5 === 0) await tried(old.view(story, by))
      } else {
        const reader = readers[nth - 1] as Caller
        const recorded = (await tried(reader.view(story.id)))?.recorded
        const key = `${story.id} ${reader.user}`
        if (recorded) views.push({ key, startedAt, endedAt: performance.now() })
        if (n % 3 === 0) await sleep(1)
      }
    }
  }
  const react = async (nth: number) => {
    for (let n = nth; writing && callsGoTo === 'old'; n += 3) {
      await tried(old.react(stories[n % stories.length]?.id ?? '', 500 + nth, ['❤️', '👍', '🔥'][n % 3] ?? ''))
    }
  }
  const postAndRemove = async () => {
    for (let n = 0; writing && callsGoTo === 'old'; n += 1) {
      const id = crypto.randomUUID()
      await tried(old.post(id, n % AUTHORS))
      if (n % 2 === 0) await tried(old.remove(id))
      await sleep(5)
    }
  }
  const writers = [...upTo(6).map(recordViews), react(1), react(2), postAndRemove()]

  // Authors who are connected to the old service, and remember what they were told.
  const authors = upTo(5)
  const heard = new Map(authors.map((author): [number, string[]] => [author, []]))
  for (const author of authors) old.sockets.set(author, (key) => heard.get(author)?.push(key))

  await sleep(BETWEEN_MS)
  await step(1)
  await sleep(BETWEEN_MS)
  await step(2)
  await sleep(BETWEEN_MS)
  const began = performance.now()
  await step(3)
  const inForce = performance.now()
  await sleep(BETWEEN_MS)

  // Step 6: the old service closes its sockets, and its clients come to Glimpse, without a cursor.
  const closedAt = performance.now()
  old.sockets.clear()
  const streams = await Promise.all(
    authors.map(async (author) =>
      open('sse', { url: instance.url, token: await instance.token(String(author)) }),
    ),
  )
  const openedAt = performance.now()
  await sleep(BETWEEN_MS)
  callsGoTo = 'glimpse'
  await sleep(BETWEEN_MS)
  writing = false
  await Promise.all(writers)
  await step(4)

  expect(failures).toEqual([])
  const carried = views.filter(({ endedAt }) => endedAt < began)
  const told = views.filter(({ startedAt }) => startedAt > inForce)
  expect(Math.min(carried.length, told.length)).toBeGreaterThan(30)

  // Every view is there, whoever recorded it.
  const missing = await old.sql`
    select from old.story_views v join old.stories s on s.id = v.story_id
     where expires_at > now()
       and not exists (select from glimpse.story_views g where g.story_id = v.story_id and g.viewer_id = v.viewer_id::text)`
  expect(missing).toHaveLength(0)
  const rows = await owner`select story_id || ' ' || viewer_id as key from glimpse.story_views`
  const stored = new Set(rows.map(({ key }) => key))
  expect(views.filter(({ key }) => !stored.has(key))).toEqual([])

  // An event for each from the moment of step 5 on, and none for any before.
  const logged = await owner<{ key: string; user: string }[]>`
    select body::json #>> '{data,story_id}' || ' ' || (body::json #>> '{data,viewer_id}') as key, user_id as user
      from glimpse.events where body like '%"story.viewed"%'`
  const inLog = new Set(logged.map(({ key }) => key))
  expect(inLog.size).toBe(logged.length)
  expect(told.filter(({ key }) => !inLog.has(key))).toEqual([])
  expect(carried.filter(({ key }) => inLog.has(key))).toEqual([])
  const known = new Set(views.map(({ key }) => key))
  expect(logged.filter(({ key }) => !known.has(key))).toEqual([])

  // What each author was told, by one service or the other: nothing twice, and all but what came while reconnecting.
  for (const [i, author] of authors.entries()) {
    const stream = streams[i] as (typeof streams)[number]
    const total = await owner`select head from glimpse.streams where user_id = ${author}::text`
    // Its cursor, because on a slow machine all of an author's events may be older than the stream.
    await expect
      .poll(() => Number(stream.cursor.split('.')[1]), { timeout: 30_000 })
      .toBe(Number(total[0]?.head))
    const byGlimpse = stream.events
      .map(({ json }) => json)
      .filter(({ type }) => type === 'story.viewed')
      .map(({ data }) => `${data.story_id} ${'viewer_id' in data ? data.viewer_id : ''}`)
    const byOld = [...new Set(heard.get(author))]
    const all = [...byOld, ...byGlimpse]
    expect(all.length).toBe(new Set(all).size)
    const ownStories = new Set(stories.filter((story) => story.author === author).map(({ id }) => id))
    const lost = views.filter(({ key }) => ownStories.has(key.split(' ')[0] ?? '') && !all.includes(key))
    for (const { key, startedAt, endedAt } of lost) {
      expect([key, endedAt >= closedAt && startedAt <= openedAt]).toEqual([key, true])
      expect(inLog.has(key)).toBe(true)
    }
  }

  // The last reaction of each, and the stories with what became of them.
  const reactions = await old.sql`
    select * from (
      select distinct on (story_id, r.user_id) story_id, r.user_id::text as user_id, emoji
        from old.reactions r join old.stories s on s.id = story_id where expires_at > now()
       order by story_id, r.user_id, r.created_at desc) o
      full join glimpse.story_reactions g using (story_id, user_id)
     where o.emoji is distinct from g.emoji`
  expect(reactions).toEqual([])
  const differing = await old.sql`
    select from (select * from old.stories where expires_at > now()) o full join glimpse.stories g using (id)
     where o.id is null or g.id is null or g.text <> left(o.content, 2000) or g.author_id <> o.user_id::text`
  expect(differing).toHaveLength(0)
})

it('keeps a client going that knows nothing but types and data', async () => {
  const single = await startInstance({ MAX_CONNECTIONS_PER_USER: '1' })
  onTestFinished(() => single.close())
  const [alice, bob] = [await single.caller('alice'), await single.caller('bob')]
  const shown: unknown[] = []
  const connect = async () => {
    const socket = new WebSocket(`${single.url.replace('http', 'ws')}/ws?token=${alice.token}`)
    onTestFinished(() => socket.close())
    const closed = new Promise<number>((resolve) => {
      socket.onclose = ({ code }) => resolve(code)
    })
    socket.onmessage = ({ data }) => {
      const { type, data: event } = JSON.parse(data)
      if (type === 'story.viewed') shown.push([event.story_id, event.viewer_id])
      if (type === 'story.reacted') shown.push([event.story_id, event.user_id, event.emoji])
    }
    await new Promise((resolve) => {
      socket.onopen = resolve
    })
    return { closed }
  }
  const first = await connect()
  await connect()
  expect(await first.closed).toBe(4500)
  const story = await alice.post()
  await bob.view(story)
  await bob.react(story, '👏')
  await expect
    .poll(() => shown)
    .toEqual([
      [story, bob.user],
      [story, bob.user, '👏'],
    ])
})

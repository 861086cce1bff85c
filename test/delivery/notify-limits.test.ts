import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { uniqueName } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

// Postgres takes at most 7,999 bytes in one NOTIFY; one byte more fails the transaction of whoever wrote.

let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance()
  sql = postgres(instance.database.url, { max: 4 })
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

/** 255 characters of 4 bytes each, different for every `n`. */
function widest(n: number): string {
  return [
    '😀'.repeat(251),
    ...[...String(n).padStart(4, '0')].map((digit) => String.fromCodePoint(0x1d7ce + Number(digit))),
  ].join('')
}

/** Both transports of `author`, and a check that they got the whole log, once and in order. */
async function listeners(author: string) {
  const token = await instance.token(author)
  const streams = [
    await open('sse', { url: instance.url, token }),
    await open('ws', { url: instance.url, token }),
  ]
  return async (count: number) => {
    const log = await readLog(sql, author)
    expect(log).toHaveLength(count)
    for (const stream of streams) {
      const events = await stream.take(count, 20_000)
      expect(events.map(({ json }) => json.seq)).toEqual(upTo(count))
      expect(events.map(({ raw, json }) => raw.replace(`"id":"${json.id}",`, ''))).toEqual(
        log.map(({ body }) => body),
      )
    }
  }
}

describe('a NOTIFY payload', () => {
  it('is never too large, however the lines of a batch add up around 7,999 bytes', async () => {
    const author = widest(0)
    const complete = await listeners(author)
    // Six events of about 1,210 bytes, and a seventh that grows by single bytes over the limit.
    for (let size = 1; size <= 128; size += 1) {
      const story = await insertStory(sql, author)
      await insertViews(sql, story, [...upTo(6).map(widest), 'x'.repeat(size)])
    }
    await complete(128 * 7)
  })

  it('is never too large where JSON doubles the bytes of a user id', async () => {
    const author = '\\'.repeat(120) + uniqueName('"')
    const complete = await listeners(author)
    for (let size = 1; size <= 128; size += 1) {
      const story = await insertStory(sql, author)
      await insertViews(sql, story, [...upTo(12).map((n) => `${'"\\'.repeat(60)}${n}`), '\\'.repeat(size)])
    }
    await complete(128 * 13)
  })

  it('is never too large, whatever number of equal lines fills one', async () => {
    const author = uniqueName('author')
    const complete = await listeners(author)
    const sizes = upTo(128).slice(1)
    for (const size of sizes) {
      const story = await insertStory(sql, author)
      await insertViews(
        sql,
        story,
        upTo(60).map((n) => String(n).padStart(size, '0')),
      )
    }
    await complete(sizes.length * 60)
  })

  it('carries hundreds of events written by one statement', async () => {
    const author = uniqueName('author')
    const complete = await listeners(author)
    const story = await insertStory(sql, author)
    await insertViews(sql, story, upTo(700).map(widest))
    await complete(700)
  })

  it('carries one statement for many authors', async () => {
    const authors = upTo(40).map((n) => uniqueName(n % 2 === 0 ? `author-${'é'.repeat(n)}` : 'author'))
    const checks = await Promise.all(authors.map(listeners))
    const stories = await Promise.all(authors.map((author) => insertStory(sql, author)))
    await sql`insert into glimpse.story_views (story_id, viewer_id)
              select story, 'viewer ' || n from unnest(${stories}::uuid[]) as story, generate_series(1, 25) as n`
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji)
              select story, 'viewer ' || n, '❤️' from unnest(${stories}::uuid[]) as story, generate_series(1, 5) as n`
    for (const complete of checks) await complete(30)
  })

  it.each([
    3_300, 3_500, 3_800, 7_600, 7_999, 8_000, 20_000,
  ])('that an event of about %i bytes does not fit stays a hint, and the log delivers it in its turn', async (bytes) => {
    const author = uniqueName('author')
    const complete = await listeners(author)
    const story = await insertStory(sql, author)
    for (let step = 0; step < 8; step += 1) {
      const data = {
        story_id: story,
        viewer_id: '😀'.repeat(Math.floor(bytes / 4)) + 'x'.repeat(step),
        viewed_at: '',
      }
      await sql`select glimpse.append(
          row(${author}::text, 'story.viewed', ${sql.json({ ...data, viewer_id: 'small' })}::json, now())::glimpse.new_event,
          row(${author}::text, 'story.viewed', ${sql.json(data)}::json, now())::glimpse.new_event,
          row(${author}::text, 'story.viewed', ${sql.json(data)}::json, now())::glimpse.new_event)`
    }
    await complete(24)
  })
})

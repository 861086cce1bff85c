import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openEventSource } from '../support/clients/event-source.ts'
import { closing, open } from '../support/clients/index.ts'
import { createDatabase } from '../support/database.ts'
import { spawnInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

/** A database, and a way to run an instance on it in a process of its own, always on the same port. */
async function restartable(environment: Record<string, string> = {}) {
  const database = await createDatabase()
  const sql = postgres(database.url, { max: 1 })
  let running = await spawnInstance({ DATABASE_URL: database.url, ...environment })
  onTestFinished(async () => {
    await running.kill('SIGKILL')
    await sql.end()
    await database.drop()
  })
  const { url } = running
  return {
    url,
    sql,
    stop: (signal: NodeJS.Signals) => running.kill(signal),
    async start() {
      running = await spawnInstance({ DATABASE_URL: database.url, PORT: new URL(url).port, ...environment })
    },
  }
}

describe.each([
  'undici EventSource',
  'eventsource',
] as const)('%s, with nothing but its own reconnect', (kind) => {
  it.each([
    'SIGKILL',
    'SIGTERM',
  ] as const)('resumes after the instance is ended by %s under it and started again', async (signal) => {
    const { url, sql, stop, start } = await restartable({ DRAIN_TIMEOUT_MS: '200' })
    const token = await signToken('author')
    const story = await insertStory(sql, 'author')
    const source = await closing(openEventSource(kind, { url, token }))
    await insertViews(sql, story, ['before'])
    await source.take(1)
    await stop(signal)
    await insertViews(sql, story, ['while it was gone'])
    await start()
    await source.next('stream.open')
    await insertViews(sql, story, ['after'])
    await source.take(2)
    expect(source.events.map(({ json }) => [json.seq, Object.values(json.data)[1]])).toEqual([
      [1, 'before'],
      [2, 'while it was gone'],
      [3, 'after'],
    ])
    expect(source.messages.some(({ json }) => json.type === 'stream.reset')).toBe(false)
  })

  it('resumes from stream.open alone, where it had seen no event yet', async () => {
    const { url, sql, stop, start } = await restartable()
    const source = await closing(openEventSource(kind, { url, token: await signToken('author') }))
    await source.next('stream.open')
    await stop('SIGKILL')
    await insertViews(sql, await insertStory(sql, 'author'), ['missed'])
    await start()
    const [event] = await source.take(1)
    expect(event?.json).toMatchObject({ seq: 1, data: { viewer_id: 'missed' } })
  })
})

describe('what was acknowledged', () => {
  it('survives kill -9 of the instance at any point', async () => {
    const { url, sql, stop, start } = await restartable()
    const story = await insertStory(sql, 'author')
    const acknowledged: string[] = []
    const visitors = await Promise.all(
      upTo(200).map(async (n) => ({ user: `visitor ${n}`, token: await signToken(`visitor ${n}`) })),
    )
    // Settled, not all: those in flight at the kill fail, as they should.
    const writes = Promise.allSettled(
      visitors.map(async ({ user, token }, i) => {
        await new Promise((resolve) => setTimeout(resolve, i))
        const reply = await fetch(`${url}/stories/${story}/view`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
        })
        if (reply.status === 200) acknowledged.push(user)
      }),
    )
    await expect.poll(() => acknowledged.length, { interval: 1 }).toBeGreaterThan(20)
    await stop('SIGKILL')
    await writes
    await start()
    const stream = await open('ws', { url, token: await signToken('author'), lastEventId: '0' })
    const [row] = await sql`select head from glimpse.streams where user_id = 'author'`
    const events = await stream.take(Number(row?.head))
    expect(events.map(({ json }) => json.seq)).toEqual(upTo(events.length))
    const delivered = events.map(({ json }) => (json.type === 'story.viewed' ? json.data.viewer_id : ''))
    expect(delivered).toEqual(expect.arrayContaining(acknowledged))
    expect(new Set(delivered).size).toBe(delivered.length)
  })
})

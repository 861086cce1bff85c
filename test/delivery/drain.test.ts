import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Caller, call, newCallers } from '../support/api.ts'
import { closing, open } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { createDatabase } from '../support/database.ts'
import { spawnInstance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

async function spawned(environment: Record<string, string> = {}) {
  const database = await createDatabase()
  const sql = postgres(database.url, { max: 3 })
  const main = await spawnInstance({ DATABASE_URL: database.url, DRAIN_TIMEOUT_MS: '500', ...environment })
  onTestFinished(async () => {
    await main.kill('SIGKILL')
    await sql.end({ timeout: 1 })
    await database.drop()
  })
  return { main, sql, url: main.url, database }
}

describe('SIGTERM', () => {
  it('tells every open stream, ends it, and exits 0', async () => {
    const { main, url, sql } = await spawned()
    const token = await signToken('author')
    const sse = await closing(openSse({ url, token }))
    const ws = await closing(openWebSocket({ url, token }))
    await insertViews(sql, await insertStory(sql, 'author'), ['viewer'])
    await Promise.all([sse.take(1), ws.take(1)])
    const ended = main.kill('SIGTERM')
    for (const stream of [sse, ws]) {
      const { json } = await stream.next('stream.close')
      expect(json.data).toEqual({ reason: 'draining', reconnect: true, retry_ms: expect.any(Number) })
      expect(stream.messages.at(-1)?.json.type).toBe('stream.close')
    }
    expect((await ws.closed).code).toBe(1001)
    await sse.closed
    expect(await ended).toEqual({ code: 0, signal: null })
  })

  it('spreads the ends of many streams over the drain time', async () => {
    const { main, url } = await spawned({ DRAIN_TIMEOUT_MS: '400', MAX_CONNECTIONS_PER_USER: '200' })
    const token = await signToken('author')
    const streams = await Promise.all(
      Array.from({ length: 200 }, (_, i) => open(i % 2 === 0 ? 'sse' : 'ws', { url, token })),
    )
    const ends = streams.map((stream) => stream.closed.then(() => performance.now()))
    const ended = main.kill('SIGTERM')
    const times = (await Promise.all(ends)).sort((a, b) => a - b)
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(150)
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeLessThan(3_000)
    expect(await ended).toEqual({ code: 0, signal: null })
  })

  it('exits 0 at once where nobody is connected', async () => {
    const { main } = await spawned({ DRAIN_TIMEOUT_MS: '60000' })
    expect(await main.kill('SIGTERM')).toEqual({ code: 0, signal: null })
  })

  it('answers the writes in flight', async () => {
    const { main, url, sql } = await spawned({ DRAIN_TIMEOUT_MS: '5000' })
    const story = await insertStory(sql, 'author')
    await insertViews(sql, story, ['the first'])
    const stream = await closing(openSse({ url, token: await signToken('author') }))
    const held = await sql.reserve()
    await held`begin`
    await held`select 1 from glimpse.streams where user_id = 'author' for update`
    const bob = new Caller(url, 'bob', await signToken('bob'))
    const write = bob.call('POST', `/stories/${story}/view`)
    const waiting = () =>
      sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(async () => (await waiting()).length, { interval: 5 }).toBeGreaterThan(0)
    const ended = main.kill('SIGTERM')
    await stream.next('stream.close')
    await held`commit`
    held.release()
    expect(await write).toMatchObject({ status: 200, json: { recorded: true } })
    expect(await ended).toEqual({ code: 0, signal: null })
    const [row] = await sql`select count(*) from glimpse.story_views where story_id = ${story}`
    expect(Number(row?.count)).toBe(2)
  })
})

describe('a stop', () => {
  it('is over in its time though a statement of the instance waits for somebody else', async () => {
    const { sql, database } = await spawned()
    const story = await insertStory(sql, 'author')
    const main = await spawnInstance({ DATABASE_URL: database.url, DRAIN_TIMEOUT_MS: '500' })
    onTestFinished(() => void main.kill('SIGKILL'))
    await insertViews(sql, story, ['the first'])
    const held = await sql.reserve()
    await held`begin`
    await held`select 1 from glimpse.streams where user_id = 'author' for update`
    const token = await signToken('viewer')
    // A view waits for the stream that is held.
    call(main.url, `/stories/${story}/view`, { method: 'POST', token }).catch(() => {})
    const waiting = () =>
      sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(async () => (await waiting()).length, { interval: 5 }).toBeGreaterThan(0)
    expect(await main.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    await held`rollback`
    held.release()
  })
})

describe('while it drains, an instance', () => {
  it('is not ready, alive, and takes no new connections', async () => {
    const instance = await startInstance({ DRAIN_TIMEOUT_MS: '60000' })
    onTestFinished(() => instance.close())
    const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
    await Promise.all([open('sse', alice), open('ws', bob), open('ws', bob)])
    void instance.drain()
    // A load balancer that still sends requests here must hear it as HTTP, or find the port closed.
    const ask = (path: string) =>
      call(instance.url, path, { token: alice.token, headers: { connection: 'close' } }).catch(
        () => undefined,
      )
    const ready = await ask('/readyz')
    if (ready !== undefined) expect(ready.status).toBe(503)
    for (const path of ['/events?token=x', '/events']) {
      const reply = await ask(path)
      if (reply === undefined) continue
      expect(reply.status).toBe(503)
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
      expect(reply.json.type).toBe('urn:glimpse:problem:draining')
    }
    await expect(openWebSocket(alice)).rejects.toThrow()
  })
})

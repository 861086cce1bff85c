import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { CONNECTIONS } from '../../src/postgres/database.ts'
import { call, newCallers } from '../support/api.ts'
import { closing, open } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { parseSamples, scrape } from '../support/metrics.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'

let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance({ OUTBOX_MAX_BYTES: '4096', MAX_CONNECTIONS_PER_USER: '2' })
  sql = postgres(instance.database.url, { max: 2 })
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

/** What a sample has become since now; polled, because a stream's end is seen a moment later. */
async function since(name: string): Promise<() => Promise<number>> {
  const value = async () => (await scrape(instance.url)).get(name) ?? 0
  const before = await value()
  return async () => (await value()) - before
}

const poll = (read: () => Promise<number>) => expect.poll(read)

describe('/metrics', () => {
  it('is what promtool accepts', async ({ skip }) => {
    skip(spawnSync('promtool', ['--version']).status !== 0, 'promtool is not installed')
    const { text } = await call(instance.url, '/metrics')
    // What Node's own metrics are called is the library's choice.
    const ours = text.replace(/^.*(nodejs|process)_.*\n/gm, '')
    const { status, stderr, stdout } = spawnSync('promtool', ['check', 'metrics'], {
      input: ours,
      encoding: 'utf8',
    })
    expect(`${stdout}${stderr}`).toBe('')
    expect(status).toBe(0)
  })

  it('says what runs, what its pools are at, and when it last cleaned', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
    await poll(async () => {
      const age =
        Date.now() / 1000 - ((await scrape(instance.url)).get('glimpse_cleaned_timestamp_seconds') ?? 0)
      return -age
    }).toBeGreaterThan(-120)
    const samples = await scrape(instance.url)
    expect(samples.get(`glimpse_build_info{version="${version}",node="${process.versions.node}"}`)).toBe(1)
    const { listen: _, ...pooled } = CONNECTIONS
    for (const [pool, most] of Object.entries(pooled)) {
      expect(samples.get(`glimpse_pool_connections_max{pool="${pool}"}`), pool).toBe(most)
      for (const state of ['busy', 'idle', 'opening'])
        expect(
          samples.get(`glimpse_pool_connections{pool="${pool}",state="${state}"}`),
          pool,
        ).toBeLessThanOrEqual(most)
    }
    expect(samples.get('glimpse_pool_connections{pool="clean",state="idle"}')).toBe(1)
  })

  it('counts what it refuses by the code, those streams included that are answered 200', async () => {
    const unknown = await since('glimpse_problems_total{code="not_found"}')
    const unauthorized = await since('glimpse_problems_total{code="unauthorized"}')
    await call(instance.url, '/nowhere')
    await call(instance.url, '/events', { headers: { accept: 'text/event-stream' } })
    expect([await unknown(), await unauthorized()]).toEqual([1, 1])
  })

  it('counts what is delivered as it happens, and how long that took from the commit', async () => {
    const sent = await since('glimpse_events_sent_total{source="bus"}')
    const measured = await since('glimpse_delivery_seconds_count')
    const seconds = await since('glimpse_delivery_seconds_sum')
    // The first canary pays for its connection, so its reading of the clock is a rough one.
    await poll(await since('glimpse_bus_round_trip_seconds_count')).toBeGreaterThan(1)
    const { user, token } = await instance.caller('author')
    const story = await insertStory(sql, user)
    const streams = [
      await open('sse', { url: instance.url, token }),
      await open('ws', { url: instance.url, token }),
    ]
    await insertViews(sql, story, ['one', 'two', 'three'])
    await Promise.all(streams.map((stream) => stream.take(3)))
    expect(await sent()).toBe(6)
    expect(await measured()).toBe(1)
    expect(await seconds()).toBeGreaterThan(0)
    expect(await seconds()).toBeLessThan(5)
    const offset = (await scrape(instance.url)).get('glimpse_database_clock_offset_seconds') ?? Number.NaN
    expect(Math.abs(offset)).toBeLessThan(1)
  })

  it('shows who is behind and what waits to be sent, and counts what is caught up', async () => {
    const [pages, caughtUp] = [
      await since('glimpse_catch_up_pages_total'),
      await since('glimpse_events_sent_total{source="log"}'),
    ]
    const { user, token } = await instance.caller('author')
    const stream = await closing(openSse({ url: instance.url, token }))
    stream.pause()
    const story = await insertStory(sql, user)
    const count = 40_000
    for (let n = 0; n < count; n += 2000)
      await insertViews(
        sql,
        story,
        upTo(2000).map((i) => `viewer ${n + i} ${'.'.repeat(80)}`),
      )
    const behind = async () =>
      (await scrape(instance.url)).get('glimpse_connections_behind{transport="sse"}') ?? -1
    await poll(behind).toBe(1)
    expect((await scrape(instance.url)).get('glimpse_outbox_bytes')).toBeGreaterThan(4096)
    stream.resume()
    await stream.take(count, 25_000)
    await poll(behind).toBe(0)
    await poll(async () => (await scrape(instance.url)).get('glimpse_outbox_bytes') ?? -1).toBe(0)
    expect(await caughtUp()).toBeGreaterThan(0)
    expect(await pages()).toBeGreaterThan(0)
  })

  it.each(['sse', 'websocket'] as const)('counts streams, and why they ended: %s', async (name) => {
    const transport = name === 'sse' ? 'sse' : 'ws'
    const closed = (reason: string) =>
      since(`glimpse_connections_closed_total{transport="${name}",reason="${reason}"}`)
    const opened = await since(`glimpse_connections_opened_total{transport="${name}"}`)
    const openNow = await since(`glimpse_connections{transport="${name}"}`)
    const users = await since('glimpse_users')
    const [gone, replaced, expired] = [
      await closed('gone'),
      await closed('replaced'),
      await closed('token_expired'),
    ]
    const { user, token } = await instance.caller('author')
    const first = await open(transport, { url: instance.url, token })
    await open(transport, { url: instance.url, token })
    const brief = await instance.token(user, { expiresIn: 2 })
    const third = await open(transport, { url: instance.url, token: brief })
    await first.closed
    expect([await opened(), await openNow(), await users()]).toEqual([3, 2, 1])
    expect(await replaced()).toBe(1)
    await third.closed
    expect(await expired()).toBe(1)
    const fourth = await open(transport, { url: instance.url, token })
    fourth.close()
    await poll(gone).toBe(1)
    expect(await openNow()).toBe(1)
  })

  it('counts resets by their reason', async () => {
    const resets = await since('glimpse_stream_resets_total{reason="invalid"}')
    const { token } = await instance.caller('author')
    const stream = await open('sse', { url: instance.url, token, lastEventId: 'no cursor' })
    await stream.next('stream.reset')
    expect(await resets()).toBe(1)
  })

  it('counts requests that failed for no reason of theirs', async () => {
    const failures = await since('glimpse_request_failures_total')
    await sql`alter table glimpse.stories add constraint unforeseen check (text <> 'unforeseen')`
    onTestFinished(async () => void (await sql`alter table glimpse.stories drop constraint unforeseen`))
    const caller = await instance.caller('author')
    expect((await caller.call('POST', '/stories', { text: 'unforeseen' })).status).toBe(500)
    expect((await caller.call('POST', '/stories', { text: 5 })).status).toBe(400)
    expect(await failures()).toBe(1)
  })

  it('measures the statements of writers, and how many rows share one', async () => {
    const [author, ...viewers] = await newCallers(instance.url, 'author', ...upTo(20).map(() => 'viewer'))
    const story = await author?.post()
    const rows = await since('glimpse_write_batch_rows_sum{kind="view"}')
    const statements = await since('glimpse_write_batch_rows_count{kind="view"}')
    const timed = await since('glimpse_write_batch_seconds_count{kind="view"}')
    await Promise.all(viewers.map((viewer) => viewer.view(story ?? '')))
    expect(await rows()).toBe(20)
    expect(await timed()).toBe(await statements())
    expect(await statements()).toBeLessThan(20)
    const waiting = await scrape(instance.url)
    for (const sample of ['glimpse_writes_waiting{kind="view"}', 'glimpse_log_reads_waiting{kind="page"}'])
      expect(waiting.get(sample)).toBe(0)
  })

  it('says when an instance is no longer ready', async () => {
    const other = await startInstance({ DRAIN_TIMEOUT_MS: '60000' }, { database: instance.database })
    onTestFinished(() => other.close())
    const caller = await other.caller('author')
    await Promise.all([open('sse', caller), open('sse', caller), open('sse', caller), open('sse', caller)])
    expect((await scrape(other.url)).get('glimpse_ready')).toBe(1)
    // A request that has begun is still answered.
    const request = connect(Number(new URL(other.url).port), '127.0.0.1')
    request.write('GET /metrics HTTP/1.1\r\nHost: glimpse\r\n')
    await scrape(other.url)
    void other.drain()
    request.write('\r\n')
    expect(parseSamples(await text(request)).get('glimpse_ready')).toBe(0)
  })
})

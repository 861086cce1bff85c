import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Follower } from '../deployment/follower.ts'
import { type Caller, call, newCallers } from '../support/api.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts'
import { type MainProcess, spawnInstance } from '../support/instance.ts'
import { insertViews, upTo } from '../support/sql-writer.ts'
import { buildVersion01, hasVersion01, type OldVersion } from '../support/version-01.ts'

// Instances are started and replaced one after the other.
vi.setConfig({ testTimeout: 120_000 })

type Version = '0.1' | 'this'
type Running = MainProcess & { readonly url: string }

let old: OldVersion
let database: TestDatabase
let sql: postgres.Sql
beforeAll(() => {
  if (hasVersion01()) old = buildVersion01()
})
afterAll(() => old?.remove())
beforeEach(async ({ skip }) => {
  skip(!hasVersion01(), 'this checkout has no history to build version 0.1 from')
  database = await createEmptyDatabase()
  sql = postgres(database.url, { max: 2, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await database.drop()
  })
})

/** An instance on the test's database, which it migrates as it starts. */
async function start(version: Version): Promise<Running> {
  const environment = {
    DATABASE_URL: database.url,
    DRAIN_TIMEOUT_MS: '1000',
    MAX_CONNECTIONS_PER_USER: '50',
  }
  const instance = await spawnInstance(environment, version === '0.1' ? { root: old.root } : {})
  onTestFinished(() => void instance.kill('SIGKILL'))
  return instance
}

async function stop(instance: Running): Promise<void> {
  expect(await instance.kill('SIGTERM')).toEqual({ code: 0, signal: null })
}

async function people(url: string): Promise<[Caller, Caller]> {
  return (await newCallers(url, 'alice', 'bob')) as [Caller, Caller]
}

/** A cursor as 0.1 gives it. */
function withoutCheck(cursor: string): string {
  return cursor.split('.').slice(0, 2).join('.')
}

/** How many events the poll calls unread. */
async function unread({ url, token }: Caller): Promise<number> {
  const headers = { accept: 'application/json' }
  return (await call<{ unread: number }>(url, '/events?after=0', { token, headers })).json.unread
}

it('what 0.1 has kept is there afterwards, and its clients go on from their cursors', async () => {
  const before = await start('0.1')
  const [alice, bob] = await people(before.url)
  const story = await alice.post({ text: 'from before' })
  await bob.view(story)
  await bob.react(story, '❤️')
  await insertViews(
    sql,
    story,
    upTo(2000).map((n) => `viewer ${n}`),
  )
  const streams = await Promise.all(
    STREAMING.map((transport) => open(transport, { ...alice, lastEventId: '0' })),
  )
  for (const stream of streams) await stream.take(2002)
  const cursors = streams.map(({ cursor }) => cursor)
  for (const stream of streams) stream.close()
  const middle = streams[0]?.events[999]?.json.id ?? ''
  expect((await alice.call('PUT', '/me/read', { cursor: middle })).status).toBe(200)
  const { ticket } = (await alice.call<{ ticket: string }>('POST', '/tickets')).json
  await stop(before)

  const after = await start('this')
  const her = alice.at(after.url)
  expect(await unread(her)).toBe(1002)
  await expect
    .poll(() => her.story(story), { timeout: 20_000 })
    .toMatchObject({ text: 'from before', views: 2001, reactions: { '❤️': 1 } })
  // A view and a reaction of before are no new ones.
  const him = bob.at(after.url)
  expect((await him.view(story)).recorded).toBe(false)
  expect((await him.react(story, '❤️')).recorded).toBe(false)
  await him.react(story, '🔥')
  for (const [i, transport] of STREAMING.entries()) {
    const stream = await open(transport, { ...her, lastEventId: cursors[i] ?? '' })
    expect((await stream.next('stream.open')).json.data.resumed).toBe(true)
    await stream.take(1)
    expect(stream.seqs).toEqual([2003])
  }
  const withTicket = await fetch(`${after.url}/events?ticket=${ticket}`, {
    headers: { accept: 'text/event-stream' },
  })
  expect(withTicket.status).toBe(200)
  await withTicket.body?.cancel()
  await stop(after)
})

it('under load, one instance after the other: each event reaches each client once, and each write is answered', async () => {
  const VIEWS = 400
  const FOLLOWERS = 12
  const instances = [await start('0.1'), await start('0.1')]
  const places = instances.map(({ url }) => url)
  const [alice] = await people(places[0] ?? '')
  const story = await alice.post()
  let turn = 0
  const anywhere = () => places[turn++ % places.length] ?? ''
  const front = {
    token: alice.token,
    get url() {
      return anywhere()
    },
  }
  const followers = await Promise.all(
    upTo(FOLLOWERS).map((n) => new Follower().start(n % 2 === 0 ? 'sse' : 'ws', front, VIEWS)),
  )
  onTestFinished(() => followers.forEach((follower) => void follower.stop()))

  const viewers = await newCallers(places[0] ?? '', ...upTo(VIEWS).map(() => 'viewer'))
  let written = 0
  let replaced = false
  /** As a client does: what passes by itself is tried again. */
  const write = async () => {
    for (let viewer = viewers.pop(); viewer !== undefined; viewer = viewers.pop()) {
      // The last hundred come after the last instance was replaced, so that the load lasts for all of it.
      while (!replaced && viewers.length < 100) await sleep(5)
      for (;;) {
        const sent = viewer.at(anywhere()).call('POST', `/stories/${story}/view`)
        // Chosen just before it stopped, an instance may be gone. A view that is sent again is no second one.
        const { status, text } = await sent.catch((error) => ({ status: 503, text: String(error) }))
        if (status === 200) break
        expect(status, text).toBe(503)
        await sleep(100)
      }
      written += 1
      await sleep(20)
    }
  }
  const writers = upTo(4).map(write)

  for (const [i, instance] of instances.entries()) {
    const next = await start('this')
    places[i] = next.url
    await stop(instance)
    instances[i] = next
  }
  replaced = true
  await Promise.all(writers)
  expect(written).toBe(VIEWS)
  await Promise.all(followers.map(({ done }) => done))
  for (const { seqs, resets } of followers) {
    expect(seqs).toEqual(upTo(VIEWS))
    expect(resets).toBe(0)
  }
  const moved = followers.flatMap(({ endings }) => endings)
  expect(moved.length).toBeGreaterThanOrEqual(FOLLOWERS)
  expect(new Set(moved)).toEqual(new Set(['draining']))
  expect((await alice.at(places[0] ?? '').story(story)).views).toBe(VIEWS)
  await Promise.all(instances.map(stop))
})

describe('beside each other', () => {
  it('what is done at one counts at the other', async () => {
    // In the order of a rollout: the new one migrates.
    const [before, after] = [await start('0.1'), await start('this')]
    for (const [here, there] of [
      [before, after],
      [after, before],
    ] as const) {
      const [alice, bob] = await people(here.url)
      const [her, him] = [alice.at(there.url), bob.at(there.url)]
      const story = await alice.post()
      const stream = await open('sse', her)
      await bob.view(story)
      for (const emoji of ['❤️', '🔥']) await bob.react(story, emoji)
      await bob.unreact(story)
      await bob.react(story, '🎉')
      await stream.take(4)
      expect(stream.seqs).toEqual(upTo(4))
      expect(await her.story(story)).toMatchObject({ views: 1, reactions: { '🎉': 1 } })
      expect((await him.view(story)).recorded).toBe(false)

      expect((await alice.call('PUT', '/me/read', { cursor: withoutCheck(stream.cursor) })).status).toBe(200)
      await bob.react(story, '👀')
      expect(await unread(her)).toBe(1)

      const { json } = await alice.call<{ connections: { id: string }[] }>('GET', '/me/connections')
      for (const { id } of json.connections)
        expect((await alice.call('DELETE', `/me/connections/${id}`)).status).toBe(204)
      expect((await stream.next('stream.close')).json.data.reason).toBe('closed')

      expect((await alice.call('DELETE', `/stories/${story}`)).status).toBe(204)
      // Where the other one removes in portions, 0.1 sees an expired story for a moment.
      expect([404, 410]).toContain((await her.call('GET', `/stories/${story}`)).status)
    }
  })

  it('0.1 starts on this schema; a client that goes back to it is reset and told so, unless it leaves the check out', async () => {
    const after = await start('this')
    const before = await start('0.1')
    const [alice, bob] = await people(after.url)
    const story = await alice.post()
    const stream = await open('sse', alice)
    await bob.view(story)
    await stream.take(1)
    stream.close()
    await bob.react(story, '❤️')
    const back = alice.at(before.url)
    const reset = await open('sse', { ...back, lastEventId: stream.cursor })
    expect((await reset.next('stream.reset')).json.data.reason).toBe('invalid')
    const resumed = await open('sse', { ...back, lastEventId: withoutCheck(stream.cursor) })
    await resumed.take(1)
    expect(resumed.seqs).toEqual([2])
  })
})

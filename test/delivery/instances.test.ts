import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { open, TRANSPORTS } from '../support/clients/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertReaction, insertStory, insertViews, upTo } from '../support/sql-writer.ts'

describe.each([2, 3])('%i instances on one Postgres', (count) => {
  let database: TestDatabase
  let instances: Instance[]
  let sql: postgres.Sql
  beforeAll(async () => {
    database = await createDatabase()
    sql = postgres(database.url, { max: 2 })
    // A stream over each transport at each instance.
    const variables = { MAX_CONNECTIONS_PER_USER: '50' }
    instances = await Promise.all(Array.from({ length: count }, () => startInstance(variables, { database })))
  })
  afterAll(async () => {
    await sql.end()
    await Promise.all(instances.map((instance) => instance.close()))
    await database.drop()
  })

  const urls = () => instances.map(({ url }) => url)

  async function people() {
    return (await newCallers(urls()[0] ?? '', 'alice', 'bob')) as [Caller, Caller]
  }

  it('deliver what is written at any of them, and by plain SQL, on every transport of all', async () => {
    const [alice, bob] = await people()
    const streams = await Promise.all(
      urls().flatMap((url) => TRANSPORTS.map((transport) => open(transport, alice.at(url)))),
    )
    const story = await alice.post()
    const emoji = ['❤️', '🔥', '👍', '😂', '😮', '🎉']
    for (const [i, url] of urls().entries()) await bob.at(url).react(story, emoji[i] ?? '')
    await insertViews(sql, story, ['carol'])
    await insertReaction(sql, story, 'carol', '👀')
    await sql`update glimpse.story_reactions set emoji = '🙈' where story_id = ${story} and user_id = 'carol'`
    await sql`update glimpse.story_reactions set emoji = emoji where story_id = ${story}`
    await bob.view(story)

    const total = count + 4
    const texts = await Promise.all(
      streams.map(async (stream) => (await stream.take(total)).map(({ raw }) => raw)),
    )
    for (const text of texts) expect(text).toEqual(texts[0])
    expect(texts[0]?.map((raw) => JSON.parse(raw).seq)).toEqual(upTo(total))
    expect(texts[0]?.slice(count).map((raw) => Object.values(JSON.parse(raw).data)[1])).toEqual([
      'carol',
      'carol',
      'carol',
      bob.user,
    ])
  })

  it('deliver to an author whom no instance had heard of when the event was written', async () => {
    const [alice] = await people()
    await insertViews(sql, await insertStory(sql, alice.user), ['early'])
    for (const url of urls()) {
      const stream = await open('sse', { url, token: alice.token, lastEventId: '0' })
      expect((await stream.take(1))[0]?.json).toMatchObject({ seq: 1, data: { viewer_id: 'early' } })
    }
  })

  it('let a client go from one to the next with its cursor', async () => {
    const [alice, bob] = await people()
    const story = await alice.post()
    const seqs: number[] = []
    let lastEventId = '0'
    for (const [i, emoji] of ['❤️', '🔥', '👍', '😂', '😮', '🎉'].entries()) {
      const url = urls()[i % count] ?? ''
      await bob.react(story, emoji)
      const stream = await open(i % 2 === 0 ? 'sse' : 'ws', { url, token: alice.token, lastEventId })
      seqs.push(...(await stream.take(1)).map(({ json }) => json.seq))
      lastEventId = stream.cursor
      stream.cut()
    }
    expect(seqs).toEqual(upTo(6))
  })

  it('commits and rollbacks: an event exists once its transaction is committed, and never before', async () => {
    const [alice] = await people()
    const streams = await Promise.all(urls().map((url) => open('ws', alice.at(url))))
    const story = await insertStory(sql, alice.user)
    await sql
      .begin(async (tx) => {
        await tx`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'rolled back')`
        throw new Error('rollback')
      })
      .catch(() => {})
    await sql.begin(async (tx) => {
      await tx`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'first')`
      await tx`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'second')`
      expect(streams.map(({ seqs }) => seqs)).toEqual(urls().map(() => []))
    })
    for (const stream of streams) {
      const events = await stream.take(2)
      expect(events.map(({ json }) => [json.seq, Object.values(json.data)[1]])).toEqual([
        [1, 'first'],
        [2, 'second'],
      ])
    }
  })
})

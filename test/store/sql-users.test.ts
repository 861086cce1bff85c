import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { open } from '../support/clients/index.ts'
import { createDatabase } from '../support/database.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

let instances: Instance[]
let sql: postgres.Sql
beforeAll(async () => {
  const first = await startInstance()
  instances = [first, await startInstance({}, { database: first.database })]
  sql = postgres(first.database.url, { max: 2, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end()
  for (const instance of instances.reverse()) await instance.close()
})
beforeEach(async () => {
  await sql`truncate glimpse.stories, glimpse.events, glimpse.streams cascade`
})

async function listen(user: string, nth = 0, after?: string) {
  const instance = instances[nth]
  if (instance === undefined) throw new Error('no such instance')
  return open('sse', {
    url: instance.url,
    token: await instance.token(user),
    ...(after === undefined ? {} : { lastEventId: after }),
  })
}

const online = async (...users: string[]) =>
  (await sql<{ online: string }[]>`select glimpse.online(${users}) as online`).map((row) => row.online).sort()

describe('glimpse.online and glimpse.disconnect', () => {
  it('know and end connections on all instances, and those of nobody else', async () => {
    const bobs = [await listen('bob'), await listen('bob', 1)]
    await listen('carol', 1)
    await expect.poll(() => sql`select from glimpse.connections`).toHaveLength(3)
    expect(await online('bob', 'carol', 'dave')).toEqual(['bob', 'carol'])

    const start = performance.now()
    const [row] = await sql`select glimpse.disconnect('bob') as ended`
    expect(row).toEqual({ ended: 2 })
    expect(await online('bob', 'carol')).toEqual(['carol'])
    for (const bob of bobs)
      expect((await bob.next('stream.close')).json.data).toMatchObject({ reason: 'closed', reconnect: false })
    expect(performance.now() - start).toBeLessThan(1000)
    expect(await sql`select glimpse.disconnect('bob') as ended`).toEqual([{ ended: 0 }])
  })

  it('pass over an instance that is dead', async () => {
    await sql`insert into glimpse.instances values ('dead', now() - interval '7 seconds')`
    await sql`insert into glimpse.connections values (gen_random_uuid(), 'erin', 'dead', 'sse', now())`
    expect(await online('erin')).toEqual([])
    expect(await sql`select glimpse.disconnect('erin') as ended`).toEqual([{ ended: 0 }])
  })
})

/** Of every table of the schema, how many rows say this anywhere; those that have none are left out. */
async function tracesOf(text: string): Promise<Record<string, number>> {
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'glimpse'::regnamespace and relkind in ('r', 'm', 'p')`
  const found: Record<string, number> = {}
  for (const { name } of tables) {
    const [row] = await sql<{ total: number }[]>`
      select count(*)::int as total from glimpse.${sql(name)} t where strpos(t::text, ${text}) > 0`
    if (row !== undefined && row.total > 0) found[name] = row.total
  }
  return found
}

const BOB = 'bøb-of-the-test'
const ESCAPED = 'b\\u00f8b-of-the-test'

async function makeTraces(count: number): Promise<string> {
  const story = await insertStory(sql, 'alice')
  const others = await insertStory(sql, 'carol')
  const own = await insertStory(sql, BOB)
  await insertViews(sql, story, ['dave', BOB, 'erin'])
  await insertViews(sql, others, [BOB, ...upTo(count).map((n) => `fan ${n}`)])
  await insertViews(
    sql,
    own,
    upTo(count).map((n) => `fan ${n}`),
  )
  for (const author of [story, own])
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) values (${author}, ${BOB}, '👏'), (${author}, 'erin', '👏')`
  for (const name of [JSON.stringify(BOB), `"${ESCAPED}"`])
    await sql`select glimpse.append(('alice', 'comment.added', ${`{"b": 1.50, "user_id" : ${name}, "text":"a\\\\b"}`}::text::json, now())::glimpse.new_event)`
  await sql`update glimpse.streams set read = 1, read_at_seq = 1, read_at = head_at where user_id = ${BOB}`
  await sql`update glimpse.cleaning set position = ${story}, viewer = ${BOB}, reacted = ${story}, reactor = ${BOB} where job = 'stories'`
  await sql`insert into glimpse.tickets values ('digest', ${BOB}, 0, now())`
  return story
}

describe('glimpse.forget', () => {
  it.each([1, 7, 10_000])('leaves no trace in any column of any table, in portions of %i', {
    timeout: 120_000,
  }, async (portion) => {
    await makeTraces(20)
    expect(Object.keys(await tracesOf(BOB)).sort()).toEqual(
      expect.arrayContaining([
        'cleaning',
        'events',
        'stories',
        'story_reactions',
        'story_views',
        'streams',
        'tickets',
      ]),
    )
    const before = await readLog(sql, 'carol')
    const [row] = await sql`call glimpse.forget(${BOB}, portion => ${portion})`
    expect(Number(row?.erased)).toBeGreaterThan(40)
    expect(await tracesOf(BOB)).toEqual({})
    expect(await tracesOf(ESCAPED)).toEqual({})
    // Again, it finds nothing.
    expect(await sql`call glimpse.forget(${BOB}, portion => ${portion})`).toEqual([{ erased: '0' }])

    const after = await readLog(sql, 'carol')
    expect(after.slice(1)).toEqual(before.slice(1))
    expect(after[0]?.body).toBe(before[0]?.body.replace(JSON.stringify(BOB), 'null'))
    const alice = await readLog(sql, 'alice')
    expect(alice.map(({ seq }) => seq)).toEqual(upTo(7))
    expect(alice.slice(5).map(({ body }) => body)).toEqual(
      Array(2).fill(expect.stringContaining('"data":{"b":1.50,"user_id":null,"text":"a\\\\b"}')),
    )
    expect(await sql`select from glimpse.story_views`).toHaveLength(22)
  })

  it('leaves the streams of others dense, and every cursor of theirs good', async () => {
    const story = await makeTraces(3)
    const reader = await listen('alice', 0, '0')
    const read = await reader.take(7)
    const times = () =>
      sql`select user_id, seq, logged_at from glimpse.events where user_id <> ${BOB} order by 1, 2`
    const before = await times()
    await sql`call glimpse.forget(${BOB})`
    expect(await times()).toEqual(before)

    for (const [i, { json }] of read.entries()) {
      const again = await listen('alice', 1, json.id)
      const rest = await again.take(6 - i)
      expect(rest.map((event) => event.json.id)).toEqual(read.slice(i + 1).map((event) => event.json.id))
    }
    await insertViews(sql, story, ['zoe'])
    const [live] = await reader.take(1)
    expect(live?.json).toMatchObject({ seq: 8, data: { viewer_id: 'zoe' } })
  })

  it('ends the connections, and a user who comes back begins anew', async () => {
    await makeTraces(3)
    const bob = await listen(BOB)
    const { cursor } = bob
    await expect.poll(() => sql`select from glimpse.connections where user_id = ${BOB}`).toHaveLength(1)
    await sql`call glimpse.forget(${BOB})`
    expect((await bob.next('stream.close')).json.data).toMatchObject({ reason: 'closed' })
    await expect.poll(() => tracesOf(BOB)).toEqual({})
    const back = await listen(BOB, 0, cursor)
    expect((await back.next('stream.reset')).json.data).toMatchObject({ reason: 'ahead' })
  })

  it('takes the fields of events of your own by name', async () => {
    await sql`select glimpse.append(('alice', 'photo.tagged', ${`{"tagged":"${BOB}","story_id":"${BOB}"}`}::text::json, now())::glimpse.new_event)`
    await sql`call glimpse.forget(${BOB}, fields => ${['tagged']})`
    const [event] = await readLog(sql, 'alice')
    expect(JSON.parse(event?.body ?? '').data).toEqual({ tagged: null, story_id: BOB })
  })

  it('is not stopped by what is no event', async () => {
    const story = await makeTraces(1)
    await sql`update glimpse.events set body = '{"a":"\\u0000\\' where user_id = 'alice' and seq = 1`
    await sql`insert into glimpse.events values ('alice', 99, '{"seq":99,"type":"a.b","data":{"x":"\\u0000","y":"\\\\"},"timestamp":"x"}')`
    await sql`call glimpse.forget(${BOB})`
    expect(
      await sql`select from glimpse.story_views where story_id = ${story} and viewer_id = ${BOB}`,
    ).toEqual([])
    expect(await tracesOf(BOB)).toEqual({})
  })

  it.each([
    ['', 10, /user must have/],
    ['bob', 0, /portion must be/],
  ])('refuses the user %j with portions of %i', async (user, portion, message) => {
    await expect(sql`call glimpse.forget(${user}, portion => ${portion})`).rejects.toThrow(message)
  })
})

it('knows each column that may name a user: a new one needs its part in forget, in export and in the traces above', async () => {
  const columns = await sql<{ name: string }[]>`
    select table_name || '.' || column_name as name from information_schema.columns
     where table_schema = 'glimpse' and (data_type in ('text', 'json', 'jsonb', 'ARRAY') or domain_name = 'user_id') order by 1`
  const nobody = new Set([
    ...['cleaning.job', 'connections.closing', 'connections.instance', 'connections.transport'],
    ...[
      'history.channel',
      'history.salt',
      'instances.instance',
      'story_reactions.emoji',
      'story_tallies.awaiting',
      'story_tallies.emoji',
      'tickets.digest',
    ],
  ])
  expect(
    columns.map(({ name }) => name).filter((name) => !nobody.has(name) && !name.startsWith('migrations.')),
  ).toEqual([
    ...[
      'cleaning.reactor',
      'cleaning.viewer',
      'connections.user_id',
      'events.body',
      'events.user_id',
      'queue.tail',
      'queue.user_id',
      'stories.author_id',
    ],
    ...[
      'stories.text',
      'story_reactions.user_id',
      'story_views.viewer_id',
      'streams.user_id',
      'tickets.user_id',
    ],
  ])
})

it('forgets what is still in the queue', async () => {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const alone = postgres(database.url, { max: 1, onnotice: () => {} })
  onTestFinished(() => alone.end())
  for (const [user, data] of [
    [BOB, '{"n":1}'],
    ['alice', `{"user_id":"${ESCAPED}","n":1.50}`],
    ['alice', '{"user_id":"carol","n":1.50}'],
  ] as const)
    await alone`select glimpse.enqueue((${user}, 'a.b', ${data}::text::json, now())::glimpse.new_event)`
  const before = await alone`select tail from glimpse.queue order by id`
  expect(await alone`call glimpse.forget(${BOB})`).toEqual([{ erased: '2' }])
  expect(await alone`select tail from glimpse.queue order by id`).toEqual([
    { tail: before[1]?.tail.replace(`"${ESCAPED}"`, 'null') },
    before[2],
  ])
  await alone`select glimpse.move_queue('{}', 10)`
  expect((await readLog(alone, 'alice')).map(({ body }) => JSON.parse(body).data)).toEqual([
    { user_id: null, n: 1.5 },
    { user_id: 'carol', n: 1.5 },
  ])
})

it('may be called by the owner alone', async () => {
  const rows = await sql<{ name: string }[]>`
    select proname as name from pg_proc
     where pronamespace = 'glimpse'::regnamespace and has_function_privilege('public', oid, 'execute')
       and proname in ('page', 'disconnect', 'online', 'forget', 'forget_portion', 'without_user', 'live_instances', 'append', 'enqueue', 'move_queue', 'new_history')`
  expect(rows).toEqual([])
})

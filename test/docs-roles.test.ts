import { readFile } from 'node:fs/promises'
import type postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from './support/api.ts'
import { glimpseHere } from './support/cli.ts'
import { open } from './support/clients/index.ts'
import { type Block, blocksOf, RolesWorld } from './support/docs-blocks.ts'
import { type Instance, startInstance } from './support/instance.ts'

/** Pages about a database with roles apart: every block in turn, as it stands, as the role that it names. */

const ID = '550e8400-e29b-41d4-a716-446655440000'

let world: RolesWorld
let instance: Instance
afterAll(async () => {
  await instance?.close()
  await world?.close()
})

const listen = async (user: string) => open('sse', { url: instance.url, token: await instance.token(user) })

async function serve(): Promise<void> {
  instance = await startInstance({}, { database: { url: world.url('glimpse'), drop: async () => {} } })
}

function take(blocks: Block[], role: string, start: string): Block {
  const [block, ...rest] = blocks
  blocks.splice(0, blocks.length, ...rest)
  expect(block?.role).toBe(role)
  expect(block?.sql).toContain(start)
  return block ?? { role, sql: '' }
}

/** What `glimpse grants` prints stands in the page. */
async function isPrinted(block: Block, role: string, tasks: string): Promise<void> {
  const { stdout } = await glimpseHere(['grants', '--role', role, '--for', tasks])
  expect(block.sql.split('\n').slice(1).join('\n')).toBe(stdout)
}

describe('docs/beside-an-existing-database.md', () => {
  // With three views each, in test:field, a database of some size: 120,000 views.
  const EARLIER = process.env.GLIMPSE_FIELD === 'on' ? 40_000 : 3000
  /** What goes through all of it takes a slow machine minutes. */
  const LIMIT_MS = 240_000
  let blocks: Block[]

  beforeAll(async () => {
    blocks = await blocksOf('beside-an-existing-database.md')
    world = await RolesWorld.create('shop', ['shop_owner', 'shop_app'])
    await world.as('superuser', (sql) => sql`grant create on database shop to shop_owner`)
    await world.run(take(blocks, 'shop_owner', 'create schema shop'))
    // Rows that are there already; some with titles that are too long for us.
    await world.as('shop_app', async (sql) => {
      await sql`insert into shop.stories (author, title) select n % 50, repeat('t', 1 + n % 3000) from generate_series(1, ${EARLIER}) n`
      await sql`insert into shop.views (story, customer) select id, 1000 + n from shop.stories, generate_series(1, 3) n`
    })
    await world.run(take(blocks, 'superuser', 'create role glimpse'))
    await world.letIn('glimpse')
    await world.migrate()
    await serve()
  }, LIMIT_MS)

  const eventsOf = (user: string) =>
    world.as(
      'superuser',
      (sql) => sql<{ body: string }[]>`select body from glimpse.events where user_id = ${user} order by seq`,
    )
  const asApp = <Result>(work: (sql: postgres.Sql) => Promise<Result>) => world.as('shop_app', work)

  it('tells of views in tables that are not ours, from now on', { timeout: LIMIT_MS }, async () => {
    const grants = take(blocks, 'glimpse', 'grant usage')
    await isPrinted(grants, 'shop_owner', 'trigger,mirror')
    await world.run(grants)
    await world.run(take(blocks, 'shop_owner', 'create function shop.view_seen'))
    expect(await world.as('superuser', (sql) => sql`select from glimpse.events`)).toHaveLength(0)
    await asApp((sql) => sql`delete from shop.stories`)

    const seller = await listen('7')
    const write = take(blocks, 'shop_app', 'Spring sale')
    expect(await world.run(write)).toBeDefined()
    const [event] = await seller.take(1)
    const [story] = await asApp((sql) => sql`select id from shop.stories`)
    expect(event?.json).toMatchObject({
      type: 'story.viewed',
      data: { story_id: story?.id, viewer_id: '8', viewed_at: event?.json.timestamp },
    })
    await world.run(take(blocks, 'shop_app', 'glimpse.quiet'))
    await asApp(async (sql) => {
      await sql`insert into shop.views (story, customer) values (${story?.id}, 8) on conflict do nothing`
      await sql`insert into shop.views (story, customer) values (${story?.id}, 8) on conflict (story, customer) do update set at = now()`
      await sql`insert into shop.views (story, customer, at) values (${story?.id}, 10, 'infinity')`
      await sql`update shop.stories set deleted_at = now()`
      await sql`insert into shop.views (story, customer) values (${story?.id}, 11)`
      await sql`update shop.stories set deleted_at = null`
      await sql`delete from shop.views`
      await sql`insert into shop.views (story, customer) values (${story?.id}, 12)`
    })
    const [last] = await seller.take(1)
    expect(last?.json).toMatchObject({ seq: 2, data: { viewer_id: '12' } })
    expect(await world.as('superuser', (sql) => sql`select from glimpse.stories`)).toHaveLength(0)
  })

  it('fails no transaction of the application that did not fail before', { timeout: LIMIT_MS }, async () => {
    const ids = await asApp(
      (sql) =>
        sql<
          { id: string }[]
        >`insert into shop.stories (author, title) values (21, 'a'), (22, 'b') returning id`,
    )
    const [one = '', two = ''] = ids.map(({ id }) => id)
    const inOrder = (first: string, second: string, customer: number, isolation: string) =>
      asApp(async (sql) => {
        await sql.unsafe(`begin isolation level ${isolation}`)
        await sql`insert into shop.views (story, customer) values (${first}, ${customer})`
        await sql`select pg_sleep(0.05)`
        await sql`insert into shop.views (story, customer) values (${second}, ${customer})`
        await sql`commit`
      })
    for (const [n, isolation] of ['read committed', 'repeatable read', 'serializable'].entries())
      await Promise.all([
        inOrder(one, two, 100 + n, isolation),
        inOrder(two, one, 200 + n, isolation),
        inOrder(one, two, 300 + n, isolation),
      ])
    for (const user of ['21', '22'])
      await expect.poll(() => eventsOf(user), { timeout: 30_000 }).toHaveLength(9)
  })

  it('mirrors stories: those there are, beside live writers, and whatever happens to them', {
    timeout: LIMIT_MS,
  }, async () => {
    await asApp(async (sql) => {
      await sql`insert into shop.stories (author, title) select n % 50, repeat('t', 1 + n % 3000) from generate_series(1, ${EARLIER}) n`
      await sql`update shop.stories set deleted_at = now() where id in (select id from shop.stories limit 10)`
    })
    await world.run(take(blocks, 'shop_owner', 'create function shop.story_mirrored'))
    const copy = take(blocks, 'shop_owner', 'for share')
    let copied = false
    const writers = [1, 2, 3].map((nth) =>
      asApp(async (sql) => {
        for (let n = 0; !copied || n < 20; n++) {
          await sql`insert into shop.stories (author, title) values (${nth}, ${`live ${nth} ${n}`})`
          await sql`update shop.stories set title = ${`changed ${nth} ${n}`} where id = (select id from shop.stories tablesample system (20) limit 1)`
          await sql`delete from shop.stories where id = (select id from shop.stories tablesample system (20) limit 1)`
        }
      }),
    )
    await world.run(copy)
    await world.run(copy)
    copied = true
    await Promise.all(writers)
    const wrong = () =>
      world.as(
        'superuser',
        (sql) => sql`
          select s.id, g.id as mirrored from (select * from shop.stories where deleted_at is null) s
            full join (select * from glimpse.stories where expires_at > '-infinity') g using (id)
           where s.id is null or g.id is null or g.author_id <> s.author::text or g.text <> left(s.title, 2000)`,
      )
    expect(await wrong()).toEqual([])

    const [story] = await asApp(
      (sql) => sql`insert into shop.stories (author, title) values (7, 'x') returning id`,
    )
    const found = async () =>
      (
        await fetch(`${instance.url}/stories/${story?.id}`, {
          headers: { authorization: `Bearer ${await instance.token('8')}` },
        })
      ).status
    expect(await found()).toBe(200)
    await asApp((sql) => sql`update shop.stories set deleted_at = now() where id = ${story?.id}`)
    expect(await found()).toBe(404)
    await asApp((sql) => sql`update shop.stories set deleted_at = null, author = 9 where id = ${story?.id}`)
    expect(await found()).toBe(200)
    expect(await wrong()).toEqual([])
    await asApp((sql) => sql`delete from shop.stories where id = ${story?.id}`)
    expect(await found()).toBe(404)
    await world.as('shop_owner', (sql) => sql`truncate shop.stories cascade`)
    expect(await wrong()).toEqual([])

    // Authors who are new to us, by two transactions in opposite order.
    const posting = (...authors: number[]) =>
      asApp((sql) =>
        sql.begin(async (tx) => {
          for (const author of authors) {
            await tx`insert into shop.stories (author, title) values (${author}, 'new')`
            await tx`select pg_sleep(0.05)`
          }
        }),
      )
    await Promise.all([posting(9001, 9002), posting(9002, 9001)])
    expect(await wrong()).toEqual([])
  })

  it('removes itself', { timeout: LIMIT_MS }, async () => {
    await instance.close()
    await world.run(take(blocks, 'shop_owner', 'drop trigger'))
    await world.run(take(blocks, 'glimpse', 'drop schema'))
    expect(blocks).toEqual([])
    await asApp((sql) => sql`insert into shop.views (story, customer) select id, 8 from shop.stories limit 1`)
  })
})

describe('docs/extending.md', () => {
  beforeAll(async () => {
    await world.as('superuser', (sql) => sql`create database test owner glimpse`)
    world = world.in('test')
    await world.migrate()
    await serve()
  }, 120_000)
  it('makes an event of a comment, and of a story for each follower, and takes itself back', {
    timeout: 120_000,
  }, async () => {
    const blocks = await blocksOf('extending.md')
    await world.run(take(blocks, 'superuser', 'create role app_owner'))
    await world.letIn('app_owner', 'app_user')
    const grants = take(blocks, 'glimpse', 'glimpse.enqueue')
    await isPrinted(grants, 'app_owner', 'trigger')
    const comments = take(blocks, 'app_owner', 'create table app.comments')
    // Nothing of it stands where a right is missing at run time: the table is not there without its trigger.
    await world.run(grants)
    await world.run(comments)
    await world.run(take(blocks, 'glimpse', 'Low tide'))
    const alice = await listen('alice')
    const comment = take(blocks, 'app_user', 'insert into app.comments')
    expect(await world.run(comment)).toEqual([{ id: '1' }])
    const [event] = await alice.take(1)
    const [, shown = ''] = /```json\n([\s\S]*?)```/.exec(await readFile('docs/extending.md', 'utf8')) ?? []
    const expected = JSON.parse(shown)
    expect(event?.json).toMatchObject({ type: expected.type, data: expected.data })
    const shape = (value: object) =>
      JSON.stringify(value, (_, inner) => (Object(inner) === inner ? inner : 0))
    expect(shape(event?.json ?? {})).toBe(shape(expected))

    // What it says about other statements, and about what is too long.
    await world.as('app_user', async (sql) => {
      await sql`insert into app.comments (story_id, user_id, text) overriding system value select ${ID}, 'carol', repeat('x', 1000000)`
      await sql.unsafe(
        `insert into app.comments (story_id, user_id, text) values ('${ID}', 'alice', 'my own')`,
      )
      await sql.unsafe(`begin; set local glimpse.quiet = on; ${comment.sql}; commit`)
      await sql.unsafe(`begin; ${comment.sql}; rollback`)
      await sql`insert into app.comments (story_id, user_id, text) values (${ID}, 'erin', 'last')`
    })
    const rest = await alice.take(2)
    expect(rest.map(({ json }) => (json.data as { user_id: string }).user_id)).toEqual(['carol', 'erin'])
    expect((rest[0]?.json.data as unknown as { text: string }).text).toHaveLength(2000)

    await world.run(take(blocks, 'app_owner', 'create table app.follows'))
    await world.run(take(blocks, 'glimpse', 'create trigger story_published'))
    await world.run(take(blocks, 'app_user', 'insert into app.follows'))
    const followers = await Promise.all(['carol', 'dave'].map(listen))
    await world.run(take(blocks, 'glimpse', 'High tide'))
    for (const follower of followers) {
      const [published] = await follower.take(1)
      expect(published?.json).toMatchObject({ type: 'story.published', data: { author_id: 'alice' } })
    }
    const post = async () =>
      call(instance.url, '/stories', { method: 'POST', token: await instance.token('alice'), json: {} })
    expect((await post()).status).toBe(201)
    for (const follower of followers) await follower.take(1)

    await world.run(take(blocks, 'glimpse', 'drop trigger'))
    await world.run(take(blocks, 'app_owner', 'drop table'))
    expect(blocks).toEqual([])
    expect((await post()).status).toBe(201)
    expect(
      await world.as('superuser', (sql) => sql`select from glimpse.events where user_id = 'carol'`),
    ).toHaveLength(2)
  })
})

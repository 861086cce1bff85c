import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { blocksOf, PASSWORD, RolesWorld } from '../support/docs-blocks.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { startPostgres } from './postgres.ts'

/** docs/dumps-and-tests.md: its commands in turn, as they stand, by the real pg_dump and psql. */

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

let world: RolesWorld
let folder: string
let commands: string[]
let environment: Record<string, string>
beforeAll(async () => {
  const page = await readFile('docs/dumps-and-tests.md', 'utf8')
  commands = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, command = '']) => command)
  // A dump of a newer server is refused.
  const [, major = ''] =
    /(\d+)\./.exec(spawnSync('pg_dump', ['--version'], { encoding: 'utf8' }).stdout) ?? []
  const server = await startPostgres(Number(major))
  world = await RolesWorld.create('shop', ['shop_owner', 'shop_app', 'dumper'], {
    adminUrl: server.adminUrl,
    close: () => server.stop(),
  })
  await world.as('superuser', async (sql) => {
    await sql`grant create on database shop to shop_owner`
    await sql`create role postgres superuser login password 'x'`
    await sql`grant pg_read_all_data to dumper`
  })
  for (const block of (await blocksOf('beside-an-existing-database.md')).slice(0, 8)) {
    await world.run(block)
    if (!block.sql.includes('create role glimpse')) continue
    await world.letIn('glimpse')
    await world.migrate()
  }
  folder = await mkdtemp(join(tmpdir(), 'glimpse-dumps-'))
  await writeFile(join(folder, 'glimpse'), `#!/bin/sh\nexec ${process.execPath} ${MAIN} "$@"\n`, {
    mode: 0o755,
  })
  const { port } = new URL(server.adminUrl)
  environment = {
    PATH: `${folder}:${process.env.PATH}`,
    PGHOST: '127.0.0.1',
    PGPORT: port,
    PGPASSWORD: PASSWORD,
    GLIMPSE_URL_OF: `postgres://glimpse:${PASSWORD}@127.0.0.1:${port}`,
  }
}, 120_000)
afterAll(async () => {
  await world?.close()
  await rm(folder, { recursive: true, force: true })
})

async function run(command: string): Promise<{ code: number; output: string }> {
  const child = spawn('sh', ['-e', '-c', command], { cwd: folder, env: environment })
  let output = ''
  for (const pipe of [child.stdout, child.stderr])
    pipe.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const [code] = await once(child, 'close')
  return { code, output }
}

async function next(start: string): Promise<void> {
  const command = commands.shift() ?? ''
  expect(command).toContain(start)
  expect(await run(command)).toMatchObject({ code: 0 })
}

async function serving<Result>(
  database: string,
  work: (instance: Instance) => Promise<Result>,
): Promise<Result> {
  const instance = await startInstance(
    {},
    { database: { url: world.in(database).url('glimpse'), drop: async () => {} } },
  )
  try {
    return await work(instance)
  } finally {
    await instance.close()
  }
}

async function poll(instance: Instance, user: string, after: string) {
  const response = await fetch(`${instance.url}/events?after=${after}`, {
    headers: { accept: 'application/json', authorization: `Bearer ${await instance.token(user)}` },
  })
  return (await response.json()) as {
    events: { seq: number; data: object }[]
    cursor: string
    reset: object | null
  }
}

const view = (database: string, customer: number) =>
  world
    .in(database)
    .as(
      'shop_app',
      (sql) =>
        sql`insert into shop.views (story, customer) select id, ${customer} from shop.stories where author = 7`,
    )

const logged = (database: string) =>
  world
    .in(database)
    .as('superuser', (sql) => sql`select from glimpse.events union all select from glimpse.queue`)

it('dumps, restores, reloads and clears as the page says', { timeout: 240_000 }, async () => {
  const cursor = await serving('shop', async (instance) => {
    await expect.poll(async () => (await poll(instance, '7', '0')).events.length, { timeout: 30_000 }).toBe(1)
    return (await poll(instance, '7', '0')).cursor
  })
  expect((await run('pg_dump -U shop_owner shop')).output).toMatch(/permission denied for table/)
  await next('--schema=shop')
  await next('-U dumper')

  await next('createdb -U postgres --owner=shop_owner restored')
  expect(await logged('restored')).toHaveLength(0)
  expect(await world.in('restored').as('shop_app', (sql) => sql`select from shop.views`)).toHaveLength(2)
  await view('restored', 20)
  await serving('restored', async (instance) => {
    await expect
      .poll(async () => (await poll(instance, '7', '0')).events, { timeout: 30_000 })
      .toMatchObject([{ seq: 1, data: { viewer_id: '20' } }])
    expect((await poll(instance, '7', cursor)).reset).toMatchObject({ reason: 'epoch' })
  })

  await next('createdb -U postgres whole')
  await serving('whole', async (instance) => {
    const { events } = await poll(instance, '7', '0')
    expect(events).toMatchObject([{ seq: 1, data: { viewer_id: '8' } }])
    expect((await poll(instance, '7', cursor)).reset).toMatchObject({ reason: 'epoch' })
    await view('whole', 21)
    await expect
      .poll(async () => (await poll(instance, '7', '0')).events, { timeout: 30_000 })
      .toMatchObject([{ seq: 1 }, { seq: 2, data: { viewer_id: '21' } }])
  })

  const before = (await logged('restored')).length
  await next('--data-only')
  expect(await world.in('restored').as('shop_app', (sql) => sql`select from shop.views`)).toHaveLength(2)
  expect(await logged('restored')).toHaveLength(before)

  await next('truncate glimpse.stories')
  expect(commands).toEqual([])
  await serving('whole', async (instance) => {
    expect((await poll(instance, '7', '0')).events).toEqual([])
    await view('whole', 22)
    await expect
      .poll(async () => (await poll(instance, '7', '0')).events, { timeout: 30_000 })
      .toMatchObject([{ seq: 1, data: { viewer_id: '22' } }])
  })
})

it('lets the application’s migrations run before Glimpse’s, and keeps its triggers where ours are made anew', async () => {
  const blocks = await blocksOf('beside-an-existing-database.md')
  const of = (text: string) => {
    const found = blocks.find(({ sql }) => sql.includes(text))
    if (found === undefined) throw new Error(text)
    return found
  }
  await world.as('superuser', (sql) => sql`create database early owner shop_owner`)
  const early = world.in('early')
  await early.as('superuser', (sql) => sql`grant create on database early to glimpse`)
  await early.run(of('create schema shop'))
  await early.run(of('create function shop.view_seen'))
  await early.run(of('create function shop.story_mirrored'))
  for (const time of ['first', 'anew']) {
    await early.migrate()
    await early.run(of('grant usage on schema glimpse'))
    await early.run(of('Spring sale'))
    const queued = await early.as('superuser', (sql) => sql`select from glimpse.queue`)
    expect([time, queued.length]).toEqual([time, 1])
    await early.as('glimpse', (sql) => sql`drop schema glimpse cascade`)
    await early.as('superuser', (sql) => sql`alter table shop.stories disable trigger all`)
    await early.as('shop_app', (sql) => sql`delete from shop.views`)
    await early.as('superuser', (sql) => sql`delete from shop.stories`)
    await early.as('superuser', (sql) => sql`alter table shop.stories enable trigger all`)
  }
})

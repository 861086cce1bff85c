import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { call } from './support/api.ts'
import { glimpseHere } from './support/cli.ts'
import { type Block, blocksOf, RolesWorld } from './support/docs-blocks.ts'
import { type Instance, startInstance } from './support/instance.ts'
import { insertStory, insertViews, upTo } from './support/sql-writer.ts'

/** docs/sql.md, word for word: each block runs as the role that it names, which has the rights that the page gives it. */
const ROLES = ['app_writer', 'app_reactor', 'app_reports', 'app_backend', 'app_owner', 'glimpse_service']

let text: string
let blocks: Block[]
let world: RolesWorld
let owner: postgres.Sql
let instance: Instance
beforeAll(async () => {
  text = await readFile('docs/sql.md', 'utf8')
  blocks = await blocksOf('sql.md')
  world = await RolesWorld.create('test', ['glimpse', ...ROLES])
  await world.as('superuser', async (admin) => {
    await admin`grant create on database test to glimpse`
    await admin`create schema app authorization app_backend`
  })
  await world.migrate()
  owner = postgres(world.url('glimpse'), { max: 2, onnotice: () => {} })
}, 120_000)
afterAll(async () => {
  await instance?.close()
  await owner?.end()
  await world?.close()
})

const nameOf = ({ role, sql }: Block) => `${role}: ${sql.split('\n')[1]}`

it('has blocks for roles that have no more than a task', () => {
  expect(blocks.map(({ role }) => role).filter((role) => !ROLES.includes(role))).toEqual([])
})

it('does nothing for roles without rights, and all of it for roles with those of the table', {
  timeout: 120_000,
}, async () => {
  const doctor = async (command: string) => {
    const { stdout } = await glimpseHere(['doctor', '--json', ...command.split(' ').slice(1)], {
      DATABASE_URL: world.url('glimpse'),
    })
    const { findings } = JSON.parse(stdout) as { findings: { check: string; says: string; fix?: string }[] }
    return findings.filter(({ check }) => check === 'rights').at(-1)
  }
  for (const { role, sql } of blocks.slice(0, -1))
    await expect(world.run({ role, sql })).rejects.toMatchObject({ code: '42501' })

  const commands = [...text.matchAll(/\| `(\w+)` \|.*\| `glimpse (grants [^`]+)` \|$/gm)]
  expect(commands).toHaveLength(7)
  for (const [, task, command = ''] of commands) {
    expect(command.endsWith(`--for ${task}`)).toBe(true)
    const { code, stdout } = await glimpseHere(command.split(' '))
    expect(code).toBe(0)
    // One of each kind: of tables, functions, procedures and all tables.
    const examined = ['trigger', 'backend', 'service'].includes(task ?? '')
    if (examined) {
      const lacking = await doctor(command)
      expect(lacking?.says).toMatch(/ lacks .*usage on schema glimpse/)
      expect(lacking?.fix).toBe(`as the owner: ${stdout.trimEnd().replaceAll(';\n', '; ').replace(/;$/, '')}`)
    }
    await owner.unsafe(stdout)
    if (examined) expect((await doctor(command))?.says).toMatch(/ has all it needs$/)
  }
  const answers = new Map<string, readonly postgres.Row[]>()
  for (const block of blocks) answers.set(nameOf(block), await world.run(block))

  const [page] = answers.get("app_backend: select glimpse.page('alice', '0', 100);") ?? []
  expect(page?.page.events.map(({ type }: { type: string }) => type)).toEqual([
    'story.viewed',
    'story.reacted',
  ])
  const [story] = answers.get('app_reports: select s.id, s.author_id, count(v.viewer_id) as views') ?? []
  expect(story).toMatchObject({ author_id: 'alice', views: '1' })
  // After the forgetting.
  expect(await owner`select from glimpse.story_views`).toHaveLength(0)
  const bodies = await owner<
    { body: string }[]
  >`select body from glimpse.events where user_id = 'alice' order by seq`
  expect(bodies.map(({ body }) => JSON.parse(body).data)).toMatchObject([
    { viewer_id: null },
    { user_id: null },
  ])
})

it.each([
  ['app_writer', `insert into glimpse.events values ('alice', 9, 'x')`],
  ['app_writer', `select glimpse.append(('alice', 'a.b', '{}', now())::glimpse.new_event)`],
  ['app_writer', `select glimpse.enqueue(('alice', 'a.b', '{}', now())::glimpse.new_event)`],
  ['app_owner', `select glimpse.move_queue('{}', 1)`],
  ['app_owner', `insert into glimpse.queue (user_id, tail) values ('alice', 'x')`],
  ['app_writer', `delete from glimpse.stories`],
  ['app_reactor', `insert into glimpse.story_views select id, 'eve' from glimpse.stories`],
  ['app_reports', `select glimpse.page('alice', '0')`],
  ['app_reports', `select channel from glimpse.history`],
  ['app_backend', `select body from glimpse.events`],
  ['app_backend', `select glimpse.new_history()`],
])('keeps %s from more: %s', async (role, statement) => {
  await expect(world.run({ role, sql: statement })).rejects.toMatchObject({ code: '42501' })
})

it('serves, mirrors and appends under the roles of service, mirror and trigger', {
  timeout: 120_000,
}, async () => {
  instance = await startInstance(
    { MIGRATE: 'off' },
    { database: { url: world.url('glimpse_service'), drop: async () => {} } },
  )
  await world.as('app_owner', async (sql) => {
    await sql`select glimpse.enqueue(('queued', 'a.b', '{}', now())::glimpse.new_event)`
    await sql`select glimpse.append(('mirrored', 'a.b', '{}', now())::glimpse.new_event)`
    await sql`insert into glimpse.stories (author_id) values ('mirrored') on conflict (id) do update set text = excluded.text`
    await sql`delete from glimpse.stories where author_id = 'mirrored'`
  })
  for (const user of ['mirrored', 'queued']) {
    const asked = { token: await instance.token(user), headers: { accept: 'application/json' } }
    await expect
      .poll(() => call(instance.url, '/events?after=0', asked), { timeout: 30_000 })
      .toMatchObject({ json: { events: [{ type: 'a.b', seq: 1 }], has_more: false } })
  }
})

it('consumes a stream exactly once, by two workers that fail half-way, beside writers', {
  timeout: 120_000,
}, async () => {
  const [, code = ''] = /^```js\n([\s\S]*?)^```$/m.exec(text) ?? []
  const { consume } = await import(`data:text/javascript,${encodeURIComponent(code)}`)
  const sql = postgres(world.url('app_backend'), { max: 2 })
  onTestFinished(() => sql.end())
  await sql`truncate app.seen`
  const token = await instance.token('alice')
  const warned = vi.spyOn(console, 'warn')
  onTestFinished(() => warned.mockRestore())

  const COUNT = 500
  let applied = 0
  let failures = 0
  const apply = async (tx: postgres.TransactionSql, { seq, type }: { seq: number; type: string }) => {
    await tx`insert into app.seen values (${seq}, ${type})`
    applied += 1
    // Rarer than once a page, which would never be done.
    if (applied % 151 === 0) {
      failures += 1
      throw new Error('planted')
    }
  }
  const rows = async () => (await sql`select seq from app.seen order by seq`).map(({ seq }) => Number(seq))
  const worker = async () => {
    for (const deadline = Date.now() + 50_000; (await rows()).length < COUNT + 2 && Date.now() < deadline; )
      await consume(sql, instance.url, token, 'alice', apply).catch((error: Error) => {
        if (error.message !== 'planted') throw error
      })
  }
  const story = await insertStory(owner, 'alice')
  const writing = (async () => {
    for (const n of upTo(COUNT)) await insertViews(owner, story, [`viewer ${n}`])
  })()
  await Promise.all([writing, worker(), worker()])
  expect(failures).toBeGreaterThan(1)
  expect(await rows()).toEqual(upTo(COUNT + 2))
  expect(warned).not.toHaveBeenCalled()
})

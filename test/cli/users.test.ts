import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { grantsFor } from '../../src/store/rights.ts'
import { glimpse, glimpseHere } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'

let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance()
  sql = postgres(instance.database.url, { max: 1, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

const environment = () => ({ DATABASE_URL: instance.database.url })
const run = (...args: string[]) => glimpseHere(args, environment())
/** Once for each command that connects: a process that a connection keeps would never end. */
const start = (...args: string[]) => glimpse(args, { environment: environment() })

const BOB = 'bøb'

describe('glimpse online and disconnect', () => {
  it('say who is connected, and end it', { timeout: 30_000 }, async () => {
    const bob = await open('sse', { url: instance.url, token: await instance.token(BOB) })
    await expect.poll(() => sql`select from glimpse.connections`).toHaveLength(1)
    expect(await start('online', 'alice', BOB)).toEqual({ code: 0, stdout: `${BOB}\n`, stderr: '' })
    expect((await run('online', 'alice', BOB, '--json')).stdout).toBe(`{"online":["${BOB}"]}\n`)
    expect(await start('disconnect', BOB)).toEqual({ code: 0, stdout: '1\n', stderr: '' })
    expect((await run('disconnect', BOB, '--json')).stdout).toBe('{"ended":0}\n')
    expect((await bob.next('stream.close')).json.data).toMatchObject({ reason: 'closed' })
    expect(await run('online', BOB)).toEqual({ code: 0, stdout: '', stderr: '' })
  })
})

describe('glimpse export and forget', () => {
  it('print all that is kept, and erase it', { timeout: 60_000 }, async () => {
    const theirs = await insertStory(sql, 'alice')
    const own = await insertStory(sql, BOB)
    await insertViews(sql, theirs, [BOB, 'carol'])
    await insertViews(
      sql,
      own,
      upTo(1500).map((n) => `fan ${n}`),
    )
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) values (${theirs}, ${BOB}, '👏')`
    await sql`select glimpse.append(('alice', 'a.b', '{"who":"b\\u00F8b"}', now())::glimpse.new_event)`
    const { code, stdout, stderr } = await start('export', BOB)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const kept: Record<string, unknown[]> = {}
    for (const line of stdout.trimEnd().split('\n')) {
      const { table, row } = JSON.parse(line)
      kept[table] = [...(kept[table] ?? []), row]
    }
    expect(kept).toMatchObject({
      stories: [{ id: own }],
      story_views: [{ story_id: theirs }],
      story_reactions: [{ emoji: '👏' }],
      streams: [{ head: 1500 }],
    })
    expect(kept.events).toHaveLength(1500 + 3)

    expect(await run('forget', BOB)).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') })
    const forgotten = await start('forget', BOB, '--yes', '--fields', 'viewer_id,user_id,who')
    expect(forgotten).toMatchObject({ code: 0, stderr: '' })
    // 1,501 views, a reaction, a story, three events in place and 1,500 that go.
    expect(forgotten.stdout).toBe('3006\n')
    expect(await run('export', BOB)).toEqual({ code: 0, stdout: '', stderr: '' })
    expect((await run('forget', BOB, '--yes', '--json')).stdout).toBe('{"erased":0}\n')
  })
})

describe('glimpse new-history', () => {
  it('prints the new epoch, and does nothing without --yes', async () => {
    const epoch = async () => (await sql<{ epoch: string }[]>`select glimpse.epoch() as epoch`)[0]?.epoch
    const before = await epoch()
    expect(await run('new-history')).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') })
    expect(await epoch()).toBe(before)
    expect((await start('new-history', '--yes')).stdout).toBe(`${await epoch()}\n`)
    expect((await run('new-history', '--yes', '--json')).stdout).toBe(`{"epoch":"${await epoch()}"}\n`)
    expect(await epoch()).not.toBe(before)
  })
})

describe('glimpse grants', () => {
  it('prints statements, each once, with the role quoted', async () => {
    const { code, stdout } = await glimpseHere(['grants', '--role', 'App "x"', '--for', 'write,react,write'])
    expect(code).toBe(0)
    expect(stdout).toBe(
      [
        'usage on schema glimpse',
        'select, insert on table glimpse.stories, glimpse.story_views',
        'select on table glimpse.stories',
        'select, insert, update, delete on table glimpse.story_reactions',
      ]
        .map((grant) => `grant ${grant} to "App ""x""";\n`)
        .join(''),
    )
  })

  it('are a list with --json', async () => {
    const { stdout } = await glimpseHere(['grants', '--role', 'a', '--for', 'read', '--json'])
    expect(JSON.parse(stdout).statements).toContain('grant usage on schema glimpse to "a"')
  })

  it('are statements that the owner may run', async () => {
    const tasks = ['write', 'react', 'trigger', 'mirror', 'read', 'backend', 'service'] as const
    for (const statement of grantsFor(new URL(instance.database.url).username, tasks))
      await sql.unsafe(statement)
  })
})

it.each([
  [['online'], /takes one user or more/],
  [['online', 'a\tb'], /a user has 1 to 255 characters/],
  [['disconnect'], /takes one user/],
  [['disconnect', 'a', 'b'], /takes one user/],
  [['export', ''], /a user has 1 to 255 characters/],
  [['forget', 'a', '--yes', '--fields', 'a,,b'], /--fields must be names/],
  [['grants', '--for', 'read'], /--role must name a role/],
  [['grants', '--role', 'a'], /--for must name tasks: write, react/],
  [['grants', '--role', 'a', '--for', 'fly'], /there is no task fly; there are write/],
])('refuses %j', async (args, message) => {
  expect(await run(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
})

it('says in one line what failed', async () => {
  await sql`alter function glimpse.online rename to online_gone`
  const { code, stderr } = await run('online', 'alice')
  await sql`alter function glimpse.online_gone rename to online`
  expect(code).toBe(1)
  expect(stderr).toMatch(/^online: it failed: [^\n]+ does not exist\n$/)
})

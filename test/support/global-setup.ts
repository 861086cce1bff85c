import { randomBytes, randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { migrate } from '../../src/store/migrate.ts'
import { clearLeftovers, makeServerFolder } from './leftovers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The database `postgres` of the test server, as an ordinary role that may make databases. */
    readonly serverUrl: string
    /** The migrated database that createDatabase() copies. */
    readonly template: string
  }
}

const log = createLogger('warn')

/** One server and one migrated template for the whole run; every test file copies the template in milliseconds. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await openServer()
  const template = `template_${randomUUID()}`
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  try {
    await sql`CREATE DATABASE ${sql(template)}`
    await migrate(parseConnectionUrl(withDatabase(server.url, template)), log)
    // Nobody may stand in the template: Postgres copies no database that has a session.
    await sql`ALTER DATABASE ${sql(template)} ALLOW_CONNECTIONS false`
  } catch (error) {
    await sql.end()
    await server.close()
    throw error
  }
  project.provide('serverUrl', server.url)
  project.provide('template', template)
  return async () => {
    await sql`DROP DATABASE ${sql(template)} WITH (FORCE)`
    await sql.end()
    await server.close()
  }
}

interface Server {
  readonly url: string
  close(): Promise<void>
}

/** TEST_DATABASE_URL (a role with CREATEDB) where it is set; else an embedded server in a folder of its own. */
async function openServer(): Promise<Server> {
  const given = process.env.TEST_DATABASE_URL
  if (given !== undefined && given !== '') return { url: given, close: async () => {} }
  await clearLeftovers()
  const dataDir = await makeServerFolder()
  const embedded = await startEmbeddedPostgres({
    dataDir,
    log,
    // Some files at a time run several instances, each with 26 connections.
    settings: {
      max_connections: '500',
      fsync: 'off',
      full_page_writes: 'off',
      synchronous_commit: 'off',
      // Its folder may be in memory.
      max_wal_size: '256MB',
    },
  })
  return {
    url: await createRole(embedded.url),
    async close() {
      await embedded.release()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** Tests run as an ordinary role, as the service does on a managed Postgres: a superuser would hide missing grants. */
async function createRole(superuserUrl: string): Promise<string> {
  const url = new URL(superuserUrl)
  const sql = postgres(superuserUrl, { max: 1 })
  url.username = 'glimpse_test'
  url.password = randomBytes(12).toString('hex')
  url.pathname = '/postgres'
  await sql.unsafe(`CREATE ROLE glimpse_test LOGIN CREATEDB PASSWORD '${url.password}'`)
  await sql.end()
  return url.href
}

function withDatabase(url: string, database: string): string {
  return Object.assign(new URL(url), { pathname: `/${database}` }).href
}

import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'
import { cannotConnect } from '../postgres/connection-error.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { openPool, type Pool } from '../postgres/pool.ts'
import { isTransactionPooled } from '../postgres/pooler.ts'
import { type AppliedMigration, compareMigrations, readMigrations, refusalOf } from './migrations.ts'

/** As server_version_num writes it: Postgres 14. */
export const OLDEST_VERSION = 140_000

/**
 * Checks what the service relies on, before anything is served.
 *
 * @throws StartError one line that names DATABASE_URL and what to do
 */
export async function checkDatabase(sql: Pool): Promise<void> {
  const [row] = await readRequirements(sql)
  if (row === undefined) return
  if (row.version < OLDEST_VERSION) throw refusal('Postgres 14 or newer is needed')
  if (row.encoding !== 'UTF8') throw refusal(`the database's encoding must be UTF8, not ${row.encoding}`)
  if (row.replicationRole !== 'origin')
    throw refusal(
      `session_replication_role is ${row.replicationRole} for this role, so that no trigger fires and no event is made; ` +
        'as a superuser: alter role … reset session_replication_role',
    )
  if (row.quiet)
    throw refusal(
      'glimpse.quiet is on for this role or database, so that no event is made; as a superuser: alter role … reset "glimpse.quiet" (or alter database …)',
    )
  if (!row.migrated) throw refusal(`the schema glimpse is missing or incomplete; ${CURE}`)
  await checkMigrations(sql)
}

const CURE = 'run glimpse migrate, or set MIGRATE=on'

/** With a schema of another version, requests would fail in the middle. */
async function checkMigrations(sql: Pool): Promise<void> {
  const applied = await sql<AppliedMigration[]>`
    select name, to_jsonb(m) ->> 'checksum' as checksum from glimpse.migrations m order by id`.catch(
    (error: Error) => {
      throw refusal(
        `the applied migrations cannot be read: ${error.message}; the role needs SELECT on glimpse.migrations`,
        error,
      )
    },
  )
  const comparison = compareMigrations(await readMigrations(), applied)
  const misfit = refusalOf(comparison)
  if (misfit !== undefined) throw refusal(misfit)
  const { pending } = comparison
  if (pending.length > 0)
    throw refusal(`${pending.length} migrations are not applied yet: ${pending.join(', ')}; ${CURE}`)
}

const WAIT_MS = 500

/**
 * Resolves when a service of this version can start on the database, however long that takes. Logs each new reason why it
 * cannot.
 */
export async function untilMigrated(
  connection: ConnectionOptions,
  log: Logger,
  { signal }: { readonly signal?: AbortSignal },
): Promise<void> {
  const sql = openPool(connection, 'migrate-wait', { max: 1 })
  try {
    for (let told = ''; ; ) {
      try {
        return await checkDatabase(sql)
      } catch (error) {
        if (!(error instanceof StartError)) throw error
        if (error.message !== told) log.info({ reason: error.message }, 'waiting for the schema')
        told = error.message
      }
      await sleep(WAIT_MS, undefined, { signal })
    }
  } finally {
    await sql.end({ timeout: 0 })
  }
}

/**
 * Finds a transaction pooler that is not configured, before anything relies on a session: prepared statements would be
 * missing in the middle of requests, and a migration would lose its lock.
 *
 * @param ways the connections for statements and for LISTEN, and whether a pooler is configured for statements
 * @throws StartError one line that names the variables to set
 */
export async function checkPoolers(
  ways: {
    readonly database: ConnectionOptions
    readonly listen: ConnectionOptions
    readonly declared: boolean
  },
  signal?: AbortSignal,
): Promise<void> {
  const refuse = (variable: Way, connection: ConnectionOptions) =>
    refusePooled(variable, connection, signal).catch((error: NodeJS.ErrnoException) => {
      if (error instanceof StartError) throw error
      throw signal?.aborted ? signal.reason : cannotConnect(variable, connection, error)
    })
  if (!ways.declared) await refuse('DATABASE_URL', ways.database)
  if (ways.listen !== ways.database) await refuse('LISTEN_DATABASE_URL', ways.listen)
}

const POOLED = {
  DATABASE_URL:
    'it goes through a transaction pooler: set DATABASE_POOLER=transaction, and LISTEN_DATABASE_URL to a direct connection to the same database',
  LISTEN_DATABASE_URL:
    'it goes through a transaction pooler, where LISTEN receives nothing; set it to a direct connection to the same database',
}
type Way = keyof typeof POOLED

/**
 * @param variable the one that holds the URL of the connection
 * @throws StartError one line if a transaction pooler is in between; what isTransactionPooled throws
 */
export async function refusePooled(
  variable: Way,
  connection: ConnectionOptions,
  signal?: AbortSignal,
): Promise<void> {
  if (await isTransactionPooled(connection, signal)) throw new StartError(`${variable}: ${POOLED[variable]}`)
}

function readRequirements(sql: Pool) {
  return sql<
    { version: number; encoding: string; replicationRole: string; quiet: boolean; migrated: boolean }[]
  >`
    select current_setting('server_version_num')::int as version,
           current_setting('server_encoding') as encoding,
           current_setting('session_replication_role') as "replicationRole",
           coalesce(lower(current_setting('glimpse.quiet', true)) in ('on', 'true', 'yes', '1'), false) as quiet,
           to_regproc('glimpse.record_views') is not null as migrated`.catch((error: Error) => {
    throw refusal(`the database cannot be reached: ${error.message}`, error)
  })
}

function refusal(reason: string, cause?: unknown): StartError {
  return new StartError(`DATABASE_URL: ${reason}`, { cause })
}

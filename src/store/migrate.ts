import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { runner } from 'node-pg-migrate'
import { StartError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'

const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url))

// Any other application that migrates in this database with the same tool has a lock of its own.
const LOCK = 4_739_210_551

/**
 * Brings the schema up to date: the numbered files of migrations/, each once, in one transaction, under a session
 * advisory lock in wait mode (in fail mode, four of five instances that start together would exit).
 *
 * @param databaseUrl a direct connection: a transaction pooler would lose the advisory lock
 * @throws StartError one line for the operator
 */
export async function migrate(databaseUrl: string, log: Logger): Promise<void> {
  try {
    const done = await runner({
      databaseUrl: {
        connectionString: databaseUrl,
        application_name: 'glimpse-migrate',
        connectionTimeoutMillis: 10_000,
      },
      dir: MIGRATIONS,
      direction: 'up',
      schema: 'public',
      migrationsSchema: 'glimpse',
      createMigrationsSchema: true,
      migrationsTable: 'migrations',
      advisoryLockMode: 'wait',
      lockValue: LOCK,
      logger: {
        debug: (message) => log.trace({ migration: message }),
        info: (message) => log.trace({ migration: message }),
        warn: (message) => log.warn({ migration: message }),
        error: (message) => log.debug({ migration: message }),
      },
    })
    for (const { name } of done) log.info({ migration: name }, 'migrated')
  } catch (error) {
    throw new StartError(
      `DATABASE_URL: migrating failed: ${(error as Error).message || (error as { code?: string }).code}`,
      { cause: error },
    )
  }
}

/** The migrations that this version knows, in order, as glimpse.migrations names them. */
export async function migrationNames(): Promise<string[]> {
  const files = await readdir(MIGRATIONS)
  return files
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .sort()
}

import { StartError } from '../errors.ts'
import type { Pool } from '../postgres/pool.ts'

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
  if (!row.migrated)
    throw refusal('the schema glimpse is missing or incomplete; run npm run migrate, or leave MIGRATE on')
}

function readRequirements(sql: Pool) {
  return sql<{ version: number; encoding: string; migrated: boolean }[]>`
    select current_setting('server_version_num')::int as version,
           current_setting('server_encoding') as encoding,
           to_regproc('glimpse.record_views') is not null as migrated`.catch((error: Error) => {
    throw refusal(`the database cannot be reached: ${error.message}`, error)
  })
}

function refusal(reason: string, cause?: unknown): StartError {
  return new StartError(`DATABASE_URL: ${reason}`, { cause })
}

import { parseConfig } from '../config.ts'
import { runningUrl } from '../embedded/running.ts'
import { StartError } from '../errors.ts'
import { isUserId } from '../event.ts'
import { type ConnectionOptions, parseConnectionUrl } from '../postgres/connection-url.ts'
import { openPool, type Pool } from '../postgres/pool.ts'
import { type Environment, UsageError } from './command.ts'

/**
 * The database of DATABASE_URL, or the running embedded one.
 *
 * @throws StartError if there is none
 */
export async function findDatabase(environment: Environment): Promise<ConnectionOptions> {
  const parsed = parseConfig(environment)
  if (!parsed.ok) throw new StartError(parsed.problems.join('; '))
  const { database, dataDir } = parsed.config
  const url = database === undefined ? await runningUrl(dataDir) : undefined
  const connection = database ?? (url === undefined ? undefined : parseConnectionUrl(url))
  if (connection === undefined)
    throw new StartError('DATABASE_URL is not set and no embedded Postgres runs; start Glimpse first')
  return connection
}

/**
 * The same by the way that no pooler stands in: LISTEN_DATABASE_URL where it is set.
 *
 * @throws StartError where there is none
 */
export async function findDirectDatabase(environment: Environment): Promise<ConnectionOptions> {
  const parsed = parseConfig(environment)
  return (parsed.ok ? parsed.config.listenDatabase : undefined) ?? findDatabase(environment)
}

/**
 * Runs work on that database. A statement may take up to a day.
 *
 * @param command names the session, and the failed command in errors
 * @throws StartError in one line if it fails
 */
export async function withDatabase<Result>(
  environment: Environment,
  command: string,
  work: (sql: Pool) => Promise<Result>,
): Promise<Result> {
  const sql = openPool(await findDatabase(environment), command, { max: 1, deadlineMs: DAY_MS })
  try {
    return await work(sql)
  } catch (error) {
    throw new StartError(`it failed: ${(error as Error).message}`, { cause: error })
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const DAY_MS = 86_400_000

/** @throws UsageError unless there is exactly one valid user */
export function oneUser(command: string, positionals: readonly string[]): string {
  const [user, ...more] = positionals
  if (user === undefined || more.length > 0) throw new UsageError(`${command} takes one user`)
  return aUser(user)
}

/** @throws UsageError if it is no valid user */
export function aUser(text: string): string {
  if (isUserId(text)) return text
  throw new UsageError('a user has 1 to 255 characters, none of them a control character')
}

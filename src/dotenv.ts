import { existsSync } from 'node:fs'
import { StartError } from './errors.ts'

/**
 * Adds the variables of a file `.env` in the working folder to the environment; those that are set already stand.
 *
 * @throws StartError where there is one that can't be read
 */
export function loadDotenv(): void {
  if (!existsSync('.env')) return
  try {
    process.loadEnvFile('.env')
  } catch (cause) {
    throw new StartError(`.env is there but cannot be read: ${(cause as Error).message}`, { cause })
  }
}

/**
 * The environment as it is now, apart from the process's own. libpq's own variables (PGHOST, PGSSLMODE …) are taken out of the process: what they mean
 * for DATABASE_URL is decided once, where that is parsed, while the drivers would read them each in its own way, for the
 * embedded Postgres too.
 */
export function takeEnvironment(ofProcess: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const environment = { ...ofProcess }
  for (const name of Object.keys(environment)) if (name.startsWith('PG')) delete ofProcess[name]
  return environment
}

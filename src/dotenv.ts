import { existsSync } from 'node:fs'
import { StartError } from './errors.ts'

/**
 * Adds the variables of a file `.env` in the working folder to the environment. Variables that are set already stay.
 *
 * @throws StartError if the file exists but cannot be read
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
 * A copy of the environment. It removes libpq's variables (PGHOST, PGSSLMODE …) from the process: our parser of DATABASE_URL
 * reads them from the copy, while each driver would read them in its own way, even for the embedded Postgres.
 */
export function takeEnvironment(ofProcess: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const environment = { ...ofProcess }
  for (const name of Object.keys(environment)) if (name.startsWith('PG')) delete ofProcess[name]
  return environment
}

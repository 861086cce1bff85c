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

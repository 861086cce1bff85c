import { existsSync } from 'node:fs'

/** Adds the variables of a file `.env` in the working folder to the environment; those that are set already stand. */
export function loadDotenv(): void {
  if (existsSync('.env')) process.loadEnvFile('.env')
}

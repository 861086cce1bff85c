import { parseConfig } from './config.ts'
import { loadDotenv } from './dotenv.ts'
import { StartError } from './errors.ts'
import { createLogger } from './log.ts'
import { migrate } from './store/migrate.ts'

/** `npm run migrate`, and the image's one-shot container: brings the schema of LISTEN_DATABASE_URL, or else DATABASE_URL, up to date, and says what it did. */
loadDotenv()
const log = createLogger('info')
const parsed = parseConfig({
  DATABASE_URL: process.env.DATABASE_URL,
  LISTEN_DATABASE_URL: process.env.LISTEN_DATABASE_URL,
})
const url = parsed.ok ? (parsed.config.listenDatabaseUrl ?? parsed.config.databaseUrl) : undefined
if (!parsed.ok) for (const fault of parsed.faults) log.fatal(fault)
else if (url === undefined)
  log.fatal('DATABASE_URL: must be set; the embedded Postgres is migrated at every start')

if (url === undefined) process.exitCode = 1
else {
  try {
    await migrate(url, log)
    log.info('the schema is up to date')
  } catch (error) {
    log.fatal(error instanceof StartError ? error.message : { err: error })
    process.exitCode = 1
  }
}

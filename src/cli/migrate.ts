import { parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { createLogger } from '../observability/log.ts'
import { migrate as migrateSchema } from '../store/migrate.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse migrate

Brings the schema glimpse of LISTEN_DATABASE_URL, or else DATABASE_URL, up to date and logs what it did.
Any number may run at once: each migration is applied once, in one transaction. Instances with MIGRATE=on (the
default) do this at every start; with MIGRATE=off run it before they start, as a role that may create.

Exit codes: 0 up to date, 1 a fault, 2 called wrongly.
`

export const migrate: Command = {
  help: HELP,
  async run(args, { environment }) {
    if (parse(args, {}).positionals.length > 0) throw new UsageError('migrate takes no arguments')
    return runMigrations(environment)
  },
}

/** Migrates and logs as the service does; resolves to the exit code. */
export async function runMigrations({ DATABASE_URL, LISTEN_DATABASE_URL }: Environment): Promise<number> {
  const log = createLogger('info')
  const parsed = parseConfig({ DATABASE_URL, LISTEN_DATABASE_URL })
  if (!parsed.ok) {
    for (const fault of parsed.faults) log.fatal(fault)
    return EXIT.fault
  }
  const url = parsed.config.listenDatabaseUrl ?? parsed.config.databaseUrl
  if (url === undefined) {
    log.fatal('DATABASE_URL: must be set; the embedded Postgres is migrated at every start')
    return EXIT.fault
  }
  try {
    await migrateSchema(url, log)
    log.info('the schema is up to date')
    return EXIT.ok
  } catch (error) {
    log.fatal(error instanceof StartError ? error.message : { err: error })
    return EXIT.fault
  }
}

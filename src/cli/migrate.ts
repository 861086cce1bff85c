import { parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { createLogger, type Logger } from '../observability/log.ts'
import { logStrayOutput } from '../observability/stray-output.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { migrate as migrateSchema } from '../store/migrate.ts'
import { checkPoolers, untilMigrated } from '../store/requirements.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse migrate [--wait]

Brings the schema glimpse of LISTEN_DATABASE_URL, or else DATABASE_URL, up to date and logs what it did.
Any number may run at once: each migration is applied once, in one transaction. It waits for tables that others
have locked without stopping those who write to them, and logs for whom. Instances with MIGRATE=on (the default) do
this at every start; with MIGRATE=off run it before they start, as a role that may create.

  --wait   change nothing; wait until somebody else has brought the schema up to date for this version

Examples:
  DATABASE_URL=postgres://owner:…@db.example/glimpse glimpse migrate
  glimpse migrate --wait && glimpse serve

Exit codes: 0 up to date, 1 a problem or interrupted before it was, 2 called wrongly.
`

export const migrate: Command = {
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, { wait: { type: 'boolean' } })
    if (positionals.length > 0) throw new UsageError('migrate takes no arguments')
    return runMigrations(
      terminal.environment,
      terminal.interrupted,
      values.wait ? untilMigrated : migrateSchema,
    )
  },
}

/** Migrates, or waits until another has, and logs like the service. Resolves to the exit code. */
export async function runMigrations(
  environment: Environment,
  signal: AbortSignal,
  work: (connection: ConnectionOptions, log: Logger, options: { signal: AbortSignal }) => Promise<void>,
): Promise<number> {
  const log = createLogger('info')
  logStrayOutput(log)
  // Problems with other variables do not matter for a migration.
  const connections = Object.entries(environment).filter(([name]) => /^(LISTEN_)?DATABASE_URL|^PG/.test(name))
  const parsed = parseConfig(Object.fromEntries(connections))
  if (!parsed.ok) {
    for (const problem of parsed.problems) log.fatal(problem)
    return EXIT.problem
  }
  const connection = parsed.config.listenDatabase ?? parsed.config.database
  if (connection === undefined) {
    log.fatal('glimpse migrate needs DATABASE_URL. (The embedded Postgres is migrated by glimpse serve.)')
    return EXIT.problem
  }
  try {
    await checkPoolers({ database: connection, listen: connection, declared: false }, signal)
    await work(connection, log, { signal })
    log.info('the schema is up to date')
    return EXIT.ok
  } catch (error) {
    if (signal.aborted) log.fatal('interrupted before the schema was up to date')
    else log.fatal(error instanceof StartError ? error.message : { err: error })
    return EXIT.problem
  }
}

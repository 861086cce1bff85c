import { createRelay, openLink, startLink } from '../bus/create-bus.ts'
import { parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { createLogger, instanceOf } from '../observability/log.ts'
import { logStrayOutput } from '../observability/stray-output.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse relay

Publishes to NATS what Postgres notifies, until SIGTERM or Ctrl-C, and nothing else: for deployments whose instances
have BUS_RELAY=off, so that only relays may publish. Of several one works, and another takes over where it stops. It
needs BUS_URL and DATABASE_URL (or LISTEN_DATABASE_URL, a direct connection), and no JWT variable.

Examples:
  BUS_URL=tls://relay:…@nats.example DATABASE_URL=postgres://… glimpse relay

Exit codes: 0 stopped, 1 it could not start, 2 called wrongly.
`

/** What concerns a relay; whatever else is wrong with the service's variables does not. */
const CONCERNS = /^(?:(?:LISTEN_)?DATABASE_URL(?:_FILE)?$|PG|BUS_|NODE_ENV$|LOG_LEVEL$)/

export const relay: Command = {
  help: HELP,
  async run(args, { environment, interrupted }) {
    if (parse(args, {}).positionals.length > 0) throw new UsageError('relay takes no arguments')
    return runRelay(environment, interrupted)
  },
}

/** Relays until it is interrupted; resolves to the exit code. */
async function runRelay(environment: Environment, interrupted: AbortSignal): Promise<number> {
  const own = Object.entries(environment).filter(([name]) => CONCERNS.test(name))
  // In production keys must be given, of which a relay has no use.
  const parsed = parseConfig({ ...Object.fromEntries(own), JWKS_URL: 'https://unused.invalid' })
  const log = createLogger(parsed.ok ? parsed.config.logLevel : 'info')
  logStrayOutput(log)
  if (!parsed.ok) {
    for (const problem of parsed.problems) log.fatal(problem)
    return EXIT.problem
  }
  const { bus, database, listenDatabase = database } = parsed.config
  if (bus === undefined || listenDatabase === undefined) {
    log.fatal('glimpse relay needs BUS_URL and DATABASE_URL')
    return EXIT.problem
  }
  const link = openLink(bus, log, instanceOf(log))
  try {
    await startLink(link)
  } catch (error) {
    log.fatal(error instanceof StartError ? error.message : { err: error })
    return EXIT.problem
  }
  const running = createRelay(bus, link, { connection: listenDatabase, log, name: instanceOf(log) })
  running.start()
  await new Promise<void>((resolve) => {
    if (interrupted.aborted) resolve()
    interrupted.addEventListener('abort', () => resolve(), { once: true })
    // Its timers are not what keeps the process.
    setInterval(() => {}, 86_400_000)
  })
  await running.close()
  await link.close()
  log.info('stopped')
  process.exit(EXIT.ok)
}

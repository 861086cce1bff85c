import { parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { createLogger } from '../observability/log.ts'
import { logStrayOutput } from '../observability/stray-output.ts'
import { startService } from '../service.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse serve [--host <host>] [--port <port>]

Runs the service until SIGTERM or Ctrl-C. It logs JSON lines, or lines for people if stdout is a terminal.
npm start does the same after a build. It is configured by environment variables or .env (see .env.example); all
problems are reported at once. Without DATABASE_URL it runs a Postgres of its own in DATA_DIR.

  --host <host>   instead of HOST
  --port <port>   instead of PORT; 0 takes any free port

Examples:
  glimpse serve
  glimpse serve --port 9000 | jq .

Exit codes: 0 stopped after draining, 1 it could not start, 2 called wrongly, 130 stopped by a second Ctrl-C.
`

export const serve: Command = {
  help: HELP,
  async run(args, { environment }) {
    const { values, positionals } = parse(args, { host: { type: 'string' }, port: { type: 'string' } })
    if (positionals.length > 0) throw new UsageError('serve takes no arguments')
    const { host = environment.HOST, port = environment.PORT } = values
    if (values.port !== undefined && !(/^\d{1,5}$/.test(String(port)) && Number(port) < 65_536))
      throw new UsageError('--port must be a whole number from 0 to 65535')
    return runService({ ...environment, HOST: host as string | undefined, PORT: port as string | undefined })
  },
}

/** If draining takes this much longer than DRAIN_TIMEOUT_MS, the process ends anyway. */
const LATE_MS = 100

/**
 * Runs an instance until the end of the process. When it is stopped, it drains and exits with code 0.
 *
 * @returns 1 if it could not start; 0 when it runs, which is not the end
 */
export async function runService(environment: Environment): Promise<number> {
  const parsed = parseConfig(environment)
  if (!parsed.ok) {
    const log = createLogger('info')
    for (const problem of parsed.problems) log.fatal(problem)
    return EXIT.problem
  }
  const log = createLogger(parsed.config.logLevel)
  logStrayOutput(log)
  const starting = new AbortController()
  let stopping = false
  let stop = () => {
    starting.abort()
  }
  const onSignal = (signal: NodeJS.Signals) => {
    // A second Ctrl-C means: stop now.
    if (stopping && signal === 'SIGINT') process.exit(130)
    if (stopping) return
    stopping = true
    // For anything that hangs: an aborted step of the start, or a part that cannot be closed.
    setTimeout(() => process.exit(EXIT.ok), parsed.config.drainTimeoutMs + LATE_MS)
    stop()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  if (environment.npm_lifecycle_event !== undefined) whenParentEnds(() => onSignal('SIGTERM'))

  try {
    const service = await startService(parsed.config, log, starting.signal)
    const exit = async () => {
      await service.drain().catch((err) => log.error({ err }, 'draining failed'))
      process.exit(EXIT.ok)
    }
    stop = () => void exit()
    if (stopping) stop()
    return EXIT.ok
  } catch (error) {
    if (stopping) {
      log.info('stopped while starting')
      // An aborted step may still wait for something.
      process.exit(EXIT.ok)
    }
    if (error instanceof StartError) log.fatal(error.message)
    else log.fatal({ err: error }, 'the service could not start')
    return EXIT.problem
  }
}

/** Under `npm start`, SIGTERM to npm ends only the shell in between: without this the service would keep running. */
function whenParentEnds(callback: () => void): void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    callback()
  }, 500).unref()
}

import { createRelay, openLink, startLink } from '../bus/create-bus.ts'
import { type Config, type ConfigResult, parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { INFO } from '../http/documents/info.ts'
import { listen, stopListening } from '../http/listen.ts'
import { createProbeServer } from '../http/probe-server.ts'
import { pause } from '../limits/pause.ts'
import { registerRelayGauges } from '../observability/gauges.ts'
import { createLogger, instanceOf, type Logger } from '../observability/log.ts'
import { countRelay, createRelayMetrics } from '../observability/metrics.ts'
import { logStrayOutput } from '../observability/stray-output.ts'
import { cannotConnect } from '../postgres/connection-error.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { refusePooled } from '../store/requirements.ts'
import { UndoStack } from '../undo.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse relay

Publishes to NATS what Postgres notifies, until SIGTERM or Ctrl-C, and nothing else: for deployments whose instances
have BUS_RELAY=off, so that only relays may publish. Of several one works, and another takes over where it stops. It
needs BUS_URL and DATABASE_URL (or LISTEN_DATABASE_URL, a direct connection), and no JWT variable.

Where PORT or ADMIN_PORT is set, it answers /livez, /healthz and /readyz there, and /metrics on ADMIN_PORT, else PORT.
It is ready while it relays, or would take over where the one that relays stops.

Examples:
  BUS_URL=tls://relay:…@nats.example DATABASE_URL=postgres://… ADMIN_PORT=9090 glimpse relay

Exit codes: 0 stopped, 1 it could not start, 2 called wrongly.
`

/** What concerns a relay; whatever else is wrong with the service's variables does not. */
const CONCERNS =
  /^(?:(?:LISTEN_)?DATABASE_URL(?:_FILE)?$|DATABASE_POOLER$|PG|BUS_|NODE_ENV$|LOG_LEVEL$|HOST$|(?:ADMIN_)?PORT$|DRAIN_TIMEOUT_MS$)/

/** Between two attempts to reach Postgres. */
const RETRY_MS = 500

/** If stopping takes this much longer than DRAIN_TIMEOUT_MS, the process ends anyway. */
const LATE_MS = 100

export const relay: Command = {
  help: HELP,
  async run(args, { environment, interrupted }) {
    if (parse(args, {}).positionals.length > 0) throw new UsageError('relay takes no arguments')
    return runRelay(environment, interrupted)
  },
}

/** The variables of a relay, parsed as those of the service are. */
export function parseRelayConfig(environment: Environment): ConfigResult {
  const own = Object.entries(environment).filter(([name]) => CONCERNS.test(name))
  return parseConfig(Object.fromEntries(own), 'relay')
}

/** Relays until it is interrupted; resolves to the exit code of a start that failed. */
async function runRelay(environment: Environment, interrupted: AbortSignal): Promise<number> {
  const parsed = parseRelayConfig(environment)
  const log = createLogger(parsed.ok ? parsed.config.logLevel : 'info')
  logStrayOutput(log)
  if (!parsed.ok) {
    for (const problem of parsed.problems) log.fatal(problem)
    return EXIT.problem
  }
  const { config } = parsed
  const stopped = new Promise<void>((resolve) => {
    const stop = () => {
      // For anything that hangs, such as a NATS server that takes no bytes.
      setTimeout(() => process.exit(EXIT.ok), config.drainTimeoutMs + LATE_MS)
      resolve()
    }
    if (interrupted.aborted) stop()
    else interrupted.addEventListener('abort', stop, { once: true })
  })
  const undo = new UndoStack((what, error) => log.warn({ err: error, what }, 'a part could not be closed'))
  try {
    await Promise.race([start(config, environment, log, undo, interrupted), stopped])
  } catch (error) {
    log.fatal(error instanceof StartError ? error.message : { err: error })
    await undo.undo(config.drainTimeoutMs)
    return EXIT.problem
  }
  // Its timers are not what keeps the process.
  const keeps = setInterval(() => {}, 86_400_000)
  await stopped
  clearInterval(keeps)
  await undo.undo(config.drainTimeoutMs)
  log.info('stopped')
  process.exit(EXIT.ok)
}

/**
 * Waits for Postgres, and refuses a transaction pooler: its lock would stay in the pooler, where nobody else could take it,
 * and no notification would come out.
 */
async function checkWay(
  variable: 'DATABASE_URL' | 'LISTEN_DATABASE_URL',
  connection: ConnectionOptions,
  log: Logger,
  interrupted: AbortSignal,
): Promise<void> {
  for (let told = false; !interrupted.aborted; told = true) {
    try {
      return await refusePooled(variable, connection, interrupted)
    } catch (error) {
      if (error instanceof StartError) throw error
      const reason = cannotConnect(variable, connection, error as Error).message
      if (!told && !interrupted.aborted)
        log.warn({ reason }, 'the relay cannot listen to Postgres; trying again')
      await pause(RETRY_MS, interrupted)
    }
  }
}

async function start(
  config: Config,
  environment: Environment,
  log: Logger,
  undo: UndoStack,
  interrupted: AbortSignal,
): Promise<void> {
  const { bus, database, listenDatabase } = config
  const connection = listenDatabase ?? database
  if (bus === undefined || connection === undefined)
    throw new StartError('glimpse relay needs BUS_URL and DATABASE_URL or LISTEN_DATABASE_URL')
  const metrics = createRelayMetrics()
  metrics.eventLoop.start()
  undo.push('event loop', () => metrics.eventLoop.stop())
  const { onConnected, ...counting } = countRelay(metrics)
  const link = openLink(bus, log, instanceOf(log), onConnected)
  const relaying = createRelay(bus, link, {
    connection,
    log,
    name: instanceOf(log),
    ...counting,
  })
  const problems = () =>
    [interrupted.aborted ? 'draining' : relaying.problem].filter((one) => one !== undefined)
  registerRelayGauges(metrics.registry, { unready: problems, version: INFO.version })

  const probes = async (variable: 'ADMIN_PORT' | 'PORT', port: number, withMetrics: boolean) => {
    const server = createProbeServer({ unready: problems, ...(withMetrics ? metrics : {}) })
    const url = await listen(server, variable, config.host, port)
    undo.push(variable, () => stopListening(server))
    return url
  }
  const { adminPort } = config
  const adminUrl = adminPort === undefined ? undefined : await probes('ADMIN_PORT', adminPort, true)
  // Unlike an instance, a relay need not be found by anybody: without the variable it takes no port.
  const url =
    (environment.PORT ?? '') === '' ? undefined : await probes('PORT', config.port, adminPort === undefined)
  log.info({ url, adminUrl }, 'starting to relay')

  undo.push('NATS', () => link.close())
  await startLink(link)
  await checkWay(
    listenDatabase === undefined ? 'DATABASE_URL' : 'LISTEN_DATABASE_URL',
    connection,
    log,
    interrupted,
  )
  if (interrupted.aborted) return
  undo.push('relay', () => relaying.close())
  relaying.start()
}

import { parseConfig } from './config.ts'
import { loadDotenv } from './dotenv.ts'
import { StartError } from './errors.ts'
import { createLogger } from './log.ts'
import { startService } from './service.ts'

/** The process's edge: the environment, signals and the exit code. Nothing else looks at them. */
async function main(): Promise<void> {
  loadDotenv()
  const parsed = parseConfig(process.env)
  if (!parsed.ok) {
    const log = createLogger('info')
    for (const fault of parsed.faults) log.fatal(fault)
    process.exitCode = 1
    return
  }
  const log = createLogger(parsed.config.logLevel)
  let stopping = false
  let stop = () => {}
  const onSignal = (signal: NodeJS.Signals) => {
    // Asked twice, a person at a terminal means now.
    if (stopping && signal === 'SIGINT') process.exit(130)
    if (stopping) return
    stopping = true
    stop()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  if (process.env.npm_lifecycle_event !== undefined) whenParentEnds(() => onSignal('SIGTERM'))

  try {
    const service = await startService(parsed.config, log)
    const exit = async () => {
      await service.drain()
      process.exit(0)
    }
    stop = () => void exit()
    if (stopping) stop()
  } catch (error) {
    if (error instanceof StartError) log.fatal(error.message)
    else log.fatal({ err: error }, 'the service could not start')
    process.exitCode = 1
  }
}

/** Under `npm start`, SIGTERM to npm ends only the shell between: without this the service would go on unseen. */
function whenParentEnds(callback: () => void): void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    callback()
  }, 500).unref()
}

await main()

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
    stopping = true
    stop()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)

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

await main()

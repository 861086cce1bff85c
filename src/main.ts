import { runService } from './cli/serve.ts'
import { loadDotenv, takeEnvironment } from './dotenv.ts'
import { createLogger } from './observability/log.ts'

/** The service alone, as `npm start` and containers run it; the command line is cli/main.ts. */
try {
  loadDotenv()
  process.exitCode = await runService(takeEnvironment(process.env))
} catch (error) {
  createLogger('info').fatal((error as Error).message)
  process.exitCode = 1
}

import { runService } from './cli/serve.ts'
import { loadDotenv } from './dotenv.ts'

/** The service alone, as `npm start` and containers run it; the command line is cli/main.ts. */
loadDotenv()
process.exitCode = await runService(process.env)

import { runMigrations } from './cli/migrate.ts'
import { loadDotenv } from './dotenv.ts'

/** `npm run migrate`, and the image's one-shot container: what `glimpse migrate` does. */
loadDotenv()
process.exitCode = await runMigrations(process.env)

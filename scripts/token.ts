import { isClear } from '../src/cli/clear.ts'
import { EXIT } from '../src/cli/command.ts'
import { token } from '../src/cli/token.ts'
import { loadDotenv } from '../src/dotenv.ts'

/** `npm run -s token -- alice`: what `glimpse token alice` does, without a build; any refusal is exit code 1. */
const args = process.argv.slice(2)
if (args.includes('--help') || args.includes('-h')) process.stdout.write(token.help)
else {
  const { stdout, stderr } = process
  loadDotenv()
  try {
    await token.run(args, {
      environment: process.env,
      stdout,
      stderr,
      interrupted: new AbortController().signal,
    })
  } catch (error) {
    console.error(isClear(error) ? `token: ${error.message}` : error)
    process.exitCode = EXIT.problem
  }
}

/** Prints a development token: `npm run -s token -- alice`. */
import { parseArgs } from 'node:util'
import { parseConfig } from '../src/config.ts'
import { loadDotenv } from '../src/dotenv.ts'
import { GlimpseError, StartError } from '../src/errors.ts'
import { developmentSecret } from '../src/http/auth/development-secret.ts'
import { issueToken } from '../src/http/auth/issue-token.ts'

const USAGE = `Usage: npm run -s token -- <user> [--expires-in <seconds>]

Prints a token that lets <user> in, for 3600 seconds unless said otherwise, and nothing else.
Signed with JWT_SECRET, else with the development secret in DATA_DIR (made where there is none);
JWT_ISSUER and JWT_AUDIENCE go into it where they are set. For development only.`

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { 'expires-in': { type: 'string', default: '3600' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) {
    console.log(USAGE)
    return
  }
  const [user, ...more] = positionals
  if (user === undefined || more.length > 0)
    throw new StartError('name one user, for instance: npm run -s token -- alice')

  loadDotenv()
  const { NODE_ENV, JWKS_URL, JWT_SECRET, JWT_ISSUER, JWT_AUDIENCE, DATA_DIR } = process.env
  if (NODE_ENV === 'production')
    throw new StartError('with NODE_ENV=production tokens come from your issuer, not from here')
  if (JWKS_URL) throw new StartError('with JWKS_URL only the issuer behind it can sign tokens')
  const parsed = parseConfig({ JWT_SECRET, JWT_ISSUER, JWT_AUDIENCE, DATA_DIR })
  if (!parsed.ok) throw new StartError(parsed.faults.join('; '))

  const { auth, dataDir } = parsed.config
  const secret = auth.secret ?? (await developmentSecret(dataDir))
  console.log(await issueToken(secret, user, Number(values['expires-in']), auth))
}

main().catch((error: unknown) => {
  console.error(isClear(error) ? `token: ${error.message}` : error)
  process.exitCode = 1
})

function isClear(error: unknown): error is Error {
  if (error instanceof StartError || error instanceof GlimpseError) return true
  return error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

import { developmentSecret } from '../auth/development-secret.ts'
import { issueToken } from '../auth/issue-token.ts'
import { parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse token <user> [--expires-in <seconds>]

Prints a token that lets <user> in, for 3600 seconds unless said otherwise, and nothing else.
Signed with JWT_SECRET, else with the development secret in DATA_DIR (made where there is none);
JWT_ISSUER and JWT_AUDIENCE go into it where they are set. For development only.

Exit codes: 0 printed, 1 a fault, 2 called wrongly.
`

export const token: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, { 'expires-in': { type: 'string', default: '3600' } })
    const [user, ...more] = positionals
    if (user === undefined || more.length > 0)
      throw new UsageError('name one user, for instance: glimpse token alice')
    stdout.write(`${await mintToken(environment, user, Number(values['expires-in']))}\n`)
    return EXIT.ok
  },
}

/**
 * A development token for `user`, signed with what the service on the same variables verifies with.
 *
 * @throws StartError where tokens come from elsewhere or a variable is at fault, GlimpseError `invalid_field`
 */
export async function mintToken(
  environment: Environment,
  user: string,
  expiresInSeconds: number,
): Promise<string> {
  const { NODE_ENV, JWKS_URL, DATA_DIR } = environment
  if (NODE_ENV === 'production')
    throw new StartError('with NODE_ENV=production tokens come from your issuer, not from here')
  const jwt = Object.entries(environment).filter(([name]) => name.startsWith('JWT_'))
  const parsed = parseConfig({ ...Object.fromEntries(jwt), DATA_DIR })
  if (!parsed.ok) throw new StartError(parsed.faults.join('; '))
  const { auth, dataDir } = parsed.config
  if (JWKS_URL && auth.secrets.length === 0)
    throw new StartError('with JWKS_URL and no JWT_SECRET only the issuer behind it can sign tokens')
  return issueToken(auth.secrets[0] ?? (await developmentSecret(dataDir)), user, expiresInSeconds, auth)
}

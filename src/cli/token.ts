import { existingDevelopmentSecret } from '../auth/development-secret.ts'
import { issueToken, TOKEN_MAX_SECONDS } from '../auth/issue-token.ts'
import { parseConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { type Command, type Environment, EXIT, parse, UsageError } from './command.ts'
import { parseDuration } from './duration.ts'

const HELP = `Usage: glimpse token <user> [--expires-in <time>] [--json]

Prints a token that lets <user> in, for an hour unless said otherwise, and nothing else.
It is signed with JWT_SECRET, or else with the development secret that the service made in DATA_DIR, so run it in the
folder of the service. JWT_ISSUER, JWT_AUDIENCE and JWT_USER_CLAIM go into it if they are set. For development only.

  --expires-in <time>   such as 90 (seconds), 45s, 30m, 1h or 1d; at most 365 days
  --json                {"token", "user", "expires_at"} instead of the token alone

Examples:
  glimpse token alice
  curl -N "http://127.0.0.1:8080/events?token=$(glimpse token alice --expires-in 1d)"

Exit codes: 0 printed, 1 a problem (no secret, or tokens come from elsewhere), 2 called wrongly.
`

export const token: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, {
      'expires-in': { type: 'string', default: '1h' },
      json: { type: 'boolean' },
    })
    const [user, ...more] = positionals
    if (user === undefined || more.length > 0)
      throw new UsageError('name one user, for instance: glimpse token alice')
    const seconds = parseDuration('--expires-in', String(values['expires-in']), TOKEN_MAX_SECONDS)
    const minted = await mintToken(environment, user, seconds)
    const expires_at = new Date(Math.floor(Date.now() / 1000 + seconds) * 1000).toISOString()
    stdout.write(`${values.json ? JSON.stringify({ token: minted, user, expires_at }) : minted}\n`)
    return EXIT.ok
  },
}

/**
 * A development token for `user`, signed with the secret of a service with the same variables. It creates no secret.
 *
 * @throws StartError if tokens come from elsewhere or a variable is wrong; GlimpseError `invalid_field`
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
  if (!parsed.ok) throw new StartError(parsed.problems.join('; '))
  const { auth, dataDir } = parsed.config
  if (JWKS_URL && auth.secrets.length === 0)
    throw new StartError('with JWKS_URL and no JWT_SECRET only the issuer behind it can sign tokens')
  const secret = auth.secrets[0] ?? (await existingDevelopmentSecret(dataDir))
  return issueToken(secret, user, expiresInSeconds, auth)
}

import { existsSync, readFileSync } from 'node:fs'
import { isDeepStrictEqual, parseEnv } from 'node:util'
import { type Config, parseConfig } from '../../config.ts'
import { VARIABLES } from '../../environment.ts'
import { SAMPLE_SECRETS } from '../../secrets.ts'
import type { Environment } from '../command.ts'
import { nearest } from '../nearest.ts'
import { type Finding, ok, problem, warning } from './finding.ts'

const NEW_SECRET = `node -p "require('crypto').randomBytes(32).toString('base64url')" makes one`

/** How to fix a problem, by its variables. The problem itself says which values are allowed. */
const FIXES: Readonly<Record<string, string>> = {
  JWT_SECRET: `use a longer secret: ${NEW_SECRET}`,
  'JWT_SECRET, JWKS_URL': `keep JWKS_URL where an identity provider signs your tokens, else JWT_SECRET: ${NEW_SECRET}`,
  DATABASE_URL:
    'write it as postgres://user:password@host:5432/database; percent-encode what is special in a password',
  BUS_URL:
    'write it as tls://user:password@host:4222, several with commas between; percent-encode what is special in a password',
  BUS_CA: 'name a PEM file with the certificate of the authority that signed those of the NATS servers',
  BUS_CREDENTIALS: "name the credentials file of this user of NATS, or a file with its nkey's seed",
  LISTEN_DATABASE_URL:
    'write it as DATABASE_URL, with the host and port of Postgres itself instead of the pooler',
}

export interface ConfigurationReport {
  readonly findings: Finding[]
  /** The configuration for the other checks, without the wrong variables. */
  readonly config: Config
  /** Whether DATABASE_URL is set but wrong, so that the database is unknown rather than embedded. */
  readonly databaseUnknown: boolean
  /** Whether what belongs to BUS_URL is wrong, so that NATS cannot be tried. */
  readonly busUnknown: boolean
}

/**
 * Parses the variables as the service does. The rest is checked even if some are wrong.
 *
 * @param parse parses them, as the service or as a relay does
 */
export function checkConfiguration(environment: Environment, parse = parseConfig): ConfigurationReport {
  const parsed = parse(environment)
  const problems = parsed.ok ? [] : parsed.problems
  const config = parsed.ok ? parsed.config : withoutFaulty(environment, problems, parse)
  return {
    config,
    databaseUnknown: namesOf(problems).some((name) => ['DATABASE_URL', 'DATABASE_URL_FILE'].includes(name)),
    busUnknown: namesOf(problems).some((name) => /^BUS_(?:URL|CA|CREDENTIALS)/.test(name)),
    findings: [
      ...(parsed.ok ? [ok('configuration', setHere(environment))] : []),
      ...problems.map((text) => {
        const [names = ''] = text.split(': ')
        return problem(
          'configuration',
          text,
          FIXES[names] ?? `correct ${names} in the environment or in .env`,
        )
      }),
      ...checkFile(),
      ...checkSense(config),
    ],
  }
}

/** The variables of problems of the form `NAME: what is wrong` or `NAME, NAME: …`. */
function namesOf(problems: readonly string[]): string[] {
  return problems.flatMap((text) => text.split(': ')[0]?.split(', ') ?? [])
}

function setHere(environment: Environment): string {
  const { length } = VARIABLES.filter((name) => (environment[name] ?? '') !== '')
  return length === 1 ? '1 variable set, and it is valid' : `${length} variables set, all valid`
}

function withoutFaulty(
  environment: Environment,
  problems: readonly string[],
  parse: typeof parseConfig,
): Config {
  const named = new Set(namesOf(problems))
  // What production requires was reported; without it the rest of the configuration can be checked.
  const rest = Object.entries(environment).filter(([name]) => !named.has(name) && name !== 'NODE_ENV')
  const parsed = parse(Object.fromEntries(rest))
  const defaults = parseConfig({})
  if (parsed.ok) return parsed.config
  if (defaults.ok) return defaults.config
  throw new Error('the defaults are not valid')
}

/** A misspelt variable has no effect and gives no error: only in .env can it be found. */
function checkFile(): Finding[] {
  if (!existsSync('.env')) return []
  const names = Object.keys(parseEnv(readFileSync('.env', 'utf8')))
  return names
    .filter((name) => !VARIABLES.includes(name))
    .flatMap((name) => {
      const meant = nearest(name, VARIABLES)
      // The file may contain variables of other programs.
      if (meant === undefined) return []
      return [
        problem('.env', `${name} is no variable of Glimpse`, `rename it to ${meant}, if that was meant`),
      ]
    })
}

/** Settings that are valid but probably not wanted. */
function checkSense(config: Config): Finding[] {
  const findings: Finding[] = []
  if (config.auth.secrets.some((secret) => SAMPLE_SECRETS.has(secret)))
    findings.push(
      problem(
        'secret',
        'JWT_SECRET or JWT_SECRET_PREVIOUS is the sample that everybody can read',
        `use one of your own: ${NEW_SECRET}`,
      ),
    )
  const open = !['127.0.0.1', '::1', 'localhost'].includes(config.host)
  if (config.devTokens && config.auth.jwksUrls.length === 0 && open)
    findings.push(
      warning(
        'secret',
        `with DEV_TOKENS=on and HOST ${config.host}, POST /dev/tokens gives a token for any user to whatever passes requests on from this machine`,
        'set NODE_ENV=production, or HOST=127.0.0.1',
      ),
    )
  if (config.auth.jwksUrls.some((url) => url.startsWith('http://')) && config.production)
    findings.push(
      warning('key set', 'JWKS_URL is not https: whoever stands in between can sign tokens', 'use https'),
    )
  if (config.heartbeatIntervalMs >= 60_000)
    findings.push(
      warning(
        'heartbeat',
        'HEARTBEAT_INTERVAL_MS is a minute or more: common proxies cut a connection that is silent for 60 s',
        'keep it well under the idle timeout of every proxy in between; the default is 15000',
      ),
    )
  if (config.database !== undefined && isDeepStrictEqual(config.listenDatabase, config.database))
    findings.push(
      warning(
        'configuration',
        'LISTEN_DATABASE_URL is the same as DATABASE_URL',
        'leave it out, or name the direct way to Postgres where DATABASE_URL goes through a pooler',
      ),
    )
  return findings
}

import { parseConfig } from '../config.ts'
import { type Environment, type Option, UsageError } from './command.ts'
import { mintToken } from './token.ts'

/** Options of the commands that call a running service. */
export const callerOptions = {
  token: { type: 'string' },
  url: { type: 'string' },
} as const satisfies Record<string, Option>

const TOKEN_SECONDS = 3600

/** Where the service is, without a slash at the end: `--url`, else where one with the same HOST and PORT listens. */
export function serviceUrl(environment: Environment, url: string | boolean | undefined): string {
  if (typeof url === 'string') {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw new UsageError('--url must be an http(s) URL, such as http://127.0.0.1:8080')
    return url.replace(/\/+$/, '')
  }
  const { HOST, PORT } = environment
  const parsed = parseConfig({ HOST, PORT })
  if (!parsed.ok) throw new UsageError(parsed.faults.join('; '))
  const { host, port } = parsed.config
  // The addresses for all of a machine's own are none that can be called.
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}

/**
 * Where tokens come from: always the given one, or a new development token for the user at each call.
 *
 * @param option how the command names the user
 */
export async function tokenOf(
  environment: Environment,
  { user, token, option }: { user: unknown; token: unknown; option: string },
): Promise<() => Promise<string>> {
  if (typeof token === 'string' && user === undefined) return async () => token
  if (typeof user !== 'string' || token !== undefined)
    throw new UsageError(`say who it is: either ${option}, or --token with a token of your own`)
  const mint = () => mintToken(environment, user, TOKEN_SECONDS)
  // What is wrong with the user or the secret is said at once.
  const first = await mint()
  let fresh: string | undefined = first
  return async () => {
    const next = fresh ?? (await mint())
    fresh = undefined
    return next
  }
}

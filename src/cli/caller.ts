import { resolve } from 'node:path'
import { parseConfig } from '../config.ts'
import { CallError, type Environment, EXIT, type Option, printable, UsageError } from './command.ts'
import { mintToken } from './token.ts'

/** Options of the commands that call a running service. */
export const callerOptions = {
  token: { type: 'string' },
  url: { type: 'string' },
} as const satisfies Record<string, Option>

const TOKEN_SECONDS = 3600

/** Timeout of an answer, ms. */
const ANSWER_MS = 15_000

/**
 * The service's URL without a slash at the end: `--url`, else GLIMPSE_URL, else the address of HOST and PORT.
 */
export function serviceUrl(environment: Environment, option: string | boolean | undefined): string {
  const { HOST, PORT, GLIMPSE_URL } = environment
  const [name, url] =
    typeof option === 'string' ? ['--url', option] : ['GLIMPSE_URL', GLIMPSE_URL || undefined]
  if (url !== undefined) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw new UsageError(`${name} must be an http(s) URL, such as http://127.0.0.1:8080`)
    return url.replace(/\/+$/, '')
  }
  const parsed = parseConfig({ HOST, PORT })
  if (!parsed.ok) throw new UsageError(parsed.problems.join('; '))
  const { host, port } = parsed.config
  // 0.0.0.0 and :: mean all addresses of a machine; they cannot be called.
  const called = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${called.includes(':') ? `[${called}]` : called}:${port}`
}

/** The user as whom a command calls. */
export interface Credentials {
  getToken(): Promise<string>
  /** A given token, which cannot be renewed. */
  readonly fixed: string | undefined
  /** For the message about a refused token: which secret signed it, or where it was given. Never the token or the secret. */
  readonly origin: string
}

/**
 * The token for calls: `--token`; else, if no user is named, GLIMPSE_TOKEN; else a new development token for the user at each
 * call.
 *
 * @param missing the message if neither a user nor a token is given
 * @throws UsageError, or StartError if there is no secret to sign with
 */
export async function credentialsOf(
  environment: Environment,
  { user, token, missing }: { user: unknown; token: unknown; missing: string },
): Promise<Credentials> {
  if (typeof token === 'string') {
    if (user !== undefined)
      throw new UsageError('a user and --token exclude each other: the token names its user')
    return given(token, 'the token of --token')
  }
  if (typeof user !== 'string') {
    if (environment.GLIMPSE_TOKEN) return given(environment.GLIMPSE_TOKEN, 'the token of GLIMPSE_TOKEN')
    throw new UsageError(missing)
  }
  const mint = () => mintToken(environment, user, TOKEN_SECONDS)
  // Signed once now, to report a wrong user or secret at once.
  let fresh: string | undefined = await mint()
  return {
    fixed: undefined,
    origin: `a token signed with ${secretName(environment)}`,
    async getToken() {
      const next = fresh ?? (await mint())
      fresh = undefined
      return next
    },
  }
}

function given(token: string, origin: string): Credentials {
  return { fixed: token, origin, getToken: async () => token }
}

function secretName({ JWT_SECRET, JWT_SECRET_FILE, DATA_DIR }: Environment): string {
  if (JWT_SECRET) return 'JWT_SECRET'
  if (JWT_SECRET_FILE) return `JWT_SECRET_FILE (${resolve(JWT_SECRET_FILE)})`
  return `the development secret ${resolve(DATA_DIR || '.glimpse', 'jwt-secret')}`
}

/** The error for a 401. */
export function unauthorized(detail: string, { origin }: Pick<Credentials, 'origin'>): CallError {
  const hint = origin.startsWith('the token')
    ? ''
    : '; the service may have another secret: run this in its folder, set JWT_SECRET as it has it, or use --token'
  return new CallError(EXIT.unauthorized, `401: ${printable(detail)} The service refused ${origin}${hint}`)
}

/** The error for a service that cannot be reached. */
export function unreachable(url: string, reason: string): CallError {
  return new CallError(
    EXIT.unreachable,
    `cannot reach ${new URL(url).origin} (${printable(reason)}). Start the service with: glimpse serve`,
  )
}

/** Turns fetch's error for an unreachable service into a clear one; other errors are returned unchanged. */
export function fetchFailure(url: string, error: unknown): unknown {
  const { name, cause } = error as Error
  if (name !== 'TypeError' && name !== 'TimeoutError') return error
  const { code, message } = (cause ?? error) as NodeJS.ErrnoException
  return unreachable(url, code ?? message)
}

export type Json = Readonly<Record<string, unknown>>

/**
 * Calls the service and resolves to its answer.
 *
 * @throws CallError if it refuses the request or the token, or cannot be reached
 */
export async function callService(
  url: string,
  credentials: Credentials,
  { method = 'GET', body }: { method?: string; body?: object | undefined } = {},
): Promise<Json> {
  const token = await credentials.getToken()
  let response: Response
  try {
    response = await fetch(url, {
      method,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
  } catch (error) {
    throw fetchFailure(url, error)
  }
  const answer = (await response.json().catch(() => ({}))) as Json
  if (response.ok) return answer
  const detail = String(answer.detail ?? answer.type ?? '')
  if (response.status === 401) throw unauthorized(detail, credentials)
  throw new CallError(EXIT.refused, `${response.status} ${answer.title ?? ''}: ${printable(detail)}`)
}

import type { Message } from './types.ts'

/** What every request to the service needs. */
export interface Caller {
  /** Of the service, with a slash at its end. */
  readonly base: URL
  readonly fetch: typeof fetch
  /** undefined: the cookie identifies the user. */
  readonly token: string | undefined
  readonly signal: AbortSignal
}

/** One try at a connection, shared by the stream that wants it and the transport that makes it. */
export interface Attempt extends Caller {
  token: string | undefined
  /** A cursor, `0` for all events kept, or undefined to begin now. */
  readonly after: string | undefined
  /** The transport calls it when bytes have arrived. */
  readonly alive: () => void
  /** Set by a transport that cannot see heartbeats: asks the service for an answer. */
  probe?: () => void
  /** Set by a transport that can renew its token; with any other the stream reconnects. */
  renew?: (token: string) => void
}

/** Connects and yields the messages. Returns if the connection ended without a reason, throws the reason if there is one. */
export type Open = (attempt: Attempt) => AsyncGenerator<Message, void, void>

type Parameters = Readonly<Record<string, string | undefined>>

export const JSON_TYPE = 'application/json'

/** The service, or a proxy in front of it, gave another answer than the one asked for. */
export class Refused extends Error {
  readonly status: number
  readonly retryAfterMs: number
  /** Whether the service said it, not a proxy. */
  readonly isProblem: boolean

  constructor(status: number, message: string, retryAfterMs: number, isProblem: boolean) {
    super(message)
    this.status = status
    this.retryAfterMs = retryAfterMs
    this.isProblem = isProblem
  }
}

/** An address of the service. A parameter that is undefined is left out. */
export function urlOf(base: URL, path: string, parameters: Parameters): URL {
  const url = new URL(path, base)
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) url.searchParams.set(name, value)
  return url
}

/**
 * Sends a request to the service.
 *
 * @param type media type of the answer and of the body
 * @throws Refused if the answer is anything else; what `fetch` throws if there is none
 */
export async function ask(
  { base, fetch, token, signal }: Caller,
  path: string,
  type: string,
  parameters: Parameters = {},
  init: RequestInit = {},
): Promise<Response> {
  const headers: Record<string, string> = { accept: type }
  if (token !== undefined) headers.authorization = `Bearer ${token}`
  if (init.body !== undefined) headers['content-type'] = type
  const response = await fetch(urlOf(base, path, parameters), {
    ...init,
    headers,
    credentials: token === undefined ? 'include' : 'omit',
    cache: 'no-store',
    signal,
  })
  const answered = typeOf(response)
  if (!response.ok || !answered.startsWith(type)) throw await refusalOf(response)
  return response
}

function typeOf({ headers }: Response): string {
  return headers.get('content-type') ?? ''
}

/** Reads a refusal (RFC 9457) and how long it asks to wait (RFC 9110 §10.2.3: seconds or a date). */
async function refusalOf(response: Response): Promise<Refused> {
  const isProblem = typeOf(response).includes('problem+json')
  const problem = await (isProblem ? response.json() : response.body?.cancel())?.catch(() => {})
  const asked = response.headers.get('retry-after') ?? ''
  const retryAfterMs = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now()
  const message = problem?.detail ?? problem?.title ?? `status ${response.status}`
  return new Refused(response.status, message, Math.max(retryAfterMs || 0, 0), isProblem)
}

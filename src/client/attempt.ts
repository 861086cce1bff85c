import type { Message } from './types.ts'

/** One try at a connection, shared by the stream that wants it and the transport that makes it. */
export interface Attempt {
  /** Of the service, with a slash at its end. */
  readonly base: URL
  token: string | undefined
  /** A cursor, `0` for all that is kept, or undefined for what comes from now on. */
  readonly after: string | undefined
  readonly signal: AbortSignal
  /** The transport says: bytes have arrived. */
  readonly alive: () => void
  /** Set by a transport whose own heartbeats are hidden from it: asks the service for a sign of life. */
  probe?: () => void
  /** Set by a transport that can go on with a fresh token; elsewhere the stream connects again. */
  renew?: (token: string) => void
}

/** Makes a connection and yields what it brings. Returns where it ended without a word, throws why where that is known. */
export type Open = (attempt: Attempt) => AsyncGenerator<Message, void, void>

/** The service, or something before it, answered with something other than what was asked for. */
export class Refused extends Error {
  readonly status: number
  readonly retryAfterMs: number
  /** The service's own word, in contrast to a proxy's page. */
  readonly isProblem: boolean

  constructor(status: number, message: string, retryAfterMs: number, isProblem: boolean) {
    super(message)
    this.status = status
    this.retryAfterMs = retryAfterMs
    this.isProblem = isProblem
  }
}

/** Reads a refusal (RFC 9457) and how long it asks to wait (RFC 9110 §10.2.3: seconds or a date). */
export async function refusalOf(response: Response): Promise<Refused> {
  const isProblem = response.headers.get('content-type')?.includes('problem+json') === true
  const problem = isProblem ? await response.json().catch(() => undefined) : undefined
  if (!isProblem) void response.body?.cancel().catch(() => {})
  const asked = response.headers.get('retry-after') ?? ''
  const retryAfterMs = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now()
  const message = problem?.detail ?? problem?.title ?? `status ${response.status}`
  return new Refused(response.status, message, Math.max(retryAfterMs || 0, 0), isProblem)
}

/** What a request with this attempt's token looks like; without one the cookie is to speak. */
export function requestInit(
  { token, signal }: Pick<Attempt, 'token' | 'signal'>,
  accept: string,
): RequestInit {
  return {
    headers: token === undefined ? { accept } : { accept, authorization: `Bearer ${token}` },
    credentials: token === undefined ? 'include' : 'omit',
    cache: 'no-store',
    signal,
  }
}

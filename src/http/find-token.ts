import type { IncomingMessage } from 'node:http'
import { GlimpseError } from '../errors.ts'
import { originVerdict } from './origin.ts'
import { countHeaders } from './request-head.ts'

export interface Carriers {
  /** Whether `?token=` counts: only for streams, which browsers open without headers. URLs end up in logs. */
  readonly query: boolean
  /** Whether `?token=` is refused where it would count. */
  readonly tokenInUrl: boolean
  /** Origins besides the service's own whose pages may send the cookie. */
  readonly corsOrigins: readonly string[]
}

export const TOKEN_COOKIE = 'glimpse_token'

/**
 * The token of a request, from the first carrier that is there: `Authorization: Bearer` (RFC 6750 §2.1), `?token=`,
 * the cookie `glimpse_token`; undefined where there is none. A carrier that is there but unreadable is never passed
 * over for a weaker one: the caller would act as somebody else than it meant to.
 *
 * Throws `unauthorized` for a carrier that is malformed or given twice, `origin_not_allowed` for a cookie that another
 * site's page may have made the browser send.
 */
export function findToken(
  request: IncomingMessage,
  url: { readonly searchParams: URLSearchParams },
  { query, tokenInUrl, corsOrigins }: Carriers,
): string | undefined {
  return (
    fromHeader(request) ??
    (query ? fromQuery(url.searchParams, tokenInUrl) : undefined) ??
    fromCookie(request, corsOrigins)
  )
}

/** RFC 6750 §2.1: b64token; the scheme is case-insensitive (RFC 9110 §11.1). */
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i

function fromHeader(request: IncomingMessage): string | undefined {
  const { authorization } = request.headers
  if (authorization === undefined) return undefined
  // Node keeps the first of several; a proxy in front may have checked another one.
  if (countHeaders(request, 'authorization') > 1) throw unreadable('The Authorization header was sent twice.')
  const [, token] = BEARER.exec(authorization) ?? []
  if (token === undefined) throw unreadable('The Authorization header must be "Bearer" and one token.')
  return token
}

function fromQuery(parameters: URLSearchParams, tokenInUrl: boolean): string | undefined {
  const token = onlyOne(parameters, 'token')
  if (token !== undefined && !tokenInUrl)
    throw unreadable('Tokens are not taken from URLs here; ask POST /tickets for a ticket.')
  return token
}

/**
 * The ticket of a request for a stream, where no header speaks for the caller: `?ticket=` goes before `?token=` and the
 * cookie. Throws `unauthorized` for one that is empty or given twice.
 */
export function findTicket(
  request: IncomingMessage,
  url: { readonly searchParams: URLSearchParams },
): string | undefined {
  return request.headers.authorization === undefined ? onlyOne(url.searchParams, 'ticket') : undefined
}

function onlyOne(parameters: URLSearchParams, name: string): string | undefined {
  const [value, ...more] = parameters.getAll(name)
  if (value === '' || more.length > 0)
    throw unreadable(`The parameter "${name}" must be given once and not be empty.`)
  return value
}

function fromCookie(request: IncomingMessage, corsOrigins: readonly string[]): string | undefined {
  const { cookie } = request.headers
  if (cookie === undefined) return undefined
  const [token, ...more] = cookieValues(cookie, TOKEN_COOKIE)
  // A logout leaves the cookie empty: that is no token rather than a bad one.
  if (token === undefined || (token === '' && more.length === 0)) return undefined
  // A sibling domain can add a cookie of the same name, and with it its own user.
  if (more.length > 0) throw unreadable(`The cookie ${TOKEN_COOKIE} was sent twice.`)
  if (!mayUseCookie(request, corsOrigins))
    throw new GlimpseError('origin_not_allowed', {
      detail: 'The token cookie does not count for this origin.',
    })
  return token
}

/** RFC 6265 §5.4 as browsers send it: `name=value; name=value`, a value perhaps in quotes. */
function cookieValues(header: string, name: string): string[] {
  const values: string[] = []
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals !== -1 && pair.slice(0, equals).trim() === name)
      values.push(
        pair
          .slice(equals + 1)
          .trim()
          .replace(/^"(.*)"$/, '$1'),
      )
  }
  return values
}

/** Browsers send cookies whoever asks. Without an Origin, `Sec-Fetch-Site` tells; without both, only reading is safe. */
function mayUseCookie(request: IncomingMessage, corsOrigins: readonly string[]): boolean {
  switch (originVerdict(request, corsOrigins)) {
    case 'own':
    case 'listed':
      return true
    case 'foreign':
      return false
    case 'none': {
      const site = request.headers['sec-fetch-site']
      if (site === undefined) return request.method === 'GET' || request.method === 'HEAD'
      return site === 'same-origin' || site === 'none'
    }
  }
}

function unreadable(detail: string): GlimpseError {
  return new GlimpseError('unauthorized', { detail })
}

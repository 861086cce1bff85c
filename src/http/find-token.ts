import type { IncomingMessage } from 'node:http'
import { GlimpseError } from '../errors.ts'
import { originVerdict } from './origin.ts'
import { countHeaders } from './request-head.ts'

export interface Carriers {
  /** Whether `?token=` is read: only for streams, which browsers open without headers, because URLs end up in logs. */
  readonly query: boolean
  /** Whether `?token=` is allowed at all (TOKEN_IN_URL). */
  readonly tokenInUrl: boolean
  /** Origins besides the service's own whose pages may send the cookie. */
  readonly corsOrigins: readonly string[]
}

export const TOKEN_COOKIE = 'glimpse_token'

/**
 * The token of a request, from the first that is present: `Authorization: Bearer` (RFC 6750 §2.1), `?token=`, the cookie
 * `glimpse_token`; undefined if there is none. If one is present but not readable, the next is not tried: the caller would act
 * as another user than intended.
 *
 * Throws `unauthorized` if it is malformed or sent twice, `origin_not_allowed` for a cookie that a page of another site may
 * have made the browser send.
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
  // Node keeps the first of several, and a proxy in front may have checked another.
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
 * The ticket of a request for a stream without an Authorization header: `?ticket=` comes before `?token=` and the cookie.
 * Throws `unauthorized` if it is empty or given twice.
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
  // A logout leaves the cookie empty: that means no token.
  if (token === undefined || (token === '' && more.length === 0)) return undefined
  // A sibling domain can set a cookie of the same name, with a token of its own user.
  if (more.length > 0) throw unreadable(`The cookie ${TOKEN_COOKIE} was sent twice.`)
  if (!mayUseCookie(request, corsOrigins))
    throw new GlimpseError('origin_not_allowed', {
      detail: 'The token cookie does not count for this origin.',
    })
  return token
}

/** The values of a cookie (RFC 6265 §5.4): `name=value; name=value`, where a value may be quoted. */
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

/** Browsers send cookies for every site. Without an Origin `Sec-Fetch-Site` decides; without both only reading is safe. */
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

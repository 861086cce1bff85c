import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { GlimpseError } from '../errors.ts'
import type { Answer } from './answer.ts'
import type { Context } from './context.ts'
import { originVerdict } from './origin.ts'

/**
 * The CORS headers (Fetch standard §3.2) of an answer. For a listed origin exactly that origin, never a wildcard, so that
 * credentials are possible; for any other origin none, so that the browser hides the answer from the page.
 */
export function corsHeaders(request: IncomingMessage, listed: readonly string[]): OutgoingHttpHeaders {
  if (listed.length === 0) return {}
  const verdict = originVerdict(request, listed)
  // A shared cache must not give one origin's headers to another.
  if (verdict !== 'listed') return { Vary: 'Origin' }
  return {
    Vary: 'Origin',
    'Access-Control-Allow-Origin': request.headers.origin,
    'Access-Control-Allow-Credentials': 'true',
    'Access-Control-Expose-Headers':
      'Location, Retry-After, WWW-Authenticate, X-Request-Id, ETag, Stream-Next-Offset, Stream-Up-To-Date, Stream-Cursor, Stream-Closed',
  }
}

/**
 * Refuses requests from pages of other sites, whatever credentials the browser adds.
 *
 * @throws GlimpseError `origin_not_allowed`
 */
export function refuseForeignOrigin({ app, request }: Context): void {
  if (originVerdict(request, app.config.corsOrigins) === 'foreign') throw foreignOrigin()
}

const foreignOrigin = () =>
  new GlimpseError('origin_not_allowed', { detail: 'CORS_ORIGINS does not list this origin.' })

/** Our headers, and those that tracing and fetch libraries add to every request: if one is not listed, all requests fail. */
const ALLOWED_HEADERS = [
  'Authorization, Content-Type, If-None-Match, Last-Event-ID, Cache-Control, X-Requested-With',
  'traceparent, tracestate, baggage, sentry-trace',
].join(', ')

/** Answers OPTIONS: the methods of the path, and for a preflight from a listed origin the permission for the real request. */
export function optionsAnswer(
  request: IncomingMessage,
  listed: readonly string[],
  methods: readonly string[],
): Answer {
  if (methods.length === 0) throw new GlimpseError('not_found', { detail: 'There is nothing at this path.' })
  if (originVerdict(request, listed) === 'foreign') throw foreignOrigin()
  return {
    status: 204,
    headers: {
      Allow: methods.join(', '),
      'Access-Control-Allow-Methods': methods.join(', '),
      'Access-Control-Allow-Headers': ALLOWED_HEADERS,
      'Access-Control-Max-Age': '600',
    },
  }
}

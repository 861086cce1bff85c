import { type ErrorCode, type ErrorDetails, GlimpseError } from '../errors.ts'
import type { Answer } from './answer.ts'

/** The status and title of each code. The code is the last part of the problem's `type`. */
export const PROBLEMS: Readonly<Record<ErrorCode, { readonly status: number; readonly title: string }>> = {
  malformed_json: { status: 400, title: 'Malformed JSON' },
  malformed_request: { status: 400, title: 'Malformed request' },
  invalid_field: { status: 400, title: 'Invalid field' },
  unauthorized: { status: 401, title: 'Unauthorized' },
  forbidden: { status: 403, title: 'Forbidden' },
  host_not_allowed: { status: 403, title: 'Host not allowed' },
  origin_not_allowed: { status: 403, title: 'Origin not allowed' },
  not_found: { status: 404, title: 'Not found' },
  unknown_connection: { status: 404, title: 'Unknown connection' },
  unknown_story: { status: 404, title: 'Unknown story' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'Request timeout' },
  foreign_cursor: { status: 409, title: 'Cursor of another history' },
  story_exists: { status: 409, title: 'Story exists' },
  expired_story: { status: 410, title: 'Expired story' },
  lost_history: { status: 410, title: 'Lost history' },
  body_too_large: { status: 413, title: 'Body too large' },
  url_too_long: { status: 414, title: 'URL too long' },
  encoded_body: { status: 415, title: 'Encoded body' },
  not_json: { status: 415, title: 'Not JSON' },
  upgrade_required: { status: 426, title: 'Upgrade required' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'Headers too large' },
  internal: { status: 500, title: 'Internal error' },
  busy: { status: 503, title: 'Busy' },
  draining: { status: 503, title: 'Draining' },
  full: { status: 503, title: 'Full' },
  overloaded: { status: 503, title: 'Overloaded' },
  unavailable: { status: 503, title: 'Unavailable' },
}

/** RFC 9110 §15.5.22 asks for the protocol, RFC 6455 §4.4 for its version. */
const UPGRADE = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13' }

/**
 * An error as `application/problem+json` (RFC 9457): `type` is stable, `field` names the wrong field. Any other error than a
 * GlimpseError is an opaque 500: its text may contain SQL or secrets, so only the log gets it.
 */
export function problemAnswer(error: unknown): Answer {
  const { code, details } = error instanceof GlimpseError ? error : new GlimpseError('internal')
  const { status, title } = PROBLEMS[code]
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      ...(details.retryAfter === undefined ? {} : { 'Retry-After': String(details.retryAfter) }),
      ...(details.allow === undefined ? {} : { Allow: details.allow.join(', ') }),
      ...(code === 'unauthorized' ? { 'WWW-Authenticate': challenge(details) } : {}),
      ...(code === 'upgrade_required' ? UPGRADE : {}),
      // RFC 9110 §15.5.16: what would be accepted.
      ...(code === 'encoded_body' ? { 'Accept-Encoding': 'identity' } : {}),
    },
    body: {
      type: `urn:glimpse:problem:${code}`,
      title,
      status,
      ...(details.detail === undefined ? {} : { detail: details.detail }),
      ...(details.field === undefined ? {} : { field: details.field }),
    },
  }
}

/** RFC 6750 §3: the scheme, and what is wrong with the token if one was sent. */
function challenge({ invalidToken, detail }: ErrorDetails): string {
  if (!invalidToken) return 'Bearer'
  return `Bearer error="invalid_token", error_description="${detail}"`
}

/** Every way in which a request can fail: one class with stable codes. http/problem.ts turns them into HTTP answers. */

export type ErrorCode =
  | 'malformed_json'
  | 'malformed_request'
  | 'invalid_field'
  | 'unauthorized'
  | 'forbidden'
  | 'origin_not_allowed'
  | 'host_not_allowed'
  | 'not_found'
  | 'unknown_story'
  | 'unknown_connection'
  | 'method_not_allowed'
  | 'foreign_cursor'
  | 'story_exists'
  | 'request_timeout'
  | 'expired_story'
  | 'lost_history'
  | 'body_too_large'
  | 'url_too_long'
  | 'not_json'
  | 'encoded_body'
  | 'upgrade_required'
  | 'too_many_requests'
  | 'headers_too_large'
  | 'unavailable'
  | 'busy'
  | 'overloaded'
  | 'full'
  | 'draining'
  | 'internal'

export interface ErrorDetails {
  /** One sentence for the caller; never SQL, never a stack. */
  readonly detail?: string
  /** The request field or variable that is wrong. */
  readonly field?: string
  /** Seconds after which trying again makes sense (RFC 9110 §10.2.3). */
  readonly retryAfter?: number
  /** For `method_not_allowed`: the methods the resource has (RFC 9110 §10.2.1). */
  readonly allow?: readonly string[]
  /** For `unauthorized`: a token was given and refused (RFC 6750 §3.1). `detail` must then be plain ASCII without quotes. */
  readonly invalidToken?: boolean
  readonly cause?: unknown
}

export class GlimpseError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(details.detail ?? code, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'GlimpseError'
    this.code = code
    this.details = details
  }
}

/** A problem that the operator must fix before the service can start: one clear line, exit code 1. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

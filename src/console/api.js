/** Requests to the service, and its problems in plain words (RFC 9457). */

/**
 * @typedef {object} Call
 * @property {string} method
 * @property {string} path
 * @property {string} [token]
 * @property {unknown} [body] sent as JSON
 */

export class RequestFailed extends Error {
  /** HTTP status; 0 if there was no answer. */
  status
  /** Seconds, from Retry-After; undefined without that header. */
  retryAfter

  /**
   * @param {number} status
   * @param {string} words
   * @param {number} [retryAfter]
   */
  constructor(status, words, retryAfter) {
    super(words)
    this.status = status
    this.retryAfter = retryAfter
  }
}

/** The page's words for a problem, by its stable code; for any other code it shows the problem's `detail`. */
const WORDS = new Map([
  ['unauthorized', 'The token was not accepted. It may have expired, or belong to another service.'],
  ['origin_not_allowed', 'This page’s origin is not allowed. Add it to CORS_ORIGINS.'],
  ['expired_story', 'This story has expired. Post a new one.'],
  ['unknown_story', 'This story is gone. Post a new one.'],
  ['draining', 'This instance is shutting down. Try again in a moment.'],
  ['full', 'The service has all the connections it can take.'],
  ['unavailable', 'The service cannot reach its database just now. Try again in a moment.'],
])

/**
 * Sends one request and reads its JSON.
 * @param {Call} call
 * @returns {Promise<any>} the parsed body, undefined where there is none
 * @throws {RequestFailed} for every answer outside 2xx, and if there is none
 */
export async function request({ method, path, token, body }) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' }
  if (token !== undefined) headers.authorization = `Bearer ${token}`
  if (body !== undefined) headers['content-type'] = 'application/json'
  // 'omit': the console uses its own tokens, never a cookie of another sign-in on this origin.
  /** @type {RequestInit} */
  const init = { method, headers, credentials: 'omit', cache: 'no-store' }
  if (body !== undefined) init.body = JSON.stringify(body)
  const response = await fetch(path, init).catch(() => {
    throw new RequestFailed(0, 'The service cannot be reached. Is it running?')
  })
  if (!response.ok) throw await failure(response)
  if (response.status === 204) return undefined
  return response.json().catch(() => {
    throw new RequestFailed(response.status, 'The service answered with something that is not JSON.')
  })
}

/**
 * @param {Response} response
 * @returns {Promise<RequestFailed>}
 */
async function failure(response) {
  // A proxy's error page is not problem+json: then show the status.
  const problem = await response.json().catch(() => ({}))
  const code = typeof problem?.type === 'string' ? problem.type.replace('urn:glimpse:problem:', '') : ''
  const words =
    WORDS.get(code) ??
    problem?.detail ??
    problem?.title ??
    `The service answered with status ${response.status}.`
  const seconds = Number.parseInt(response.headers.get('retry-after') ?? '', 10)
  if (Number.isNaN(seconds)) return new RequestFailed(response.status, words)
  const wait = seconds > 0 ? ` (It asks to wait ${seconds} s.)` : ''
  return new RequestFailed(response.status, words + wait, seconds)
}

import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** An answer of a handler. A string or Buffer is sent as it is, any other body as JSON. */
export interface Answer {
  readonly status: number
  readonly headers?: OutgoingHttpHeaders
  readonly body?: unknown
  /** To a HEAD, whose GET has a body of a length that nobody has looked for. */
  readonly lengthUnknown?: boolean
}

/** An answer's body in the form in which it is sent. */
export function answerBytes({ body }: Answer): string | Buffer {
  if (typeof body === 'string' || Buffer.isBuffer(body)) return body
  return body === undefined ? '' : JSON.stringify(body)
}

/** Adds how long an idle connection stays open, so that clients do not send on one that is about to close. */
export function keptAlive(
  { shouldKeepAlive }: ServerResponse,
  headers: OutgoingHttpHeaders,
  idleMs: number,
): OutgoingHttpHeaders {
  if (shouldKeepAlive) headers['Keep-Alive'] = `timeout=${Math.floor(idleMs / 1000)}`
  return headers
}

/**
 * Writes an answer at once. Answers of the API are personal and change at any time: caches must not store them, and browsers
 * must not guess their type.
 */
export function sendAnswer(
  response: ServerResponse,
  answer: Answer,
  headers: OutgoingHttpHeaders = {},
  bytes = answerBytes(answer),
): void {
  const { body } = answer
  response.writeHead(answer.status, {
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    // RFC 9110 §8.6: no Content-Length in a 204, and to a HEAD or in a 304 only that of the 200 to a GET.
    ...(answer.status === 204 || answer.status === 304 || answer.lengthUnknown
      ? {}
      : { 'Content-Length': Buffer.byteLength(bytes) }),
    ...headers,
    ...answer.headers,
  })
  response.end(bytes)
}

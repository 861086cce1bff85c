import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** What a handler answers. A string or Buffer body goes out as it is, anything else as JSON. */
export interface Answer {
  readonly status: number
  readonly headers?: OutgoingHttpHeaders
  readonly body?: unknown
}

/** An answer's body as it is sent. */
export function answerBytes({ body }: Answer): string | Buffer {
  if (typeof body === 'string' || Buffer.isBuffer(body)) return body
  return body === undefined ? '' : JSON.stringify(body)
}

/**
 * Writes an answer in one go. What the API says is personal and changes at any time: nothing may store it, and no
 * browser may guess its type.
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
    // RFC 9110 §8.6: no Content-Length in a 204, and in a 304 only that of the answer it stands for.
    ...(answer.status === 204 || answer.status === 304 ? {} : { 'Content-Length': Buffer.byteLength(bytes) }),
    ...headers,
    ...answer.headers,
  })
  response.end(bytes)
}

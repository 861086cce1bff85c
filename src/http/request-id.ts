import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Printable ASCII without spaces, so that no part of it looks like another field of a log line. */
const SENT = /^[\x21-\x7e]{1,128}$/

/**
 * The id of a request, for the log and the answer. The `X-Request-Id` of a trusted proxy is used, so that its log and ours have
 * the same ids; otherwise a client could choose the id of another request.
 *
 * @param trustProxy the number of trusted proxies in front
 */
export function requestIdOf({ headers }: IncomingMessage, trustProxy: number): string {
  const sent = headers['x-request-id']
  return trustProxy > 0 && typeof sent === 'string' && SENT.test(sent) ? sent : randomUUID()
}

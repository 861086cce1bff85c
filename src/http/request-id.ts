import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** What proxies send: printable ASCII without spaces, so that nothing in it can be taken for another field of a line. */
const SENT = /^[\x21-\x7e]{1,128}$/

/**
 * Names a request in the log and in its answer. A trusted proxy's `X-Request-Id` is taken over, so that its log and ours
 * can be laid side by side; anybody else's would let a client choose the name of another request.
 *
 * @param trustProxy how many proxies stand in front
 */
export function requestIdOf({ headers }: IncomingMessage, trustProxy: number): string {
  const sent = headers['x-request-id']
  return trustProxy > 0 && typeof sent === 'string' && SENT.test(sent) ? sent : randomUUID()
}

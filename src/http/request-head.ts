import type { IncomingMessage } from 'node:http'
import { GlimpseError } from '../errors.ts'

/** A name or an address, perhaps with a port (RFC 9110 §7.2); neither a path nor a user nor a second name. */
const HOST = /^[^\s/?#@\\,]*$/

/** How often a request has a header; `name` is in lower case. */
export function countHeaders({ rawHeaders }: IncomingMessage, name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === name.length && rawHeaders[i]?.toLowerCase() === name) count += 1
  return count
}

/**
 * Refuses what Node's parser lets pass and RFC 9112 does not: another version than HTTP/1 (§2.3; the parser reads
 * HTTP/0.9 and HTTP/2.0 too), and in HTTP/1.1 anything but one good Host (§3.2). Whoever stands in front may have gone
 * by the other of two Hosts, and ours tells which origin is our own.
 *
 * @throws GlimpseError `malformed_request`
 */
export function refuseBadHead(request: IncomingMessage): void {
  if (request.httpVersionMajor !== 1) {
    throw new GlimpseError('malformed_request', { detail: 'Only HTTP/1.1 and HTTP/1.0 are spoken here.' })
  }
  const hosts = countHeaders(request, 'host')
  const missing = hosts === 0 && request.httpVersionMinor > 0
  if (missing || hosts > 1 || !HOST.test(request.headers.host ?? '')) {
    throw new GlimpseError('malformed_request', { detail: 'A request needs one Host (RFC 9112 §3.2).' })
  }
}

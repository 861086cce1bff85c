import { IncomingMessage } from 'node:http'
import { GlimpseError } from '../errors.ts'

/** A name or an address, perhaps with a port (RFC 9110 §7.2); neither a path nor a user nor a second name. */
const HOST = /^[^\s/?#@\\,]*$/

/** Browsers send some twenty fields, proxies add a few. */
const MAX_FIELDS = 200

/**
 * Fields with one value that say who calls, from where, or what is asked. Of two of the same, Node's parser keeps the
 * first, or joins them, and a proxy in front may have gone by the other. By length, because only some are worth a look.
 */
const SINGLE = byLength([
  'host',
  'origin',
  'upgrade',
  'content-type',
  'last-event-id',
  'sec-fetch-site',
  'content-encoding',
  'sec-websocket-key',
  'sec-websocket-version',
])

function byLength(names: readonly string[]): readonly (readonly string[] | undefined)[] {
  const lengths = Math.max(...names.map((name) => name.length))
  return Array.from({ length: lengths + 1 }, (_, length) => {
    const such = names.filter((name) => name.length === length)
    return such.length === 0 ? undefined : such
  })
}

/** How often a request has a header; `name` is in lower case. */
export function countHeaders({ rawHeaders }: IncomingMessage, name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === name.length && rawHeaders[i]?.toLowerCase() === name) count += 1
  return count
}

/**
 * Refuses what Node's parser lets pass and RFC 9112 does not: another version than HTTP/1 (§2.3; the parser reads
 * HTTP/0.9 and HTTP/2.0 too), a target with a fragment (§3.2; the router would take it for no part of the path), and in
 * HTTP/1.1 anything but one good Host (§3.2). And what would let two readers of one head go by different fields: more of
 * them than anybody needs, or one of `SINGLE` twice.
 *
 * @throws GlimpseError `malformed_request`, `headers_too_large`
 */
export function refuseBadHead(request: IncomingMessage): void {
  const { rawHeaders } = request
  if (rawHeaders.length > 2 * MAX_FIELDS) {
    throw new GlimpseError('headers_too_large', { detail: `A request may have ${MAX_FIELDS} header fields.` })
  }
  if (request.httpVersionMajor !== 1) {
    throw new GlimpseError('malformed_request', { detail: 'Only HTTP/1.1 and HTTP/1.0 are spoken here.' })
  }
  if (request.url?.includes('#')) {
    throw new GlimpseError('malformed_request', { detail: 'A request has no fragment (RFC 9112 §3.2).' })
  }
  refuseDoubled(rawHeaders)
  const { host } = request.headers
  if ((host === undefined && request.httpVersionMinor > 0) || !HOST.test(host ?? '')) {
    throw new GlimpseError('malformed_request', { detail: 'A request needs one Host (RFC 9112 §3.2).' })
  }
}

function refuseDoubled(rawHeaders: readonly string[]): void {
  let seen: string[] | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const raw = rawHeaders[i] ?? ''
    const names = SINGLE[raw.length]
    if (names === undefined) continue
    const name = raw.toLowerCase()
    if (!names.includes(name)) continue
    if (seen === undefined) seen = [name]
    else if (seen.includes(name)) {
      throw new GlimpseError('malformed_request', { detail: `The header ${name} was sent twice.` })
    } else seen.push(name)
  }
}

const ASKED = Symbol('asked for an upgrade')

/**
 * A request whose `Upgrade` counts only where it can be taken: a GET to a WebSocket. Node asks `upgrade` once the head is
 * read, and would take any other out of the parser too, its body lost: Java's HttpClient and curl --http2 send
 * `Upgrade: h2c` with whatever they send first. RFC 9110 §7.8 lets a server ignore it.
 */
export class Request extends IncomingMessage {
  /** No initial value: Node's constructor has set it by then. */
  declare [ASKED]: boolean

  set upgrade(asked: boolean | null) {
    this[ASKED] = asked === true
  }

  get upgrade(): boolean {
    return this[ASKED] && (this.method === 'CONNECT' || asksForWebSocket(this))
  }
}

function asksForWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket'
}

/** Whether a body comes with a request, or may. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

import { IncomingMessage } from 'node:http'
import { GlimpseError } from '../errors.ts'

/** A name or an address, with or without a port (RFC 9110 §7.2); no path, no user and no second name. */
const HOST = /^[^\s/?#@\\,]*$/

/** Browsers send some twenty fields, proxies add a few. */
const MAX_FIELDS = 200

/**
 * Single-value fields that say who calls, from where, or for what. If one is sent twice, Node's parser keeps the first or joins
 * them, and a proxy in front may have used the other. By length, so that most fields are compared with none.
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

/** How often a header was sent; `name` is in lower case. */
export function countHeaders({ rawHeaders }: IncomingMessage, name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === name.length && rawHeaders[i]?.toLowerCase() === name) count += 1
  return count
}

/**
 * Refuses what Node's parser accepts and RFC 9112 does not: versions other than HTTP/1 (§2.3; the parser reads HTTP/0.9 and
 * HTTP/2.0 too), a target with a fragment (§3.2; the router would ignore it), and in HTTP/1.1 anything but exactly one valid
 * Host (§3.2). Also heads that two readers may understand differently: with too many fields, or a field of `SINGLE` twice.
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
 * A request whose `Upgrade` has an effect only for a GET of a WebSocket without a body. Node reads `upgrade` after the head,
 * and would take every other upgrade request out of the parser too and lose its body: Java's HttpClient and curl --http2 send
 * `Upgrade: h2c` with their first request. RFC 9110 §7.8 allows a server to ignore it.
 */
export class Request extends IncomingMessage {
  /** Without an initial value, because Node's constructor has already set it. */
  declare [ASKED]: boolean

  set upgrade(asked: boolean | null) {
    this[ASKED] = asked === true
  }

  get upgrade(): boolean {
    return this[ASKED] && (this.method === 'CONNECT' || asksForWebSocket(this))
  }
}

function asksForWebSocket(request: IncomingMessage): boolean {
  const { method, headers } = request
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket' && !hasBody(request)
}

/** Whether a request has, or may have, a body. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

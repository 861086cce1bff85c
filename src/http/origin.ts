import type { IncomingMessage } from 'node:http'

/** `none`: the request names no origin; `own`: it comes from a page this service served; `listed`: from an allowed one. */
export type OriginVerdict = 'none' | 'own' | 'listed' | 'foreign'

/**
 * Classifies a request by its `Origin` header (RFC 6454 §7). Only exact matches count: no wildcards, no suffixes; `null`, the
 * origin of sandboxed frames, is foreign. "Own" compares with `Host` without the scheme, because behind a proxy that ends TLS
 * the service sees http and the browser https.
 *
 * @param listed - origins as browsers write them: `https://app.example`
 */
export function originVerdict(request: IncomingMessage, listed: readonly string[]): OriginVerdict {
  const { origin, host } = request.headers
  if (origin === undefined) return 'none'
  if (host !== undefined && sameHost(origin, host)) return 'own'
  return listed.includes(origin) ? 'listed' : 'foreign'
}

const HTTP_ORIGIN = /^(https?:\/\/)([^/?#@\\\s,]+)$/i
const HOST = /^[^/?#@\\\s,]+$/

function sameHost(origin: string, host: string): boolean {
  const [, scheme, authority] = HTTP_ORIGIN.exec(origin) ?? []
  if (scheme === undefined || authority === undefined || !HOST.test(host)) return false
  if (authority === host) return true
  // Parsed with the origin's scheme, both lose its default port and become lower case.
  const [from, to] = [scheme + authority, scheme + host]
  return URL.canParse(from) && URL.canParse(to) && new URL(from).host === new URL(to).host
}

import type { IncomingMessage } from 'node:http'
import { isIP, isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * The network that limits count a request against: the peer's; or, behind `hops` trusted proxies, the network in the
 * `hops`-th entry of `X-Forwarded-For` from its end. Clients can forge every entry before that.
 */
export function clientNetwork(request: IncomingMessage, hops: number): string {
  const forwarded = request.headers['x-forwarded-for']
  const client = typeof forwarded === 'string' ? forwardedFor(forwarded, hops) : undefined
  return networkOf(client ?? request.socket.remoteAddress ?? 'gone')
}

/** The first address among the last `hops` entries; a proxy that knows none may write "unknown". */
function forwardedFor(header: string, hops: number): string | undefined {
  let farthest: string | undefined
  let end = header.length
  for (let hop = 0; hop < hops && end > 0; ) {
    const comma = header.lastIndexOf(',', end - 1)
    const entry = header.slice(comma + 1, end).trim()
    end = comma
    // RFC 9110 §5.6.1.2: empty list elements do not count.
    if (entry === '') continue
    hop++
    const address = withoutPort(entry)
    if (isIP(address) !== 0) farthest = address
  }
  return farthest
}

const MAPPED = '::ffff:'

/**
 * An IPv4 address unchanged; for an IPv6 address its /64, because one client usually gets a whole /64: counted singly, it
 * could use 2^64 addresses.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  // A dual-stack socket shows an IPv4 peer like this (RFC 4291 §2.5.5.2). Every request comes here, and parsing takes fifty
  // times as long.
  if (address.startsWith(MAPPED)) {
    const mapped = address.slice(MAPPED.length)
    if (isIPv4(mapped)) return mapped
  }
  const [withoutZone = ''] = address.split('%', 1)
  const parsed = ipaddr.IPv6.parse(withoutZone)
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString()
  const network = parsed.parts.slice(0, 4).map((group) => group.toString(16))
  return `${network.join(':')}::/64`
}

/** `203.0.113.7:4711` and `[2001:db8::1]:4711`, as some proxies write, without the port. */
function withoutPort(address: string): string {
  const [, v6, v4] = /^(?:\[([^\]]+)\]|([\d.]+))(?::\d+)?$/.exec(address) ?? []
  // Joined again: a slice would keep the whole header in memory for as long as the address is remembered.
  return v6 ?? v4?.split('.').map(Number).join('.') ?? address
}

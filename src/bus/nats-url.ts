import type { NatsServers } from './nats-servers.ts'

/** The default port of NATS. */
const DEFAULT_PORT = 4222

/** A NATS URL that is not valid. The message does not repeat it, because it may contain a password. */
export class NatsUrlError extends Error {}

type Parsed = Pick<NatsServers, 'servers' | 'tls' | 'user' | 'password'> & {
  /** Whether all servers are on this machine. */
  readonly loopback: boolean
}

/**
 * Parses BUS_URL: one URL, or the URLs of a cluster's servers separated by commas, as NATS' own tools write them.
 *
 * @throws NatsUrlError
 */
export function parseNatsUrls(text: string): Parsed {
  const urls = text.split(',').map((part) => parse(part.trim()))
  const [first] = urls as [URL, ...URL[]]
  if (urls.some(({ protocol }) => protocol !== first.protocol))
    throw new NatsUrlError('all servers must be nats:// or all tls://')
  if (urls.some(({ username, password }) => username !== first.username || password !== first.password))
    throw new NatsUrlError('all servers must be given the same user and password')
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port || DEFAULT_PORT}`),
    tls: first.protocol === 'tls:',
    user: first.username === '' ? undefined : decode(first.username),
    password: first.password === '' ? undefined : decode(first.password),
    loopback: urls.every(({ hostname }) => isLoopback(hostname)),
  }
}

function parse(text: string): URL {
  if (!/^(?:nats|tls):\/\//i.test(text) || !URL.canParse(text))
    throw new NatsUrlError('must be a nats:// or tls:// URL, or several with commas between')
  const url = new URL(text)
  if (url.hostname === '') throw new NatsUrlError('must name a host')
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '')
    throw new NatsUrlError('must end after host and port')
  return url
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new NatsUrlError('its user and password must be percent-encoded')
  }
}

/** Removes the brackets of an IPv6 address. */
function isLoopback(hostname: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i.test(hostname)
}

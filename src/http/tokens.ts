import { GlimpseError } from '../errors.ts'
import { readJson } from './body.ts'
import type { Handler } from './context.ts'
import { refuseForeignOrigin } from './cors.ts'
import { NewTokenBody, parseBody } from './fields.ts'
import { isTrustedHost } from './host.ts'

const HOUR_SECONDS = 3600

/** Headers of proxies: a request with one of them does not come from this machine itself. */
const FORWARDED = [
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
]

/** A peer on the loopback: IPv4, also in the form of a dual-stack socket, or IPv6. */
const LOOPBACK_PEER = /^(?:::ffff:)?127\.|^::1$/

/**
 * `POST /dev/tokens`: a token for any user. So it exists only outside production and while HOST is a loopback address or with
 * DEV_TOKENS=on, and it answers only processes and pages of this machine, no requests through a proxy.
 */
export const postToken: Handler = async (context) => {
  const { app, request } = context
  if (!app.config.devTokens) {
    throw new GlimpseError('not_found', {
      detail: 'Development tokens are given only while HOST is a loopback address, or with DEV_TOKENS=on.',
    })
  }
  refuseForeignOrigin(context)
  const { headers, socket } = request
  if (!LOOPBACK_PEER.test(socket.remoteAddress ?? '') || FORWARDED.some((name) => name in headers)) {
    throw new GlimpseError('host_not_allowed', {
      detail: 'Development tokens are for this machine itself, not through a proxy.',
    })
  }
  if (!isTrustedHost(request.headers.host, app.config.devHosts)) {
    throw new GlimpseError('host_not_allowed', {
      detail: 'Development tokens are for localhost, and for hosts that DEV_HOSTS lists.',
    })
  }
  const { user, expires_in } = parseBody(NewTokenBody, await readJson(context))
  if (app.issueToken === undefined) {
    throw new GlimpseError('not_found', {
      detail: 'Tokens come from the issuer behind JWKS_URL: there is no secret to sign with.',
    })
  }
  return { status: 200, body: { token: await app.issueToken(user, expires_in ?? HOUR_SECONDS) } }
}

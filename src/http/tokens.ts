import { GlimpseError } from '../errors.ts'
import { readJson } from './body.ts'
import type { Handler } from './context.ts'
import { refuseForeignOrigin } from './cors.ts'
import { NewTokenBody, parseBody } from './fields.ts'
import { isTrustedHost } from './host.ts'

const HOUR_SECONDS = 3600

/**
 * `POST /dev/tokens`: a token for whoever asks, which is why the route exists outside production only, and for pages that
 * were opened as this machine's own.
 */
export const postToken: Handler = async (context) => {
  const { app, request } = context
  refuseForeignOrigin(context)
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

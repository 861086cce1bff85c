import { GlimpseError } from '../errors.ts'
import { readJson } from './body.ts'
import type { Handler } from './context.ts'
import { NewTokenBody, parseBody } from './fields.ts'

const HOUR_SECONDS = 3600

/** `POST /dev/tokens`: a token for whoever asks, which is why the route exists outside production only. */
export const postToken: Handler = async (context) => {
  const { app } = context
  const { user, expires_in } = parseBody(NewTokenBody, await readJson(context))
  if (app.issueToken === undefined) {
    throw new GlimpseError('not_found', { detail: 'Tokens come from the issuer behind JWKS_URL.' })
  }
  return { status: 200, body: { token: await app.issueToken(user, expires_in ?? HOUR_SECONDS) } }
}

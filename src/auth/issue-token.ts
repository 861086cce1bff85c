import { SignJWT } from 'jose'
import { GlimpseError } from '../errors.ts'
import { isUserId } from '../event.ts'
import { secretBytes } from './key-source.ts'

export interface TokenClaims {
  /** Those that the verifier takes; the token says the first. */
  readonly issuers?: readonly string[]
  readonly audiences?: readonly string[]
  /** The claim that names the user; `sub` unless said otherwise. */
  readonly userClaim?: string
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** A year. Development tokens need no longer life. */
export const TOKEN_MAX_SECONDS = 31_536_000

/**
 * Signs a development token (HS256: the user claim, `iat`, `exp`, and `iss` and `aud` where configured). Production tokens come
 * from your identity provider. Throws `invalid_field` for a bad user or a lifetime that is not a whole number from 1 to
 * 31,536,000 seconds.
 */
export async function issueToken(
  secret: Uint8Array | string,
  user: unknown,
  expiresInSeconds: number,
  { issuers: [issuer] = [], audiences: [audience] = [], userClaim = 'sub', now = Date.now }: TokenClaims = {},
): Promise<string> {
  if (!isUserId(user))
    throw new GlimpseError('invalid_field', {
      field: 'user',
      detail: 'user must be 1 to 255 characters, none of them a control character',
    })
  if (!Number.isInteger(expiresInSeconds) || expiresInSeconds < 1 || expiresInSeconds > TOKEN_MAX_SECONDS)
    throw new GlimpseError('invalid_field', {
      field: 'expires_in',
      detail: `expires_in must be a whole number of seconds from 1 to ${TOKEN_MAX_SECONDS}`,
    })
  const issuedAt = Math.floor(now() / 1000)
  const token = new SignJWT({ [userClaim]: user })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + expiresInSeconds)
  if (issuer !== undefined) token.setIssuer(issuer)
  if (audience !== undefined) token.setAudience(audience)
  return token.sign(secretBytes(secret))
}

import { errors, type JWTPayload, jwtVerify } from 'jose'
import { GlimpseError, StartError } from '../errors.ts'
import { isUserId } from '../event.ts'
import type { Logger } from '../observability/log.ts'
import { isCompactJws } from './compact.ts'
import { IdentityCache, tokenKey } from './identity-cache.ts'
import { type KeySource, secretKey } from './key-source.ts'
import type { ExpectedClaims } from './plain-token.ts'
import { RemoteKeys } from './remote-keys.ts'

/** Who a verified token speaks for, and until when (milliseconds since 1970). */
export interface Identity {
  readonly user: string
  readonly expiresAt: number
}

export interface TokenVerifierOptions {
  /** HS256, 32 bytes or more; a text stands for its UTF-8 bytes. Either this or `jwksUrl`. */
  readonly secret?: Uint8Array | string | undefined
  /** RS256, ES256 and EdDSA, by the keys found there (RFC 7517 §5). */
  readonly jwksUrl?: string | undefined
  /** `iss` must be exactly this. Absent: not looked at. */
  readonly issuer?: string | undefined
  /** `aud` must be or contain exactly this. Absent: not looked at. */
  readonly audience?: string | undefined
  /** Milliseconds since 1970. */
  readonly now?: () => number
  readonly log: Logger
  /** How many verified tokens are remembered at most. */
  readonly cacheSize?: number
  /** How long one fetch of the key set may take in all. */
  readonly fetchTimeoutMs?: number
}

export interface TokenVerifier {
  /**
   * The identity of a good token. Every bad one throws `unauthorized` with the same words, so that a caller learns
   * nothing by trying; the reason is the error's `cause`, for debug logs, and never holds the token or its claims.
   * Throws `unavailable` while no keys could be fetched yet: the token may well be good.
   */
  verify(token: string): Promise<Identity>
  /** The identity of a token that `verify` accepted before and that still holds, without any cryptography but a hash. */
  cached(token: string): Identity | undefined
  /** Fetches remote keys ahead of the first token. Never rejects: a key set that cannot be had is logged as a warning. */
  warm(): Promise<void>
  /** Drops connections to the key set's server; the verifier must not be used afterwards. */
  close(): Promise<void>
}

/** Far more than claims need; a longer token is refused unread, so that garbage costs neither hashing nor parsing. */
const TOKEN_MAX_CHARACTERS = 8192

/** The last instant a Date can hold: an `exp` beyond it would make `new Date(expiresAt)` throw somewhere else. */
const END_OF_TIME = 8.64e15

/**
 * Verifies JWTs (RFC 7519) of one issuer against an allowlist of algorithms that its kind of key implies: a public key
 * can thus never be used as an HMAC secret. Throws StartError where not exactly one of `secret` and `jwksUrl` is given
 * or the secret is short.
 *
 * Tokens are remembered once verified, and forgotten as soon as the key set changes. A key taken out of the set thus
 * stops verifying after 10 minutes where tokens keep coming, and after 20 at the latest, as long as the endpoint answers;
 * while it does not, after 24 hours. A stream that is open already lives on until its token ends.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { secret, jwksUrl } = options
  if ((secret === undefined) === (jwksUrl === undefined))
    throw new StartError('exactly one of a JWT secret and a JWKS URL is needed')
  const keys =
    secret === undefined ? new RemoteKeys({ ...options, url: jwksUrl as string }) : secretKey(secret)
  return new Verifier(keys, options)
}

class Verifier implements TokenVerifier {
  readonly #keys: KeySource
  readonly #issuer: string | undefined
  readonly #audience: string | undefined
  readonly #now: () => number
  readonly #known: IdentityCache

  constructor(keys: KeySource, options: TokenVerifierOptions) {
    this.#keys = keys
    this.#issuer = options.issuer
    this.#audience = options.audience
    this.#now = options.now ?? Date.now
    this.#known = new IdentityCache(options.cacheSize ?? 50_000)
  }

  cached(token: string): Identity | undefined {
    return token.length > TOKEN_MAX_CHARACTERS ? undefined : this.#remembered(tokenKey(token))
  }

  async verify(token: string): Promise<Identity> {
    if (token.length > TOKEN_MAX_CHARACTERS) throw badToken(new Error('longer than 8,192 characters'))
    const key = tokenKey(token)
    const known = this.#remembered(key)
    if (known !== undefined) return known
    if (!isCompactJws(token)) throw badToken(new Error('not three parts in base64url'))
    const generation = this.#keys.generation
    try {
      const plain = this.#keys.plain?.(token, this.#expected())
      if (plain !== undefined) return this.#accept(plain, key, generation)
    } catch (error) {
      throw badToken(error)
    }
    await this.#keys.ready()
    try {
      return await this.#verifyNow(token, key)
    } catch (error) {
      // The issuer may have signed it with a key made after our last look.
      if (!speaksOfUnknownKey(error)) throw badToken(error)
      const changed = this.#keys.generation !== generation || (await this.#keys.refresh())
      if (!changed) throw badToken(error)
    }
    try {
      return await this.#verifyNow(token, key)
    } catch (error) {
      throw badToken(error)
    }
  }

  warm(): Promise<void> {
    return this.#keys.warm()
  }

  close(): Promise<void> {
    return this.#keys.close()
  }

  #remembered(key: string): Identity | undefined {
    return this.#keys.usable() ? this.#known.get(key, this.#keys.generation, this.#now()) : undefined
  }

  #expected(): ExpectedClaims {
    return { issuer: this.#issuer, audience: this.#audience, now: this.#now() }
  }

  async #verifyNow(token: string, key: string): Promise<Identity> {
    // Taken before the key is chosen: a token verified by a key that is removed meanwhile must not be remembered.
    const generation = this.#keys.generation
    const { issuer, audience, now } = this.#expected()
    const { payload } = await jwtVerify(token, this.#keys.choose, {
      algorithms: [...this.#keys.algorithms],
      currentDate: new Date(now),
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined ? {} : { audience }),
    })
    return this.#accept(payload, key, generation)
  }

  /** Whom a token speaks for whose signature is right; remembered from now on. */
  #accept({ sub, exp }: Pick<JWTPayload, 'sub' | 'exp'>, key: string, generation: number): Identity {
    if (!isUserId(sub)) throw new Error('"sub" is not a user')
    // JSON.parse reads 1e999 as Infinity: a token that never ends.
    if (exp === undefined || !Number.isFinite(exp)) throw new Error('"exp" is not a finite number')
    const identity: Identity = { user: sub, expiresAt: Math.min(exp * 1000, END_OF_TIME) }
    // jose compares whole seconds; `exp` may have a fraction (RFC 7519 §2).
    if (identity.expiresAt <= this.#now()) throw new Error('"exp" has passed')
    this.#known.set(key, generation, identity)
    return identity
  }
}

function speaksOfUnknownKey(error: unknown): boolean {
  // A failed signature too: an issuer may reuse a key id, or name none and replace its only key.
  return error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed
}

/** The one answer to every credential that is no good; the reason is for debug logs. */
export function badToken(reason: unknown): GlimpseError {
  return new GlimpseError('unauthorized', {
    detail: 'The access token is not valid.',
    cause: withoutClaims(reason),
  })
}

/** jose's errors carry the claims, and its SyntaxErrors quote the token: only the message may reach a log. */
function withoutClaims(reason: unknown): Error {
  if (reason instanceof errors.JOSEError) return new Error(`${reason.code}: ${reason.message}`)
  return new Error(reason instanceof Error ? reason.message : 'unknown reason')
}

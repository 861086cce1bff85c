import { type CompactJWSHeaderParameters, compactVerify, decodeProtectedHeader } from 'jose'
import { GlimpseError, StartError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'
import { type ClaimRules, type Identity, identityOf } from './claims.ts'
import { isCompactJws } from './compact.ts'
import { IdentityCache, tokenKey } from './identity-cache.ts'
import { type KeySource, secretKey } from './key-source.ts'
import { badToken, Refusal } from './refusal.ts'
import { RemoteKeys } from './remote-keys.ts'

export interface TokenVerifierOptions {
  /** HS256, each 32 bytes or more; a text stands for its UTF-8 bytes. A token may be signed with any of them. */
  readonly secrets?: readonly (Uint8Array | string)[]
  /** RS, PS, ES and EdDSA, by the keys found there (RFC 7517 §5). A token may be signed with a key of any of them. */
  readonly jwksUrls?: readonly string[]
  /** `iss` must be exactly one of these. None: not looked at. */
  readonly issuers?: readonly string[]
  /** `aud` (or `client_id` where there is no `aud`) must hold exactly one of these. None: not looked at. */
  readonly audiences?: readonly string[]
  /** The claim that names the user; `sub` unless said otherwise. */
  readonly userClaim?: string
  /** How many seconds the issuer's clock may be off, for `exp` and `nbf`; 0 unless said otherwise. */
  readonly clockToleranceS?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
  readonly log: Logger
  /** How many verified tokens are remembered at most, for each secret and key set. */
  readonly cacheSize?: number
  /** How long one fetch of a key set may take in all. */
  readonly fetchTimeoutMs?: number
}

export interface TokenVerifier {
  /**
   * The identity of a good token. Every bad one throws `unauthorized`. Its detail says what is wrong only where the
   * signature was verified; the error's `cause` names the rule for debug logs and never holds the token or its claims.
   * Throws `unavailable` while a key set that may hold the key could not be fetched yet: the token may well be good.
   */
  verify(token: string): Promise<Identity>
  /** The identity of a token that `verify` accepted before and that still holds, without any cryptography but a hash. */
  cached(token: string): Identity | undefined
  /** Fetches remote keys ahead of the first token. Never rejects: a key set that cannot be had is logged as a warning. */
  warm(): Promise<void>
  /** Drops connections to the key sets' servers; the verifier must not be used afterwards. */
  close(): Promise<void>
}

/** Far more than claims need; a longer token is refused unread, so that garbage costs neither hashing nor parsing. */
const TOKEN_MAX_CHARACTERS = 8192

/**
 * Verifies JWTs (RFC 7519) against secrets and key sets, each with an allowlist of algorithms that its kind of key
 * implies: a public key can thus never be used as an HMAC secret. Any of the keys may speak for any user. Throws StartError
 * where there is neither a secret nor a key set, or where a secret is short.
 *
 * Tokens are remembered once verified, and forgotten as soon as their key set changes. A key taken out of a set thus
 * stops verifying after 10 minutes where tokens keep coming, and after 20 at the latest, as long as the endpoint answers;
 * while it does not, after 24 hours. A stream that is open already lives on until its token ends.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { secrets = [], jwksUrls = [] } = options
  if (secrets.length + jwksUrls.length === 0) throw new StartError('a JWT secret or a JWKS URL is needed')
  return new Verifier(
    [...secrets.map(secretKey), ...jwksUrls.map((url) => new RemoteKeys({ ...options, url }))],
    options,
  )
}

/** Keys, and the tokens they verified: each source changes, and becomes unusable, on its own. */
interface Source {
  readonly keys: KeySource
  readonly known: IdentityCache
}

class Verifier implements TokenVerifier {
  readonly #sources: readonly Source[]
  readonly #rules: ClaimRules
  readonly #now: () => number
  readonly #log: Logger

  constructor(sources: readonly KeySource[], options: TokenVerifierOptions) {
    this.#sources = sources.map((keys) => ({
      keys,
      known: new IdentityCache(options.cacheSize ?? 50_000),
    }))
    this.#rules = {
      issuers: options.issuers ?? [],
      audiences: options.audiences ?? [],
      userClaim: options.userClaim ?? 'sub',
      toleranceMs: (options.clockToleranceS ?? 0) * 1000,
    }
    this.#now = options.now ?? Date.now
    this.#log = options.log
  }

  cached(token: string): Identity | undefined {
    return token.length > TOKEN_MAX_CHARACTERS ? undefined : this.#remembered(tokenKey(token))
  }

  async verify(token: string): Promise<Identity> {
    try {
      return await this.#judge(token)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#log.debug({ rule: error.rule, claim: error.claim }, 'a token was refused')
      throw badToken(error)
    }
  }

  async warm(): Promise<void> {
    await Promise.all(this.#sources.map(({ keys }) => keys.warm()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#sources.map(({ keys }) => keys.close()))
  }

  #remembered(key: string): Identity | undefined {
    for (const { keys, known } of this.#sources) {
      const identity = keys.usable() ? known.get(key, keys.generation, this.#now()) : undefined
      if (identity !== undefined) return identity
    }
    return undefined
  }

  /** @throws Refusal, or GlimpseError `unavailable` */
  async #judge(token: string): Promise<Identity> {
    if (token.length > TOKEN_MAX_CHARACTERS) throw new Refusal('length')
    const key = tokenKey(token)
    const known = this.#remembered(key)
    if (known !== undefined) return known
    if (!isCompactJws(token)) throw new Refusal('format')
    for (const source of this.#sources) {
      const payload = source.keys.plain?.(token)
      if (payload !== undefined) return this.#accept(source, source.keys.generation, payload, key)
    }
    const header = headerOf(token)
    const fitting = this.#sources.filter(({ keys }) => keys.algorithms.includes(header.alg))
    if (fitting.length === 0) throw new Refusal('algorithm')
    return this.#judgeBy(fitting, token, header, key)
  }

  async #judgeBy(
    fitting: readonly Source[],
    token: string,
    header: CompactJWSHeaderParameters,
    key: string,
  ): Promise<Identity> {
    const atHand = fitting.filter(({ keys }) => keys.usable())
    const before = new Map(atHand.map((source) => [source, source.keys.generation]))
    const verified = await this.#accepted(atHand, token, header, key)
    if (verified !== undefined) return verified
    // The issuer may have signed it with a key made after our last look, or reuse a key id.
    await Promise.all(
      fitting.map(({ keys }, i) => {
        const tried = before.get(fitting[i] as Source)
        if (tried === undefined) return keys.ready()
        return tried === keys.generation ? keys.refresh() : undefined
      }),
    )
    const changed = fitting.filter(
      (source) => source.keys.usable() && source.keys.generation !== before.get(source),
    )
    const verifiedNow = await this.#accepted(changed, token, header, key)
    if (verifiedNow !== undefined) return verifiedNow
    const missing = fitting.filter(({ keys }) => !keys.usable())
    if (missing.length > 0)
      throw new GlimpseError('unavailable', {
        detail: 'Tokens cannot be verified right now.',
        retryAfter: Math.min(...missing.map(({ keys }) => keys.retryAfter)),
      })
    throw new Refusal('signature')
  }

  /** Undefined where no key of the sources signed the token. */
  async #accepted(
    sources: readonly Source[],
    token: string,
    header: CompactJWSHeaderParameters,
    key: string,
  ): Promise<Identity | undefined> {
    for (const source of sources) {
      // Taken before the key is chosen: a token verified by a key that is removed meanwhile must not be remembered.
      const { generation } = source.keys
      const payload = await signedPayload(source.keys, token, header)
      if (payload !== undefined) return this.#accept(source, generation, payload, key)
    }
    return undefined
  }

  /** Whom a token speaks for whose signature is right; remembered from now on. */
  #accept({ known }: Source, generation: number, payload: Buffer, key: string): Identity {
    const identity = identityOf(payload, this.#rules, this.#now())
    known.set(key, generation, identity)
    return identity
  }
}

/** A token's protected header. An extension that must be understood is refused: we understand none. */
export function headerOf(token: string): CompactJWSHeaderParameters {
  let header: CompactJWSHeaderParameters
  try {
    header = decodeProtectedHeader(token) as CompactJWSHeaderParameters
  } catch {
    throw new Refusal('format')
  }
  // RFC 7515 §4.1.11. With it `b64` (RFC 7797) is refused as well: RFC 7519 forbids it in a JWT.
  if (header.crit !== undefined) throw new Refusal('critical_header')
  return header
}

/** The payload of a token that one of the source's keys signed; each key that fits its header is tried. */
export async function signedPayload(
  keys: KeySource,
  token: string,
  header: CompactJWSHeaderParameters,
): Promise<Buffer | undefined> {
  for await (const candidate of keys.candidates(header)) {
    try {
      const { payload } = await compactVerify(token, candidate, { algorithms: [...keys.algorithms] })
      return Buffer.from(payload)
    } catch {
      // Another key signed it, or this one may not be used (RSA below 2,048 bits).
    }
  }
  return undefined
}

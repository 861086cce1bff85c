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
  /** HS256, each 32 bytes or more; a string stands for its UTF-8 bytes. A token may be signed with any of them. */
  readonly secrets?: readonly (Uint8Array | string)[]
  /** RS, PS, ES and EdDSA, by the keys found there (RFC 7517 §5). A token may be signed with a key of any of them. */
  readonly jwksUrls?: readonly string[]
  /** `iss` must be one of these; not checked if empty. */
  readonly issuers?: readonly string[]
  /** `aud` (or `client_id` if there is no `aud`) must contain one of these; not checked if empty. */
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
   * The identity of a valid token. Throws `unauthorized` for every other one: its detail says what is wrong only if the
   * signature was verified, and its `cause` names the rule for debug logs, never the token or its claims. Throws
   * `unavailable` while a key set that may contain the key could not be fetched: the token may be valid.
   */
  verify(token: string): Promise<Identity>
  /**
   * As `verify`, but without a promise where no key set is needed: for a token that was accepted before and is still valid, which
   * costs one hash, and for one that a secret signed. So it may also throw at once.
   */
  identify(token: string): Identity | Promise<Identity>
  /** The identity of a token that was accepted before and is still valid. */
  cached(token: string): Identity | undefined
  /** Fetches remote keys before the first token. Never rejects: a failed fetch is logged as a warning. */
  warm(): Promise<void>
  /** Drops connections to the key sets' servers; the verifier must not be used afterwards. */
  close(): Promise<void>
}

/** Far more than claims need. A longer token is refused unread, so that garbage is neither hashed nor parsed. */
const TOKEN_MAX_CHARACTERS = 8192

/**
 * Verifies JWTs (RFC 7519) with secrets and key sets. The kind of key decides which algorithms it may be used with, so a
 * public key is never used as an HMAC secret. Every key may sign tokens of every user. Throws StartError if there is neither
 * a secret nor a key set, or if a secret is too short.
 *
 * Verified tokens are cached until their key set changes. So a key that was removed from a set stops verifying after 10
 * minutes if tokens keep coming, and after 20 at the latest; while the endpoint does not answer, after 24 hours. An open
 * stream lives on until its token ends.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { secrets = [], jwksUrls = [] } = options
  if (secrets.length + jwksUrls.length === 0) throw new StartError('a JWT secret or a JWKS URL is needed')
  return new Verifier(
    [...secrets.map(secretKey), ...jwksUrls.map((url) => new RemoteKeys({ ...options, url }))],
    options,
  )
}

/** A source of keys with the cache of tokens that it verified. */
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
    return this.identify(token)
  }

  identify(token: string): Identity | Promise<Identity> {
    try {
      if (token.length > TOKEN_MAX_CHARACTERS) throw new Refusal('length')
      const key = tokenKey(token)
      return this.#remembered(key) ?? this.#bySecret(token, key) ?? this.#byHeader(token, key)
    } catch (error) {
      throw this.#refused(error)
    }
  }

  #refused(error: unknown): unknown {
    if (!(error instanceof Refusal)) return error
    this.#log.debug({ rule: error.rule, claim: error.claim }, 'a token was refused')
    return badToken(error)
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

  /**
   * The usual case, without a promise.
   *
   * @returns undefined for a token that jose must judge
   * @throws Refusal
   */
  #bySecret(token: string, key: string): Identity | undefined {
    if (!isCompactJws(token)) throw new Refusal('format')
    for (const source of this.#sources) {
      const payload = source.keys.plain?.(token)
      if (payload !== undefined) return this.#accept(source, source.keys.generation, payload, key)
    }
    return undefined
  }

  async #byHeader(token: string, key: string): Promise<Identity> {
    try {
      const header = headerOf(token)
      const fitting = this.#sources.filter(({ keys }) => keys.algorithms.includes(header.alg))
      if (fitting.length === 0) throw new Refusal('algorithm')
      return await this.#judgeBy(fitting, token, header, key)
    } catch (error) {
      throw this.#refused(error)
    }
  }

  /** @throws Refusal, or GlimpseError `unavailable` */
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
    // The issuer may have signed it with a key made after our last fetch, or may reuse a key id.
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

  /** @returns undefined if no key of the sources signed the token */
  async #accepted(
    sources: readonly Source[],
    token: string,
    header: CompactJWSHeaderParameters,
    key: string,
  ): Promise<Identity | undefined> {
    for (const source of sources) {
      // Read before the key is chosen: a token verified by a key that is removed meanwhile must not be cached.
      const { generation } = source.keys
      const payload = await signedPayload(source.keys, token, header)
      if (payload !== undefined) return this.#accept(source, generation, payload, key)
    }
    return undefined
  }

  /** Checks the claims of a token whose signature was verified, and caches its identity. */
  #accept({ known }: Source, generation: number, payload: Buffer, key: string): Identity {
    const identity = identityOf(payload, this.#rules, this.#now())
    known.set(key, generation, identity)
    return identity
  }
}

/** A token's protected header. Throws if it has critical extensions, because we support none. */
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

/** The payload of a token that one of the source's keys signed; tries each key that fits its header. */
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
      // Another key signed it, or this key is not allowed (RSA below 2,048 bits).
    }
  }
  return undefined
}

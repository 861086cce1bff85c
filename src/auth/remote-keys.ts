import { type CryptoKey, createLocalJWKSet, errors, type JWSHeaderParameters } from 'jose'
import type { Logger } from '../observability/log.ts'
import { createKeySetFetcher, type KeySetFetcher } from './fetch-key-set.ts'
import type { KeySource } from './key-source.ts'

export interface RemoteKeysOptions {
  readonly url: string
  readonly now?: () => number
  readonly log: Logger
  readonly fetchTimeoutMs?: number
}

const ALGORITHMS: readonly string[] = [
  ...['RS256', 'RS384', 'RS512'],
  ...['PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512'],
  'EdDSA',
]

/** The next token after this age starts a refresh in the background. */
const MAX_AGE_MS = 10 * 60_000

/** Past this age keys are fetched before they are used, so that a removed key is not accepted after a quiet time. */
const MUST_LOOK_MS = 2 * MAX_AGE_MS

/** While the endpoint fails, the last good keys are used for at most this long. */
const LIFETIME_MS = 24 * 60 * 60_000

/** The shortest time between two fetches caused by unknown keys, and the longest between failed fetches. */
const COOLDOWN_MS = 30_000

/** The pause after the first failure while there are no keys; it doubles up to the cooldown. */
const FIRST_PAUSE_MS = 1000

/**
 * An issuer's public keys (JWKS, RFC 7517 §5), fetched when first needed and kept fresh by use.
 *
 * Our own state machine around jose's local key set. With jose's remote key set every token waits and then fails once the
 * set is too old and the endpoint down; and it counts its cooldown from the last success only, so that every request asks a
 * broken endpoint again.
 */
export class RemoteKeys implements KeySource {
  readonly algorithms = ALGORITHMS
  generation = 0

  readonly #fetcher: KeySetFetcher
  readonly #now: () => number
  readonly #log: Logger
  #keys: KeySet | undefined
  /** The keys without an id: they may have signed any token, whatever its key id. */
  #unnamed: KeySet | undefined
  #text: string | undefined
  #fetchedAt = Number.NEGATIVE_INFINITY
  #failures = 0
  /** No fetch before this time; set by failures. */
  #pausedUntil = Number.NEGATIVE_INFINITY
  /** No fetch for an unknown key before this. */
  #cooldownUntil = Number.NEGATIVE_INFINITY
  #fetching: Promise<boolean> | undefined

  constructor(options: RemoteKeysOptions) {
    this.#fetcher = createKeySetFetcher(options.url, options.fetchTimeoutMs ?? 5000)
    this.#now = options.now ?? Date.now
    this.#log = options.log
  }

  usable(): boolean {
    const age = this.#now() - this.#fetchedAt
    if (age < MAX_AGE_MS) return true
    if (age >= LIFETIME_MS) return false
    // Waiting makes sense only if the endpoint is not known to be down.
    if (age >= MUST_LOOK_MS && this.#failures === 0) return false
    void this.#fetch()
    return true
  }

  async *candidates({ kid, ...header }: JWSHeaderParameters): AsyncIterable<CryptoKey> {
    // A snapshot: a fetch may replace the keys while one is being tried.
    const [keys, unnamed] = [this.#keys, this.#unnamed]
    yield* fittingKeys(keys, kid === undefined ? header : { ...header, kid })
    if (kid !== undefined) yield* fittingKeys(unnamed, header)
  }

  async ready(): Promise<void> {
    if (!this.usable()) await this.#fetch()
  }

  get retryAfter(): number {
    return Math.max(1, Math.ceil((this.#pausedUntil - this.#now()) / 1000))
  }

  async refresh(): Promise<boolean> {
    if (this.#fetching !== undefined) return this.#fetching
    if (this.#now() < this.#cooldownUntil) return false
    this.#cooldownUntil = this.#now() + COOLDOWN_MS
    return this.#fetch()
  }

  async warm(): Promise<void> {
    await this.#fetch()
  }

  close(): Promise<void> {
    return this.#fetcher.close()
  }

  /** All callers share one fetch, and there is none during a pause. Never rejects. @returns whether the keys changed */
  #fetch(): Promise<boolean> {
    if (this.#fetching !== undefined) return this.#fetching
    if (this.#now() < this.#pausedUntil) return Promise.resolve(false)
    this.#fetching = this.#fetchNow().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #fetchNow(): Promise<boolean> {
    try {
      const { text, keySet } = await this.#fetcher.fetch()
      if (this.#failures > 0) this.#log.info({ url: this.#fetcher.name }, 'key set answers again')
      this.#failures = 0
      this.#fetchedAt = this.#now()
      if (text === this.#text) return false
      this.#keys = createLocalJWKSet(keySet)
      this.#unnamed = createLocalJWKSet({ keys: keySet.keys.filter(({ kid }) => kid === undefined) })
      this.#text = text
      this.generation += 1
      const keys = keySet.keys.map(({ kid, alg, kty }) => ({ kid, alg, kty }))
      if (keys.length === 0)
        this.#log.error({ url: this.#fetcher.name }, 'key set holds no key that can sign tokens')
      else this.#log.info({ url: this.#fetcher.name, keys }, 'key set fetched')
      return true
    } catch (error) {
      this.#failures += 1
      const haveKeys = this.#now() - this.#fetchedAt < LIFETIME_MS
      const pause = haveKeys ? COOLDOWN_MS : Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), COOLDOWN_MS)
      this.#pausedUntil = this.#now() + pause
      this.#log.warn(
        { url: this.#fetcher.name, err: error, failures: this.#failures, haveKeys, retryMs: pause },
        'key set cannot be fetched',
      )
      return false
    }
  }
}

type KeySet = ReturnType<typeof createLocalJWKSet>

/** The keys of a set that fit a header: several do if an issuer names no key or uses one name twice. */
async function* fittingKeys(
  keySet: KeySet | undefined,
  header: JWSHeaderParameters,
): AsyncIterable<CryptoKey> {
  let fitting: Iterable<CryptoKey> | AsyncIterable<CryptoKey> = []
  try {
    fitting = keySet === undefined ? [] : [await keySet(header)]
  } catch (error) {
    // Any other error means that no key fits, or that the fitting key cannot be read.
    if (error instanceof errors.JWKSMultipleMatchingKeys) fitting = error
  }
  yield* fitting
}

import { within } from './deadline.ts'
import { type ConnectOptions, StreamError } from './types.ts'

/** A token is replaced this long before it expires; a short one after three quarters of its time. */
const LEAD_MS = 60_000

/** The longest that setTimeout can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** What can stand after `Bearer` (RFC 6750 §2.1); an error page of a token service does not match. */
const TOKEN = /^[\w.~+/=-]+$/

/**
 * How long to try a token that is not valid yet, or that was just set: what the service refuses then may be the one before,
 * because its answer was on the way.
 */
const PATIENCE_MS = 30_000

/** The caller's token: requested when there is none, kept while it is valid, and always of the same user. */
export class Tokens {
  readonly #getToken: ConnectOptions['getToken']
  readonly #claim: string
  readonly #signal: AbortSignal
  readonly #answerTimeoutMs: number
  /** The current token; never asks for one. */
  token: string | undefined
  /** The user that the first token named; undefined before it, with a cookie, and if the claim can't be read. */
  user: string | undefined
  #refused = false
  #setAt = 0
  #asking: Promise<string> | undefined

  /** @param signal ends the wait for `getToken`, as `answerTimeoutMs` does */
  constructor(
    { token, getToken, userClaim = 'sub' }: Pick<ConnectOptions, 'token' | 'getToken' | 'userClaim'>,
    signal: AbortSignal,
    answerTimeoutMs: number,
  ) {
    this.#getToken = getToken
    this.#claim = userClaim
    this.#signal = signal
    this.#answerTimeoutMs = answerTimeoutMs
    if (token !== undefined) this.token = this.#accept(token)
  }

  /** Whether there can be another token if this one is refused. */
  get renewable(): boolean {
    return this.#getToken !== undefined
  }

  /** Whether the token that was refused, or another one, may be accepted later. */
  get mayImprove(): boolean {
    const { nbf = 0 } = claimsOf(this.token)
    return this.renewable || Math.max(Number(nbf) * 1000, this.#setAt) + PATIENCE_MS > Date.now()
  }

  /**
   * The token to send; undefined if the cookie identifies the user. Calls while `getToken` runs share its answer.
   *
   * @throws StreamError `signed_out` or `another_user`; anything else means that there is no token at the moment
   */
  async current(): Promise<string | undefined> {
    return this.token ?? this.fresh()
  }

  /** A new token, shortly before the last one expires. Rejects as `current` does. */
  async fresh(): Promise<string | undefined> {
    return this.#getToken === undefined ? this.token : this.#ask(this.#getToken)
  }

  /**
   * The caller has a new token; null: nobody is signed in.
   *
   * @throws StreamError as `current` does; TypeError if it is not a token
   */
  set(token: string | null): void {
    this.token = this.#accept(token)
    this.#refused = false
    this.#setAt = Date.now()
  }

  /** The service refused the token: the next `current` asks for another. */
  refuse(): void {
    if (this.#getToken === undefined) return
    this.token = undefined
    this.#refused = true
  }

  /**
   * In how many milliseconds the token should be replaced; undefined if that is unknown, or if it has expired by this
   * clock, which may be wrong: then the service decides.
   */
  renewInMs(now: number): number | undefined {
    if (this.token === undefined || this.#getToken === undefined) return undefined
    const leftMs = Number(claimsOf(this.token).exp) * 1000 - now
    if (!(leftMs > 0)) return undefined
    return Math.min(Math.max(leftMs - LEAD_MS, leftMs * 0.75), MAX_TIMEOUT_MS)
  }

  #ask(getToken: NonNullable<ConnectOptions['getToken']>): Promise<string> {
    this.#asking ??= (async () => {
      const before = this.token
      try {
        const work = (async () => getToken({ refused: this.#refused }))()
        const given = this.#accept(await within(work, this.#signal, this.#answerTimeoutMs, 'getToken'))
        // A token that the caller has set meanwhile is newer.
        if (this.token === before) this.set(given)
        return this.token ?? given
      } catch (error) {
        if (error instanceof Error && error.name === 'SignedOutError') throw signedOut()
        throw error
      } finally {
        this.#asking = undefined
      }
    })()
    return this.#asking
  }

  #accept(given: unknown): string {
    if (given === null) throw signedOut()
    const token = typeof given === 'string' ? given.trim() : ''
    if (!TOKEN.test(token)) throw new TypeError('not a token')
    const user = claimsOf(token)[this.#claim]
    if (typeof user === 'string') {
      this.user ??= user
      if (user !== this.user) throw new StreamError('another_user', 'a token of another user')
    }
    return token
  }
}

function signedOut(): StreamError {
  return new StreamError('signed_out', 'nobody is signed in')
}

/** The claims of a JWT; none if they can't be read. Nothing is verified: the service does that. */
function claimsOf(token = ''): Readonly<Record<string, unknown>> {
  try {
    const payload = atob(token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? '')
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (char) => char.charCodeAt(0)))) ?? {}
  } catch {
    return {}
  }
}

import { within } from './deadline.ts'
import { type ConnectOptions, StreamError } from './types.ts'

/** A token is replaced this long before it ends, or after three quarters of what is left to a short one. */
const LEAD_MS = 60_000

/** The longest that setTimeout can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** What can stand after `Bearer` (RFC 6750 §2.1); an error page of the token service can't. */
const TOKEN = /^[\w.~+/=-]+$/

/** A token that is not yet valid may become so within this. */
const CLOCK_SKEW_MS = 30_000

/** The caller's token: asked for when there is none, kept while it is good, and always of the same user. */
export class Tokens {
  readonly #getToken: ConnectOptions['getToken']
  readonly #claim: string
  readonly #signal: AbortSignal
  readonly #answerTimeoutMs: number
  /** The token as it is known, without asking for one. */
  token: string | undefined
  /** The user that the first token named; undefined before it, with a cookie, and where the claim can't be read. */
  user: string | undefined
  #refused = false
  #asking: Promise<string> | undefined

  /** @param signal nobody waits for `getToken` once it is aborted, nor longer than `answerTimeoutMs` */
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

  /** Whether another token can be had where this one is refused. */
  get renewable(): boolean {
    return this.#getToken !== undefined
  }

  /** Whether a token that was refused now may be taken later, or another instead of it. */
  get mayImprove(): boolean {
    return this.renewable || Number(claimsOf(this.token).nbf) * 1000 > Date.now() - CLOCK_SKEW_MS
  }

  /**
   * The token to send; undefined where the cookie says who calls. Whoever asks while `getToken` runs gets its answer.
   *
   * @throws StreamError `signed_out` or `another_user`; anything else means that there is no token at the moment
   */
  async current(): Promise<string | undefined> {
    if (this.token !== undefined || this.#getToken === undefined) return this.token
    return this.#ask(this.#getToken)
  }

  /** A new one, shortly before the last one ends. Rejects as `current` does. */
  async fresh(): Promise<string | undefined> {
    return this.#getToken === undefined ? this.token : this.#ask(this.#getToken)
  }

  /**
   * The caller has a new one; null: nobody is signed in.
   *
   * @throws StreamError as `current` does; TypeError where it is no token
   */
  set(token: string | null): void {
    this.token = this.#accept(token)
    this.#refused = false
  }

  /** The service did not take it: the next `current` asks for another. */
  refuse(): void {
    if (this.#getToken === undefined) return
    this.token = undefined
    this.#refused = true
  }

  /**
   * After how long the token should be replaced; undefined where that can't be said, or it has ended by this clock,
   * which may be wrong: then the service decides.
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
        // One that the caller has set meanwhile is newer.
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

/** The claims of a JWT; none where they can't be read. Nothing is verified: that is the service's part. */
function claimsOf(token = ''): Readonly<Record<string, unknown>> {
  try {
    const payload = atob(token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? '')
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (char) => char.charCodeAt(0)))) ?? {}
  } catch {
    return {}
  }
}

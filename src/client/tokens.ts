import { type Attempt, refusalOf, requestInit } from './attempt.ts'

export type GetToken = (why: { readonly refused: boolean }) => string | Promise<string>

/** A token is replaced this long before it ends, or after three quarters of what is left to a short one. */
const LEAD_MS = 60_000

/** The longest that setTimeout can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** The caller's token: asked for when there is none, kept while it is good. */
export class Tokens {
  readonly #getToken: GetToken | undefined
  #token: string | undefined
  #refused = false
  #asking: Promise<string> | undefined

  constructor(token: string | undefined, getToken: GetToken | undefined) {
    this.#token = token
    this.#getToken = getToken
  }

  /** Whether another token can be had where this one is refused. */
  get renewable(): boolean {
    return this.#getToken !== undefined
  }

  /** The token to send; undefined where a cookie is to speak. Rejects where `getToken` does. */
  async current(): Promise<string | undefined> {
    if (this.#token !== undefined || this.#getToken === undefined) return this.#token
    // Who asks while the caller is being asked waits for the same answer.
    this.#asking ??= this.#ask(this.#getToken).finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #ask(getToken: GetToken): Promise<string> {
    this.#token = await getToken({ refused: this.#refused })
    this.#refused = false
    return this.#token
  }

  /** A fresh one, shortly before the last one ends. */
  async fresh(): Promise<string | undefined> {
    if (this.#getToken !== undefined) this.#token = await this.#getToken({ refused: false })
    return this.#token
  }

  /** The service did not take it: the next `current` asks for another. */
  refuse(): void {
    if (this.#getToken === undefined) return
    this.#token = undefined
    this.#refused = true
  }

  /**
   * After how long the token should be replaced; undefined where that can't be said, or it has ended by this clock,
   * which may be wrong: then the service's word counts.
   */
  renewInMs(now: number): number | undefined {
    if (this.#token === undefined || this.#getToken === undefined) return undefined
    const leftMs = expiryOf(this.#token) - now
    if (!(leftMs > 0)) return undefined
    return Math.min(Math.max(leftMs - LEAD_MS, leftMs * 0.75), MAX_TIMEOUT_MS)
  }
}

/** The `exp` of a JWT in ms; NaN where it can't be read. */
function expiryOf(token: string): number {
  try {
    const payload = token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? ''
    return Number(JSON.parse(atob(payload)).exp) * 1000
  } catch {
    return Number.NaN
  }
}

/**
 * What goes into a WebSocket's URL for the token: a ticket, which is good for one connection within seconds, so that
 * the token stays out of the logs of proxies; the token itself where the service knows no tickets.
 */
export class Tickets {
  readonly #fetch: typeof globalThis.fetch
  #known = true

  constructor(fetch: typeof globalThis.fetch) {
    this.#fetch = fetch
  }

  async take(attempt: Pick<Attempt, 'base' | 'token' | 'signal'>): Promise<Readonly<Record<string, string>>> {
    const { base, token } = attempt
    if (token === undefined) return {}
    if (this.#known) {
      const init = { ...requestInit(attempt, 'application/json'), method: 'POST' }
      const response = await this.#fetch(new URL('tickets', base), init)
      if (response.ok) return { ticket: (await response.json()).ticket }
      const refusal = await refusalOf(response)
      if (refusal.status !== 404 && refusal.status !== 405) throw refusal
      this.#known = false
    }
    return { token }
  }
}

import { Refused } from './attempt.ts'
import { readPage } from './poll.ts'
import type { Session } from './session.ts'
import type { Tokens } from './tokens.ts'
import type { TransportFallback } from './transport-fallback.ts'
import { StreamError, type Timing, type Transport } from './types.ts'
import { FinalClose } from './websocket.ts'

/** A connection that lived so long was a good one: the next failure counts as the first. */
const STABLE_MS = 5000

/** How long to wait before the next connection; `asked`: the service wants it, so nothing shortens it. */
export interface Pause {
  readonly ms: number
  readonly reason: string
  readonly asked?: boolean
}

export interface RecoveryOptions {
  readonly base: URL
  readonly fetch: typeof fetch
  readonly tokens: Tokens
  readonly fallback: TransportFallback
  readonly timing: Timing
}

/** What follows the end of a connection: another one, when, over what and with which token; or nothing. */
export class Recovery {
  readonly #options: RecoveryOptions
  #failures = 0
  #diagnosis: AbortController | undefined
  #tokenRefused = false

  constructor(options: RecoveryOptions) {
    this.#options = options
  }

  /** The service has taken the token. */
  opened(): void {
    this.#tokenRefused = false
  }

  /** The stream is closed: nothing more is to be found out. */
  stop(): void {
    this.#diagnosis?.abort()
  }

  /**
   * The connection has ended: what that means for the next one.
   *
   * @param cause what the transport threw, or why the client itself ended it
   * @throws StreamError where there shall be none
   */
  async after(session: Session, cause: unknown, cursor: string | undefined): Promise<Pause> {
    if (session.livedMs > STABLE_MS) this.#failures = 0
    if (session.restartsAtOnce) return { ms: 0, reason: '' }
    if (session.closeMessage !== undefined) return this.#dismissed(session.closeMessage, session.isOpen)
    if (cause instanceof FinalClose)
      throw new StreamError(cause.code === 4500 ? 'replaced' : 'refused', cause.message, {})
    if (cause instanceof Refused && cause.isProblem) return this.#refused(cause)
    if (!session.isOpen && session.transport !== 'poll') return this.#diagnose(session.transport, cursor)
    if (cause instanceof Refused) return this.#refused(cause)
    return this.backoff(session.isOpen ? 'the connection was lost' : 'the service cannot be reached')
  }

  #dismissed({ reason, reconnect, retry_ms }: NonNullable<Session['closeMessage']>, wasOpen: boolean): Pause {
    if (reason === 'token_expired') {
      if (!this.#options.tokens.renewable) throw new StreamError('token_expired', 'the token has expired', {})
      this.#options.tokens.refuse()
      return { ms: 0, reason }
    }
    if (!reconnect && reason === 'replaced')
      throw new StreamError('replaced', 'a newer connection took its place', {})
    if (!reconnect) throw new StreamError('ended', `the service says: ${reason}`, {})
    // Refused before the stream began: without a backoff that grows, a long outage would be asked about every second.
    if (!wasOpen) {
      const backoff = this.backoff(`the service says: ${reason}`)
      return { ...backoff, ms: retry_ms + backoff.ms, asked: true }
    }
    // Never earlier than asked, and not all who were asked the same at the same moment.
    return { ms: retry_ms * (1 + Math.random() / 2), reason: `the service says: ${reason}`, asked: true }
  }

  #refused(refusal: Refused): Pause {
    const { status, message } = refusal
    if (status === 401) {
      if (!this.#options.tokens.renewable || this.#tokenRefused)
        throw new StreamError('unauthorized', message, { status })
      this.#tokenRefused = true
      this.#options.tokens.refuse()
      return { ms: 0, reason: message }
    }
    if (refusal.isProblem && status < 500 && status !== 429 && status !== 408)
      throw new StreamError('refused', message, { status })
    const backoff = this.backoff(message)
    return refusal.retryAfterMs === 0
      ? backoff
      : { ms: refusal.retryAfterMs + backoff.ms, reason: message, asked: true }
  }

  /**
   * A connection did not come about, and a browser does not say why. The poll is the same resource behind the same
   * checks: where it answers, the transport is what does not get through here; where not, it says what is wrong.
   */
  async #diagnose(transport: Transport, cursor: string | undefined): Promise<Pause> {
    const controller = new AbortController()
    this.#diagnosis = controller
    const timer = setTimeout(() => controller.abort(), this.#options.timing.openTimeoutMs)
    try {
      const { signal } = controller
      const token = await this.#options.tokens.current()
      await readPage(this.#options.fetch, { base: this.#options.base, token, signal }, cursor, 1)
    } catch (error) {
      return error instanceof Refused ? this.#refused(error) : this.backoff('the service cannot be reached')
    } finally {
      clearTimeout(timer)
    }
    this.#options.fallback.failed(transport)
    const backoff = this.backoff(`${transport} does not get through`)
    return this.#options.fallback.current === transport ? backoff : { ms: 0, reason: '' }
  }

  /** Full jitter: a crowd that lost the same instance comes back spread over the whole time. */
  backoff(reason: string): Pause {
    const { backoffMs, backoffMaxMs } = this.#options.timing
    const ceiling = Math.min(backoffMs * 2 ** this.#failures, backoffMaxMs)
    this.#failures += 1
    return { ms: Math.max(1, Math.random() * ceiling), reason }
  }
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

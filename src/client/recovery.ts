import { Refused } from './attempt.ts'
import type { Context } from './context.ts'
import { within } from './deadline.ts'
import { hasPage } from './page-lifecycle.ts'
import { NEVER, type Wakeable } from './pauses.ts'
import { readPage } from './poll.ts'
import type { Session } from './session.ts'
import { allTaken } from './six.ts'
import type { TransportFallback } from './transport-fallback.ts'
import { StreamError, type Transport } from './types.ts'
import { FinalClose } from './websocket.ts'

/** After a connection that lived this long, the next failure counts as the first. */
const STABLE_MS = 5000

/** Fewer refusals than this don't prove that a token is bad, however much time has passed: a machine may have slept. */
const MIN_REFUSALS = 4

/** How long to wait before the next connection, and what may shorten it. */
export interface Pause {
  readonly ms: number
  readonly reason: string
  readonly wakeable?: Wakeable
}

export const AT_ONCE: Pause = { ms: 0, reason: '' }

/** Decides what follows the end of a connection: another one, when, by which transport and with which token; or nothing. */
export class Recovery {
  readonly #context: Context
  readonly #fallback: TransportFallback
  #failures = 0
  #refusals = 0
  #refusedAt = 0

  constructor(context: Context, fallback: TransportFallback) {
    this.#context = context
    this.#fallback = fallback
  }

  /** The service accepted the token. */
  opened(): void {
    this.#refusals = 0
  }

  /**
   * The connection has ended: decides about the next one.
   *
   * @param cause what the transport threw, or why the client itself ended it
   * @throws StreamError if there must be none
   */
  async after(session: Session, cause: unknown, cursor: string | undefined): Promise<Pause> {
    if (session.livedMs > STABLE_MS) this.#failures = 0
    if (session.restartsAtOnce) return AT_ONCE
    if (session.interruption === 'offline') return this.backoff('the browser is offline')
    if (session.closeMessage !== undefined) return this.#dismissed(session)
    if (cause instanceof FinalClose) {
      if (cause.code === 4500) return this.#replaced()
      // The client could not read the token's user; the service could.
      throw new StreamError(/another user/.test(cause.message) ? 'another_user' : 'refused', cause.message)
    }
    if (cause instanceof Refused && cause.isProblem) return this.#refused(cause)
    if (!session.isOpen && session.transport !== 'poll') return this.#diagnose(session.transport, cursor)
    if (cause instanceof Refused) return this.#refused(cause)
    return this.backoff(session.isOpen ? 'the connection was lost' : 'the service cannot be reached')
  }

  #dismissed({ closeMessage, livedMs, isOpen }: Session): Pause {
    const { reason = '', reconnect = true, retry_ms = 0 } = closeMessage ?? {}
    if (reason === 'token_expired') {
      const { tokens } = this.#context
      if (!tokens.mayImprove) throw new StreamError('token_expired', 'the token has expired')
      tokens.refuse()
      // Tokens that expire at once must not make the client ask for tokens in a loop.
      return livedMs > STABLE_MS ? AT_ONCE : this.backoff('the token has expired')
    }
    if (!reconnect && reason === 'replaced') return this.#replaced()
    if (!reconnect) throw new StreamError('ended', `the service says: ${reason}`)
    // Refused before the stream began: without a growing backoff, clients would ask every second during a long outage.
    if (!isOpen) {
      const backoff = this.backoff(`the service says: ${reason}`)
      return { ...backoff, ms: retry_ms + backoff.ms, wakeable: 'no' }
    }
    // Never earlier than the service asked, and spread, because it asks many clients at the same moment.
    return { ms: retry_ms * (1 + Math.random() / 2), reason: `the service says: ${reason}`, wakeable: 'no' }
  }

  /** Reconnecting at once would end the newer connection, which would reconnect in turn: so wait for a look at the page. */
  #replaced(): Pause {
    const reason = 'a newer connection took its place'
    if (!hasPage()) throw new StreamError('replaced', reason)
    return { ms: NEVER, reason, wakeable: 'look' }
  }

  /** The first refused token is exchanged at once; after more, the token service gets time to recover. */
  #refused(refusal: Refused): Pause {
    const { status, message } = refusal
    if (status === 401) {
      const { tokens, timing } = this.#context
      const now = Date.now()
      if (this.#refusals++ === 0) this.#refusedAt = now
      const tried = this.#refusals > MIN_REFUSALS && now - this.#refusedAt > timing.refusedMs
      if (!tokens.mayImprove || tried) throw new StreamError('unauthorized', message, { status })
      tokens.refuse()
      return this.#refusals === 1 && tokens.renewable ? AT_ONCE : this.backoff(message)
    }
    if (refusal.isProblem && status < 500 && status !== 429 && status !== 408)
      throw new StreamError('refused', message, { status })
    const backoff = this.backoff(message)
    return refusal.retryAfterMs === 0
      ? backoff
      : { ms: refusal.retryAfterMs + backoff.ms, reason: message, wakeable: 'no' }
  }

  /**
   * A connection failed, and a browser does not say why. The poll is the same resource behind the same checks: if it
   * answers, this network blocks the transport; if not, it says what is wrong.
   */
  async #diagnose(transport: Transport, cursor: string | undefined): Promise<Pause> {
    const { base, tokens, timing, signal } = this.#context
    const ms = timing.openTimeoutMs
    try {
      const caller = { ...this.#context, token: await tokens.current(), signal: AbortSignal.timeout(ms) }
      await within(readPage(caller, cursor, 1), signal, ms)
    } catch (error) {
      if (error instanceof StreamError) throw error
      if (error instanceof Refused) return this.#refused(error)
      return this.backoff(
        (await allTaken(base))
          ? 'other streams hold the browser’s six HTTP/1.1 connections'
          : 'the service cannot be reached',
      )
    }
    this.#fallback.failed(transport)
    const backoff = this.backoff(`${transport} does not get through`)
    return this.#fallback.current === transport ? backoff : AT_ONCE
  }

  /** Full jitter: clients that lost the same instance come back spread over the whole time. */
  backoff(reason: string): Pause {
    const { backoffMs, backoffMaxMs } = this.#context.timing
    const ceiling = Math.min(backoffMs * 2 ** this.#failures, backoffMaxMs)
    this.#failures += 1
    return { ms: Math.max(1, Math.random() * ceiling), reason }
  }
}

import type { ControlMessage } from '../event.ts'
import type { Attempt } from './attempt.ts'
import type { Context } from './context.ts'
import { StreamError, type Transport } from './types.ts'

/** Why the client itself ends a connection. */
type Interruption =
  | 'closed'
  /** Nothing arrived for longer than heartbeats allow. */
  | 'silent'
  | 'gap'
  | 'offline'
  /** After any of these the stream reconnects at once. */
  | 'renewed'
  | 'online'
  | 'upgrade'
  /** A handler takes so long that its connection is closed meanwhile. */
  | 'busy'
  /** The page is frozen, or goes into the back-forward cache. */
  | 'away'

const AT_ONCE: readonly unknown[] = ['renewed', 'online', 'upgrade', 'busy', 'away']

/** In heartbeat intervals: one heartbeat may be late, two in a row mean a dead connection. */
export const HEARTBEATS_ALLOWED = 2.5

/** How soon a live connection answers a probe, which is sent when the network or the page comes back. */
const PROBE_MS = 5000

/** The shortest time between two requests for a token, however soon the tokens expire. */
const MIN_RENEWAL_MS = 1000

/** One connection as the stream sees it: whether it is alive, and when its token must be replaced. */
export class Session {
  readonly transport: Transport
  readonly attempt: Attempt
  interruption: Interruption | undefined
  closeMessage: Extract<ControlMessage, { type: 'stream.close' }>['data'] | undefined
  readonly #context: Context
  readonly #controller = new AbortController()
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  #openedAt: number | undefined
  #aliveAt = Date.now()
  #probedAt: number | undefined
  #answerMs = 0
  #quietMs: number
  #busy = false

  constructor(context: Context, transport: Transport, token: string | undefined, after: string | undefined) {
    this.#context = context
    this.transport = transport
    this.#quietMs = context.timing.openTimeoutMs
    const { base, fetch } = context
    this.attempt = { base, fetch, token, after, signal: this.signal, alive: () => this.#alive() }
    this.#watch()
    this.#planRenewal()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get isOpen(): boolean {
    return this.#openedAt !== undefined
  }

  get livedMs(): number {
    return this.#openedAt === undefined ? 0 : Date.now() - this.#openedAt
  }

  get restartsAtOnce(): boolean {
    return AT_ONCE.includes(this.interruption)
  }

  opened(heartbeatMs: number): void {
    this.#openedAt = Date.now()
    this.#quietMs = heartbeatMs * HEARTBEATS_ALLOWED
  }

  /** While a handler runs nothing is read, so silence proves nothing. */
  async whileBusy(work: () => Promise<void>): Promise<void> {
    this.#busy = true
    try {
      await work()
    } finally {
      this.#busy = false
      this.#alive()
    }
  }

  interrupt(why: Interruption): void {
    this.interruption ??= why
    this.#controller.abort(new Error(why))
  }

  /** The network or the page is back. A connection that can't be probed is replaced if the network was gone. */
  lookAfter(what: 'online' | 'look'): void {
    if (!this.isOpen) return
    if (this.attempt.probe !== undefined) this.#probe(PROBE_MS)
    else if (what === 'online') this.interrupt('online')
    this.#check()
  }

  after(ms: number, call: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      call()
    }, ms)
    this.#timers.add(timer)
  }

  end(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#controller.abort()
  }

  #alive(): void {
    this.#aliveAt = Date.now()
    this.#probedAt = undefined
  }

  #watch(): void {
    const ms = Math.min(this.#quietMs / 8, 5000)
    this.after(this.#probedAt === undefined ? ms : Math.min(ms, this.#answerMs / 4), () => {
      this.#check()
      if (!this.signal.aborted) this.#watch()
    })
  }

  /** By the wall clock, which continues while a machine sleeps. */
  #check(): void {
    const now = Date.now()
    const silentMs = now - this.#aliveAt
    if (this.#busy) return
    // Timers of a hidden page fire late: a silent WebSocket is probed before it counts as dead.
    if (this.isOpen && this.attempt.probe !== undefined) {
      if (this.#probedAt === undefined) {
        if (silentMs > this.#quietMs / 2) this.#probe(this.#quietMs / 2)
      } else if (now - this.#probedAt > this.#answerMs) this.interrupt('silent')
    } else if (silentMs > this.#quietMs) this.interrupt('silent')
  }

  #probe(answerMs: number): void {
    this.#probedAt ??= Date.now()
    this.#answerMs = answerMs
    this.attempt.probe?.()
  }

  #planRenewal(): void {
    const ms = this.#context.tokens.renewInMs(Date.now())
    if (ms !== undefined) this.after(Math.max(ms, MIN_RENEWAL_MS), () => void this.#renew())
  }

  async #renew(): Promise<void> {
    try {
      const token = await this.#context.tokens.fresh()
      if (!this.signal.aborted) this.renewed(token)
    } catch (error) {
      // After any other error it asks again; in the end the service says that the token has expired.
      if (error instanceof StreamError) return this.#context.fail(error)
    }
    if (!this.signal.aborted) this.#planRenewal()
  }

  /** There is a new token. A transport that can renew sends it over this connection, any other over the next one. */
  renewed(token: string | undefined): void {
    if (token === undefined || token === this.attempt.token) return
    this.attempt.token = token
    if (this.attempt.renew === undefined) this.interrupt('renewed')
    else this.attempt.renew(token)
  }
}

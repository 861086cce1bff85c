import type { ControlMessage } from '../event.ts'
import type { Open } from './attempt.ts'
import { type Context, contextOf } from './context.ts'
import { within } from './deadline.ts'
import { Delivery } from './delivery.ts'
import { isHidden, type PageChange, watchPage } from './page-lifecycle.ts'
import { NEVER, Pauses } from './pauses.ts'
import { openPoll } from './poll.ts'
import { markRead } from './read-marker.ts'
import { AT_ONCE, type Pause, Recovery } from './recovery.ts'
import { HEARTBEATS_ALLOWED, Session } from './session.ts'
import { findTabs } from './sharing.ts'
import { openSse } from './sse.ts'
import type { Tabs } from './tabs.ts'
import { TransportFallback } from './transport-fallback.ts'
import {
  type ClosedReason,
  type ConnectOptions,
  type EventOf,
  handlerFailed,
  type Notices,
  type State,
  StreamError,
  type Transport,
  wordsOf,
} from './types.ts'
import { openWebSocket } from './websocket.ts'

/** A hidden page polls this many times less often. */
const HIDDEN_FACTOR = 10

/** How long the stream waits at its end for a running handler and a save; so `done` settles within a second. */
const FINISH_MS = 800

/** How soon after `stream.close` the service ends a connection. */
const GOODBYE_MS = 1000

const PUT_AWAY: Pause = { ms: NEVER, reason: 'the page is put away' }

/**
 * One user's events, over as many connections as it takes.
 *
 * ```
 * starting ── store.load ──▶ connecting ── stream.open ──▶ live ── handler takes too long ──▶ busy
 *                             ▲  │  ▲                       │                                  │
 *                             │  │  └── new token, online,  │                                  │
 *              due, woken or  │  │      better transport ◀──┤                                  │
 *              handler done   │  │                          │ lost, silent, dismissed, gap     │
 *                             │  └─ no token, refused, ─┐   │ offline, page put away           │
 *                             │     unreachable         ▼   ▼                                  │
 *                             └────────────────────── waiting ◀── (its socket is closed) ──────┘
 *
 * any ── close(), signal, loop left, signed out, a StreamError ──▶ ending ── at most FINISH_MS ──▶ closed
 * ```
 *
 * `#run` goes through these states; `Recovery` decides what follows the end of a connection; `#end` leads out of any state,
 * because everything that `#run` waits for ends when `#ended` is aborted. `starting` and `busy` are shown as `waiting`.
 */
export class Stream<Own extends object = object> implements AsyncIterable<EventOf<Own>> {
  /** Settles when the stream has ended: rejects with a StreamError unless the caller ended it or signed out. */
  readonly done: Promise<void>
  readonly #options: ConnectOptions
  readonly #context: Context
  readonly #fallback: TransportFallback
  readonly #recovery: Recovery
  readonly #transports: Readonly<Record<Transport, Open>>
  readonly #delivery: Delivery
  readonly #pauses = new Pauses()
  readonly #ended = new AbortController()
  #state: State = { name: 'waiting', reason: 'starting', retryInMs: 0 }
  #session: Session | undefined
  #ending: { readonly reason: ClosedReason; readonly error?: StreamError } | undefined
  #away = false
  #shares: boolean
  #tabs: Tabs | undefined

  /** @param onControl for the tab that leads: called with each control message of the stream */
  constructor(options: ConnectOptions<Own>, onControl: (message: ControlMessage) => void = () => {}) {
    // Only the caller's handlers know the data of their own events.
    const untyped = options as never as ConnectOptions
    const { transport, signal } = options
    const WebSocket = options.WebSocket ?? (globalThis.WebSocket as ConnectOptions['WebSocket'])
    if (transport === 'websocket' && WebSocket === undefined)
      throw new TypeError('connect: no WebSocket here; pass the option WebSocket')
    const ended = this.#ended.signal
    const context = contextOf(untyped, ended, (error) => this.#fail(error))
    const { pollIntervalMs, openTimeoutMs } = context.timing
    const quietMs = pollIntervalMs * HIDDEN_FACTOR + openTimeoutMs
    this.#options = untyped
    this.#context = context
    this.#shares = options.share === 'tabs'
    this.#fallback = new TransportFallback(transport, WebSocket !== undefined, context.base)
    this.#recovery = new Recovery(context, this.#fallback)
    this.#transports = {
      sse: openSse,
      poll: openPoll(quietMs / HEARTBEATS_ALLOWED, (until) => this.#pollPause(until)),
      websocket: openWebSocket(WebSocket),
    }
    this.#delivery = new Delivery(context, untyped, {
      opened: (session) => this.#opened(session),
      onControl,
      busy: () => this.#wait('a handler is busy', NEVER),
    })
    watchPage((change) => this.#pageChanged(change), ended)
    signal?.addEventListener('abort', () => this.close(), { signal: ended })
    if (signal?.aborted) this.close()
    this.done = this.#run()
    // A caller that learns of the end by a callback need not handle the promise as well.
    if (options.onState !== undefined) this.done.catch(() => {})
  }

  get state(): State {
    return this.#state
  }

  /** The cursor after the last event that was handled; undefined before the first connection. */
  get cursor(): string | undefined {
    return this.#delivery.cursor
  }

  /** Events the user has not read; 0 before the first connection. */
  get unread(): number {
    return this.#delivery.unread
  }

  /**
   * Adds a handler for one type of event, for all (`*`), or for what happens to the stream (`stream.state`, `stream.reset`,
   * `stream.gap`, `stream.unread`). An event is done when all its handlers are; events without a handler are skipped.
   *
   * @returns what removes it again
   * @throws TypeError if a loop iterates over the stream
   */
  on<Type extends keyof Notices<Own> & string>(
    type: Type,
    handler: (value: Notices<Own>[Type]) => void | Promise<void>,
  ): () => void {
    return this.#delivery.on(type, handler)
  }

  /** Ends the stream. A running handler has up to a second to finish; then `done` settles. */
  close(): void {
    this.#end({ reason: 'by_caller' })
  }

  /** Stops waiting and tries again now, unless the service has asked to wait. */
  retry(): void {
    this.#pauses.wake(true)
  }

  /**
   * Uses another token of the same user from now on. null: the user has signed out, and the stream ends.
   *
   * @throws TypeError if the text is not a token
   */
  setToken(token: string | null): void {
    try {
      this.#context.tokens.set(token)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      this.#fail(error)
    }
    this.#tabs?.setToken(token)
    if (token !== null) this.#session?.renewed(token.trim())
    this.#pauses.wake(true)
  }

  /**
   * Marks everything up to a cursor as read, on all of the user's devices. The mark never moves back.
   *
   * @param cursor of an event, `id`; the last one handled where left out
   * @throws StreamError `refused` with the status if the service refuses it, or the reason why the stream has ended; an
   *   Error if there is no answer in time
   */
  async markRead(cursor = this.cursor): Promise<void> {
    if (cursor === undefined || cursor === '0') return
    const mark = await markRead(this.#context, cursor)
    this.#delivery.marked(mark.cursor, mark.unread)
  }

  /**
   * The events, one at a time. The cursor moves when the loop asks for the next one, so an event whose iteration did not
   * finish comes again. Leaving the loop closes the stream.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<EventOf<Own>, void, void> {
    if (this.#delivery.hasHandlers) throw new TypeError('either handlers or iterating, not both')
    try {
      yield* this.#delivery.handoff.events(this.done)
    } finally {
      this.close()
    }
  }

  async #run(): Promise<void> {
    try {
      await this.#delivery.restore()
      while (this.#ending === undefined) {
        const pause = await this.#connect()
        const { ms, reason, wakeable = 'any' } = this.#away ? PUT_AWAY : pause
        if (ms > 0 && this.#ending === undefined) {
          this.#wait(reason, ms)
          await this.#pauses.pause(ms, wakeable)
        }
      }
    } catch (error) {
      this.#fail(error instanceof StreamError ? error : handlerFailed(error))
    }
    await this.#delivery.finish(FINISH_MS)
    const ending = this.#ending ?? { reason: 'by_caller' }
    this.#setState({ name: 'closed', ...ending })
    if (ending.error !== undefined) throw ending.error
  }

  /** One connection from its beginning to its end; returns how long to wait before the next. */
  async #connect(): Promise<Pause> {
    // Something other than the page's return ended the pause.
    if (this.#away) return PUT_AWAY
    const transport = this.#fallback.current
    this.#setState({ name: 'connecting', transport })
    const { tokens } = this.#context
    try {
      await tokens.current()
    } catch (error) {
      if (error instanceof StreamError) throw error
      return this.#recovery.backoff(`no token: ${wordsOf(error)}`)
    }
    if (this.#shares) {
      this.#shares = false
      this.#tabs = await findTabs(this.#context, this.#options, Stream)
    }
    if (this.#ending !== undefined) return AT_ONCE
    // Read only now: the caller may have set another one meanwhile.
    const session = new Session(this.#context, transport, tokens.token, this.cursor)
    this.#session = session
    let cause: unknown
    try {
      await this.#follow(session)
    } catch (error) {
      if (error instanceof StreamError) throw error
      cause = session.signal.aborted ? session.signal.reason : error
    } finally {
      this.#session = undefined
      session.end()
    }
    if (this.#ending !== undefined) return AT_ONCE
    this.#context.debug(`the connection has ended: ${session.closeMessage?.reason ?? wordsOf(cause)}`)
    return this.#recovery.after(session, cause, this.cursor)
  }

  /** Handles a connection's messages until it ends. */
  async #follow(session: Session): Promise<void> {
    const { attempt, signal, transport } = session
    const messages = this.#tabs?.open(attempt) ?? this.#transports[transport](attempt)
    try {
      for (;;) {
        // A transport can hang in a fetch that ignores its signal: don't wait for it. After its last message the service
        // ends the connection, or we do.
        const { done, value } = await within(messages.next(), signal, session.closeMessage && GOODBYE_MS)
        if (done) return
        if (value.type === 'tabs.state') this.#setState(value.state)
        else await session.whileBusy(() => this.#delivery.take(value, session))
        signal.throwIfAborted()
      }
    } finally {
      void messages.return().catch(() => {})
    }
  }

  #opened(session: Session): void {
    const { transport } = session
    this.#recovery.opened()
    // The tab that leads says which transport works.
    if (this.#tabs !== undefined) return
    this.#fallback.worked(transport)
    this.#setState({ name: 'live', transport })
    if (transport === 'poll' && this.#fallback.hasOthers)
      session.after(this.#context.timing.upgradeMs, () => {
        this.#fallback.forgive()
        session.interrupt('upgrade')
      })
  }

  async #pollPause(signal: AbortSignal): Promise<void> {
    const interval = this.#context.timing.pollIntervalMs * (isHidden() ? HIDDEN_FACTOR : 1)
    // Clients that connected at the same moment must not retry at the same moment.
    await this.#pauses.pauseUnless(signal, interval * (0.75 + Math.random() / 2))
  }

  /** The network or the page is back: ends a pause, and probes a connection that seems alive. */
  #pageChanged(change: PageChange): void {
    // The tab that has the connection probes it.
    if (this.#tabs !== undefined && change !== 'away' && change !== 'back') {
      if (change === 'look') this.#tabs.look()
      return
    }
    if (change === 'away' || change === 'offline') {
      this.#away ||= change === 'away'
      this.#session?.interrupt(change)
      if (change === 'away') this.#tabs?.leave()
      return
    }
    if (change === 'online') this.#fallback.forgive()
    else this.#away = false
    this.#pauses.wake(change !== 'online')
    if (change !== 'back') this.#session?.lookAfter(change)
  }

  #fail(error: StreamError): void {
    this.#end(error.reason === 'signed_out' ? { reason: 'signed_out' } : { reason: error.reason, error })
  }

  /** Ends the stream from any state: everything that `#run` waits for ends. */
  #end(ending: { readonly reason: ClosedReason; readonly error?: StreamError }): void {
    if (this.#ending !== undefined) return
    this.#ending = ending
    this.#delivery.handoff.close()
    this.#session?.interrupt('closed')
    this.#ended.abort(ending.error ?? new StreamError(ending.reason, 'the stream is closed'))
    this.#pauses.end()
    this.#tabs?.leave()
  }

  #wait(reason: string, retryInMs: number): void {
    this.#setState({ name: 'waiting', reason, retryInMs })
  }

  #setState(state: State): void {
    this.#state = state
    this.#context.debug(JSON.stringify(state))
    this.#delivery.tell('stream.state', state)
  }
}

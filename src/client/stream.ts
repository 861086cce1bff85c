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

/** A page nobody looks at polls so many times more seldom. */
const HIDDEN_FACTOR = 10

/** So long a handler at work, and a save under way, are waited for when the stream ends; `done` settles within a second. */
const FINISH_MS = 800

/** The service ends a connection so soon after it has said `stream.close`. */
const GOODBYE_MS = 1000

const PUT_AWAY: Pause = { ms: NEVER, reason: 'the page is put away' }

/**
 * One user's events, kept coming over any number of connections.
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
 * `#run` goes around the circle; `Recovery` says what the end of a connection leads to; `#end` leads out of any state,
 * because everything that `#run` waits for ends with `#ended`. `starting` and `busy` show as `waiting`.
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

  /** @param onControl for the tab that leads: hears what the service says of the stream */
  constructor(options: ConnectOptions<Own>, onControl: (message: ControlMessage) => void = () => {}) {
    // Only the caller's handlers know what their own events hold.
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
    // A caller that is told of the end by a callback need not listen to the promise as well.
    if (options.onState !== undefined) this.done.catch(() => {})
  }

  get state(): State {
    return this.#state
  }

  /** The place after the last event that was handled; undefined before the first connection. */
  get cursor(): string | undefined {
    return this.#delivery.cursor
  }

  /** Events the user has not read; 0 before the first connection. */
  get unread(): number {
    return this.#delivery.unread
  }

  /**
   * Adds a handler for one type of event, for all (`*`), or for what happens to the stream (`stream.state`, `stream.reset`,
   * `stream.gap`, `stream.unread`). An event is done when all its handlers are; events without one are passed over.
   *
   * @returns what removes it again
   * @throws TypeError where somebody iterates over the stream
   */
  on<Type extends keyof Notices<Own> & string>(
    type: Type,
    handler: (value: Notices<Own>[Type]) => void | Promise<void>,
  ): () => void {
    return this.#delivery.on(type, handler)
  }

  /** Ends the stream. An event that is being handled is finished if it takes less than a second; `done` tells when. */
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
   * @throws TypeError where the text is no token
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
   * Says that the user has read everything up to a cursor, on all devices. It never moves back.
   *
   * @param cursor of an event, `id`; the last one handled where left out
   * @throws StreamError `refused` with the status where the service does not take it, or why the stream has ended;
   *   an Error where there is no answer in time
   */
  async markRead(cursor = this.cursor): Promise<void> {
    if (cursor === undefined || cursor === '0') return
    const mark = await markRead(this.#context, cursor)
    this.#delivery.marked(mark.cursor, mark.unread)
  }

  /**
   * The events, one at a time. The cursor moves when the next one is asked for, so an event whose turn of the loop did
   * not end comes again; leaving the loop closes the stream.
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

  /** One connection from its beginning to its end; says how long to wait before the next. */
  async #connect(): Promise<Pause> {
    // Something else than the page's return has ended the pause.
    if (this.#away) return PUT_AWAY
    const transport = this.#fallback.current
    this.#setState({ name: 'connecting', transport })
    let token: string | undefined
    try {
      token = await this.#context.tokens.current()
    } catch (error) {
      if (error instanceof StreamError) throw error
      return this.#recovery.backoff(`no token: ${wordsOf(error)}`)
    }
    if (this.#shares) {
      this.#shares = false
      this.#tabs = await findTabs(this.#context, this.#options, Stream)
    }
    if (this.#ending !== undefined) return AT_ONCE
    const session = new Session(this.#context, transport, token, this.cursor)
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

  /** Takes what a connection brings, until it ends. */
  async #follow(session: Session): Promise<void> {
    const { attempt, signal, transport } = session
    const messages = this.#tabs?.open(attempt) ?? this.#transports[transport](attempt)
    try {
      for (;;) {
        // A transport can hang in a fetch that heeds no signal: it is left behind. After its last message the service
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
    // A crowd that came together must not ask together.
    await this.#pauses.pauseUnless(signal, interval * (0.75 + Math.random() / 2))
  }

  /** What was put off is done now where there is hope again, and what seems to live is asked whether it does. */
  #pageChanged(change: PageChange): void {
    // Whether the connection still lives is for the tab to find out that has it.
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

  /** Out of any state: whatever `#run` waits for ends. */
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

import type { ControlMessage } from '../event.ts'
import { type Open, refusalOf, requestInit } from './attempt.ts'
import { CursorSaver } from './cursor-saver.ts'
import { within } from './deadline.ts'
import { Delivery } from './delivery.ts'
import { isHidden, type PageChange, watchPage } from './page-lifecycle.ts'
import { NEVER, Pauses } from './pauses.ts'
import { openPoll, readPage } from './poll.ts'
import { AT_ONCE, type Pause, Recovery } from './recovery.ts'
import { Session } from './session.ts'
import { openSse } from './sse.ts'
import type { Tabs } from './tabs.ts'
import { Tokens, takeTicket } from './tokens.ts'
import { TransportFallback } from './transport-fallback.ts'
import {
  type ClosedReason,
  type ConnectOptions,
  type EventOf,
  handlerFailed,
  type Notices,
  type State,
  StreamError,
  type Timing,
  type Transport,
  wordsOf,
} from './types.ts'
import { openWebSocket } from './websocket.ts'

const TIMING: Timing = {
  openTimeoutMs: 8000,
  backoffMs: 500,
  backoffMaxMs: 30_000,
  pollIntervalMs: 3000,
  upgradeMs: 300_000,
  answerTimeoutMs: 10_000,
  handlerTimeoutMs: 30_000,
  refusedMs: 180_000,
}

/** A page nobody looks at polls so many times more seldom. */
const HIDDEN_FACTOR = 10

/** So long a handler at work, and a save under way, are waited for when the stream ends; `done` settles within a second. */
const FINISH_MS = 800

/** The service ends a connection so soon after it has said `stream.close`. */
const GOODBYE_MS = 1000

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
  readonly #timing: Timing
  readonly #base: URL
  readonly #fetch: typeof fetch
  readonly #debug: (what: string) => void
  readonly #tokens: Tokens
  readonly #fallback: TransportFallback
  readonly #recovery: Recovery
  readonly #transports: Readonly<Record<Transport, Open>>
  readonly #saver: CursorSaver
  readonly #delivery: Delivery
  readonly #options: ConnectOptions
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
    this.#options = options as never
    this.#shares = options.share === 'tabs'
    const { url, signal, debug } = options
    const { signal: ended } = this.#ended
    this.#timing = { ...TIMING, ...options.timing }
    this.#base = new URL(url)
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/'
    // Called as a function of its own: browsers refuse a fetch whose `this` is anything but the window.
    const send = options.fetch ?? globalThis.fetch
    this.#fetch = (input, init) => send(input, init)
    this.#debug =
      typeof debug === 'function' ? debug : debug ? (what) => console.debug(`glimpse: ${what}`) : () => {}
    this.#tokens = new Tokens(options, { ms: this.#timing.answerTimeoutMs, signal: ended })
    const WebSocket = options.WebSocket ?? (globalThis.WebSocket as ConnectOptions['WebSocket'])
    if (options.transport === 'websocket' && WebSocket === undefined)
      throw new TypeError('connect: no WebSocket here; pass the option WebSocket')
    this.#fallback = new TransportFallback(
      transportsOf(options.transport, WebSocket !== undefined),
      this.#base,
    )
    this.#recovery = new Recovery({
      base: this.#base,
      fetch: this.#fetch,
      tokens: this.#tokens,
      fallback: this.#fallback,
      timing: this.#timing,
      signal: ended,
    })
    this.#transports = {
      sse: openSse(this.#fetch),
      poll: openPoll(this.#fetch, (signal) => this.#pollPause(signal)),
      websocket: openWebSocket(WebSocket, (attempt) => takeTicket(this.#fetch, attempt)),
    }
    this.#saver = new CursorSaver(options.store, this.#debug)
    this.#delivery = new Delivery({
      options,
      saver: this.#saver,
      handlerTimeoutMs: this.#timing.handlerTimeoutMs,
      signal: ended,
      fail: (error) => this.#fail(error),
      opened: (session) => this.#opened(session),
      onControl,
      busy: () => this.#wait('a handler is busy', NEVER),
    })
    watchPage((change) => this.#pageChanged(change), ended)
    signal?.addEventListener('abort', () => this.close(), { signal: ended })
    if (signal?.aborted === true) this.close()
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
      this.#tokens.set(token)
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
    let response = await this.#putRead(cursor)
    if (response.status === 401 && this.#tokens.renewable) {
      this.#tokens.refuse()
      response = await this.#putRead(cursor)
    }
    if (!response.ok) {
      const { message, status } = await this.#inTime(refusalOf(response))
      throw new StreamError('refused', message, { status })
    }
    const { cursor: read, unread } = await this.#inTime(response.json())
    this.#delivery.marked(read, unread)
  }

  async #putRead(cursor: string): Promise<Response> {
    const { signal } = this.#ended
    const init = requestInit({ token: await this.#tokens.current(), signal }, 'application/json')
    const answer = this.#fetch(new URL('me/read', this.#base), {
      ...init,
      method: 'PUT',
      headers: { ...init.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ cursor }),
    })
    return this.#inTime(answer)
  }

  #inTime<Result>(work: Promise<Result>): Promise<Result> {
    return within(work, {
      signal: this.#ended.signal,
      ms: this.#timing.answerTimeoutMs,
      what: 'markRead',
    })
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
      const { signal } = this.#ended
      const kept = await this.#saver.load(signal, this.#timing.answerTimeoutMs)
      if (this.#ending === undefined) this.#delivery.restore(kept)
      while (this.#ending === undefined) {
        const { ms, reason, wakeable = 'any' } = await this.#connect()
        if (this.#away) {
          this.#wait('the page is put away', NEVER)
          await this.#pauses.pause(NEVER, 'any')
        } else if (ms > 0 && this.#ending === undefined) {
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
    const transport = this.#fallback.current
    if (this.#away) return AT_ONCE
    this.#setState({ name: 'connecting', transport })
    let token: string | undefined
    try {
      token = await this.#tokens.current()
    } catch (error) {
      if (error instanceof StreamError) throw error
      return this.#recovery.backoff(`no token: ${wordsOf(error)}`)
    }
    if (this.#shares) await this.#findTabs()
    if (this.#ending !== undefined) return AT_ONCE
    const { openTimeoutMs, pollIntervalMs } = this.#timing
    const tabs = this.#tabs
    const session = new Session({
      isShared: tabs !== undefined,
      transport,
      base: this.#base,
      token,
      after: this.cursor,
      tokens: this.#tokens,
      openTimeoutMs,
      quietMs:
        transport === 'poll' && tabs === undefined
          ? pollIntervalMs * HIDDEN_FACTOR + openTimeoutMs
          : undefined,
      fail: (error) => this.#fail(error),
    })
    this.#session = session
    const messages = tabs?.open(session.attempt) ?? this.#transports[transport](session.attempt)
    let cause: unknown
    try {
      for (;;) {
        // A transport can hang in a fetch that heeds no signal: it is left behind. After its last message the service
        // ends the connection, or we do.
        const ms = session.closeMessage && GOODBYE_MS
        const { done, value } = await within(messages.next(), { signal: session.signal, ms })
        if (done) break
        if (value.type === 'tabs.state') this.#setState(value.state)
        else await session.whileBusy(() => this.#delivery.take(value, session))
        session.signal.throwIfAborted()
      }
    } catch (error) {
      if (error instanceof StreamError) throw error
      cause = session.signal.aborted ? session.signal.reason : error
    } finally {
      this.#session = undefined
      session.end()
      void messages.return().catch(() => {})
    }
    if (this.#ending !== undefined) return AT_ONCE
    this.#debug(`the connection has ended: ${session.closeMessage?.reason ?? wordsOf(cause)}`)
    return this.#recovery.after(session, cause, this.cursor)
  }

  #opened(session: Session): void {
    const { transport } = session
    this.#recovery.opened()
    if (session.isShared) return
    this.#fallback.worked(transport)
    this.#setState({ name: 'live', transport })
    if (transport === 'poll' && this.#fallback.hasOthers)
      session.after(this.#timing.upgradeMs, () => {
        this.#fallback.forgive()
        session.interrupt('upgrade')
      })
  }

  async #pollPause(signal: AbortSignal): Promise<void> {
    const interval = this.#timing.pollIntervalMs * (isHidden() ? HIDDEN_FACTOR : 1)
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

  /** Joins the other tabs of this user, where that can be done; else this one has its own connection. */
  async #findTabs(): Promise<void> {
    const { user } = this.#tokens
    this.#shares = false
    try {
      const { canShareTabs, Tabs } = await import('./tabs.ts')
      if (user === undefined || !canShareTabs()) return this.#debug('tabs: not shared here')
      this.#tabs = new Tabs({
        name: `glimpse ${this.#base} ${user}`,
        connect: this.#options,
        token: () => this.#tokens.token,
        stream: Stream,
        readPage: (attempt, after) => readPage(this.#fetch, attempt, after, 200),
        error: StreamError,
        fail: (error) => this.#fail(error),
        debug: this.#debug,
      })
    } catch (error) {
      this.#debug(`tabs: ${wordsOf(error)}`)
    }
  }

  #wait(reason: string, retryInMs: number): void {
    this.#setState({ name: 'waiting', reason, retryInMs })
  }

  #setState(state: State): void {
    this.#state = state
    this.#debug(JSON.stringify(state))
    this.#delivery.tell('stream.state', state)
  }
}

function transportsOf(
  wanted: ConnectOptions['transport'] = 'auto',
  hasWebSocket: boolean,
): readonly Transport[] {
  if (wanted !== 'auto') return [wanted]
  // WebSocket first: over HTTP/1.1 a browser opens six connections to a host, and six tabs with SSE would take them all.
  return hasWebSocket ? ['websocket', 'sse', 'poll'] : ['sse', 'poll']
}

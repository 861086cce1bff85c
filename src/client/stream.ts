import type { ControlMessage, GlimpseEvent } from '../event.ts'
import { type Open, refusalOf, requestInit } from './attempt.ts'
import { ABANDONED, Handoff } from './handoff.ts'
import { isHidden, watchPage } from './page-lifecycle.ts'
import { Pauses } from './pauses.ts'
import { openPoll } from './poll.ts'
import { Position } from './position.ts'
import { type Pause, Recovery, wordsOf } from './recovery.ts'
import { Session } from './session.ts'
import { openSse } from './sse.ts'
import { Tickets, Tokens } from './tokens.ts'
import { TransportFallback } from './transport-fallback.ts'
import {
  type ConnectOptions,
  type Message,
  type State,
  StreamError,
  type Timing,
  type Transport,
} from './types.ts'
import { Unread } from './unread.ts'
import { openWebSocket } from './websocket.ts'

const TIMING: Timing = {
  openTimeoutMs: 8000,
  backoffMs: 500,
  backoffMaxMs: 30_000,
  pollIntervalMs: 3000,
  upgradeMs: 300_000,
}

/** A page nobody looks at polls so many times more seldom. */
const HIDDEN_FACTOR = 10

/** One user's events, kept coming whatever happens to the connections that bring them. */
export class Stream implements AsyncIterable<GlimpseEvent> {
  /** Settles when the stream has ended: rejects with a StreamError unless the caller ended it. */
  readonly done: Promise<void>
  readonly #options: ConnectOptions
  readonly #timing: Timing
  readonly #base: URL
  readonly #fetch: typeof fetch
  readonly #tokens: Tokens
  readonly #fallback: TransportFallback
  readonly #recovery: Recovery
  readonly #transports: Readonly<Record<Transport, Open>>
  readonly #unread = new Unread()
  readonly #handoff = new Handoff()
  readonly #pauses = new Pauses()
  readonly #handle: (event: GlimpseEvent) => unknown
  #position: Position
  #state: State = { name: 'waiting', reason: 'starting', retryInMs: 0 }
  #session: Session | undefined
  #closed = false
  #toldUnread = -1
  #fault: StreamError | undefined

  constructor(options: ConnectOptions) {
    const { url, after = 'now', onEvent, signal } = options
    this.#options = options
    this.#timing = { ...TIMING, ...options.timing }
    this.#base = new URL(url)
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/'
    // Called as a function of its own: browsers refuse a fetch whose `this` is anything but the window.
    const send = options.fetch ?? globalThis.fetch
    this.#fetch = (input, init) => send(input, init)
    this.#tokens = new Tokens(options.token, options.getToken)
    const WebSocket = options.WebSocket ?? (globalThis.WebSocket as ConnectOptions['WebSocket'])
    if (options.transport === 'websocket' && WebSocket === undefined)
      throw new TypeError('connect: there is no WebSocket here; give one in the option WebSocket')
    this.#fallback = new TransportFallback(transportsOf(options.transport, WebSocket !== undefined))
    this.#recovery = new Recovery({
      base: this.#base,
      fetch: this.#fetch,
      tokens: this.#tokens,
      fallback: this.#fallback,
      timing: this.#timing,
    })
    const tickets = new Tickets(this.#fetch)
    this.#transports = {
      sse: openSse(this.#fetch),
      poll: openPoll(this.#fetch, (signal) => this.#pollPause(signal)),
      websocket: openWebSocket(WebSocket, (attempt) => tickets.take(attempt)),
    }
    this.#position = new Position(after === 'now' ? undefined : after === 'oldest' ? '0' : after)
    this.#handle = onEvent ?? ((event) => this.#handoff.offer(event))
    const unwatch = watchPage((what) => this.#lookAfter(what))
    const close = () => this.close()
    signal?.addEventListener('abort', close)
    if (signal?.aborted === true) this.#closed = true
    this.done = this.#run().finally(() => {
      unwatch()
      signal?.removeEventListener('abort', close)
    })
    // Who is told of the end by a callback need not listen to the promise as well.
    if (options.onState !== undefined) this.done.catch(() => {})
  }

  get state(): State {
    return this.#state
  }

  /** The place after the last event that was handled; undefined before the first connection. */
  get cursor(): string | undefined {
    return this.#position.cursor
  }

  /** Events the user has not read; 0 before the first connection. */
  get unread(): number {
    return this.#unread.count
  }

  /** Ends the stream. An event that is being handled is finished first; `done` tells when. */
  close(): void {
    this.#closed = true
    this.#handoff.close()
    this.#session?.interrupt('closed')
    this.#recovery.stop()
    this.#pauses.end()
  }

  /**
   * Says that the user has read everything up to a cursor, on all devices. It never moves back.
   *
   * @param cursor of an event, `id`; the last one handled where left out
   * @throws StreamError `refused` with the status where the service does not take it; TypeError where it can't be reached
   */
  async markRead(cursor = this.#position.cursor): Promise<void> {
    if (cursor === undefined || cursor === '0') return
    let response = await this.#putRead(cursor)
    if (response.status === 401 && this.#tokens.renewable) {
      this.#tokens.refuse()
      response = await this.#putRead(cursor)
    }
    if (!response.ok) {
      const { message, status } = await refusalOf(response)
      throw new StreamError('refused', message, { status })
    }
    const { cursor: read, unread } = await response.json()
    this.#unread.marked(read, unread)
    this.#tellUnread()
  }

  async #putRead(cursor: string): Promise<Response> {
    const { signal } = new AbortController()
    const init = requestInit({ token: await this.#tokens.current(), signal }, 'application/json')
    return this.#fetch(new URL('me/read', this.#base), {
      ...init,
      method: 'PUT',
      headers: { ...init.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ cursor }),
    })
  }

  /**
   * The events, one at a time. The cursor moves when the next one is asked for, so an event whose turn of the loop did
   * not end comes again; leaving the loop closes the stream.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<GlimpseEvent, void, void> {
    if (this.#options.onEvent !== undefined)
      throw new TypeError('connect: either onEvent or iterating, not both')
    try {
      yield* this.#handoff.events(this.done)
    } finally {
      this.close()
    }
  }

  async #run(): Promise<void> {
    try {
      const kept = await this.#options.store?.load()
      if (typeof kept === 'string' && kept !== '') this.#position = new Position(kept)
      while (!this.#closed) {
        const { ms, reason, asked = false } = await this.#connect()
        if (this.#closed) break
        if (ms > 0) {
          this.#setState({ name: 'waiting', reason, retryInMs: ms })
          // A pause that the service asked for is kept.
          await this.#pauses.pause(ms, !asked)
        }
      }
      if (this.#fault !== undefined) throw this.#fault
      this.#setState({ name: 'closed', reason: 'by_caller' })
    } catch (error) {
      const failure = error instanceof StreamError ? error : handlerFailed(error)
      this.#closed = true
      this.#setState({ name: 'closed', reason: failure.reason, error: failure })
      throw failure
    }
  }

  /** One connection from its beginning to its end; says how long to wait before the next. */
  async #connect(): Promise<Pause> {
    const transport = this.#fallback.current
    this.#setState({ name: 'connecting', transport })
    let token: string | undefined
    try {
      token = await this.#tokens.current()
    } catch (error) {
      return this.#recovery.backoff(`no token: ${wordsOf(error)}`)
    }
    if (this.#closed) return { ms: 0, reason: '' }
    const { openTimeoutMs, pollIntervalMs } = this.#timing
    const session = new Session({
      transport,
      base: this.#base,
      token,
      after: this.#position.cursor,
      tokens: this.#tokens,
      openTimeoutMs,
      quietMs: transport === 'poll' ? pollIntervalMs * HIDDEN_FACTOR + openTimeoutMs : undefined,
    })
    this.#session = session
    try {
      for await (const message of this.#transports[transport](session.attempt)) {
        if (session.signal.aborted) break
        await session.whileBusy(() => this.#take(message, session))
      }
      session.signal.throwIfAborted()
      return await this.#recovery.after(session, undefined, this.#position.cursor)
    } catch (error) {
      if (error instanceof StreamError) throw error
      if (this.#closed) return { ms: 0, reason: '' }
      return await this.#recovery.after(
        session,
        session.signal.aborted ? session.signal.reason : error,
        this.#position.cursor,
      )
    } finally {
      this.#session = undefined
      session.end()
    }
  }

  async #take(message: Message, session: Session): Promise<void> {
    switch (message.type) {
      case 'stream.open':
        return this.#opened(message.data, session)
      case 'stream.reset':
        await this.#callOut(() => this.#options.onReset?.(message.data))
        this.#unread.kept(message.data.oldest)
        return this.#moveTo(message.data.cursor)
      case 'stream.close':
        session.closeMessage = message.data
        return
      case 'stream.read':
        this.#unread.marked(message.data.cursor, message.data.unread)
        return this.#tellUnread()
    }
    // Control messages to come: whoever does not know them passes them over.
    if ('seq' in message) await this.#event(message, session)
  }

  async #opened(
    data: Extract<ControlMessage, { type: 'stream.open' }>['data'],
    session: Session,
  ): Promise<void> {
    session.opened(data.heartbeat_ms)
    this.#fallback.worked(session.transport)
    this.#recovery.opened()
    // A cursor that we have stays until a reset follows or an event does: were the connection to end in between, the
    // reset would never be heard of.
    const { cursor } = this.#position
    if (cursor === undefined || cursor === '0') await this.#moveTo(data.cursor)
    this.#unread.opened(data.read, data.unread, data.oldest)
    this.#tellUnread()
    this.#setState({ name: 'live', transport: session.transport })
    if (session.transport === 'poll' && this.#fallback.hasOthers)
      session.after(this.#timing.upgradeMs, () => {
        this.#fallback.forgive()
        session.interrupt('upgrade')
      })
  }

  async #event(event: GlimpseEvent, session: Session): Promise<void> {
    const verdict = this.#position.judge(event)
    if (verdict === 'seen') return
    if (verdict !== 'next') {
      this.#tell(() => this.#options.onGap?.(verdict))
      if (!verdict.lost) return session.interrupt('gap')
    }
    this.#unread.saw(event.seq)
    this.#tellUnread()
    if ((await this.#callOut(() => this.#handle(event))) === ABANDONED) return
    await this.#moveTo(event.id)
  }

  async #callOut<Result>(call: () => Result): Promise<Awaited<Result>> {
    try {
      return await call()
    } catch (error) {
      throw handlerFailed(error)
    }
  }

  async #moveTo(cursor: string): Promise<void> {
    this.#position.moveTo(cursor)
    try {
      await this.#options.store?.save(cursor)
    } catch {
      // An older cursor stays kept: it costs events that come again, not one that is lost.
    }
  }

  async #pollPause(signal: AbortSignal): Promise<void> {
    const interval = this.#timing.pollIntervalMs * (isHidden() ? HIDDEN_FACTOR : 1)
    // A crowd that came together must not ask together.
    await this.#pauses.pauseUnless(signal, interval * (0.75 + Math.random() / 2))
  }

  /** The network or the page is back: what was put off is done now, and what seems to live is asked whether it does. */
  #lookAfter(what: 'online' | 'visible'): void {
    if (what === 'online') this.#fallback.forgive()
    this.#pauses.wake()
    this.#session?.lookAfter(what)
  }

  /** Calls somebody who only looks on. One that fails ends the stream as a handler would: nothing fails unheard. */
  #tell(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#fault ??= handlerFailed(error)
      this.close()
    }
  }

  #setState(state: State): void {
    this.#state = state
    this.#tell(() => this.#options.onState?.(state))
  }

  #tellUnread(): void {
    const { count } = this.#unread
    if (count === this.#toldUnread) return
    this.#toldUnread = count
    this.#tell(() => this.#options.onUnread?.(count))
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

function handlerFailed(error: unknown): StreamError {
  return new StreamError('handler_failed', `a handler failed: ${wordsOf(error)}`, { cause: error })
}

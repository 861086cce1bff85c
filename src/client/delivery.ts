import type { ControlMessage, GlimpseEvent } from '../event.ts'
import type { Context } from './context.ts'
import { CursorSaver } from './cursor-saver.ts'
import { within } from './deadline.ts'
import { ABANDONED, Handoff } from './handoff.ts'
import { Listeners } from './listeners.ts'
import { Position } from './position.ts'
import type { Session } from './session.ts'
import { type ConnectOptions, handlerFailed, type Message } from './types.ts'
import { Unread } from './unread.ts'

type Opened = Extract<ControlMessage, { type: 'stream.open' }>['data']

/** What the stream is told about its messages. */
export interface Observer {
  opened(session: Session): void
  /** Called with each control message before it takes effect. */
  onControl(message: ControlMessage): void
  /** A handler took so long that its connection was closed. */
  busy(): void
}

/** Handles messages: checks the numbers, calls the handlers one at a time, then moves the cursor and saves it. */
export class Delivery {
  readonly listeners = new Listeners()
  readonly handoff = new Handoff()
  readonly #context: Context
  readonly #observer: Observer
  readonly #saver: CursorSaver
  readonly #unread = new Unread()
  readonly #position: Position
  #work: Promise<void> = Promise.resolve()
  hasHandlers = false
  #finished = false
  #toldUnread = -1

  constructor(context: Context, options: ConnectOptions, observer: Observer) {
    this.#context = context
    this.#observer = observer
    this.#saver = new CursorSaver(options.store, context)
    const { after = 'now', onEvent, onReset, onGap, onState, onUnread } = options
    this.#position = new Position(after === 'now' ? undefined : after === 'oldest' ? '0' : after)
    this.on('*', onEvent)
    this.on('stream.reset', onReset)
    this.on('stream.gap', onGap)
    this.on('stream.state', onState)
    this.on('stream.unread', onUnread)
  }

  get cursor(): string | undefined {
    return this.#position.cursor
  }

  get unread(): number {
    return this.#unread.count
  }

  on(type: string, handler: ((value: never) => unknown) | undefined): () => void {
    if (handler === undefined) return () => {}
    if (!type.startsWith('stream.')) {
      if (this.handoff.looping) throw new TypeError('either handlers or iterating, not both')
      this.hasHandlers = true
      this.handoff.release()
    }
    return this.listeners.add(type, handler)
  }

  /** Begins after the saved cursor, if there is one. If it could not be read, all events kept may come again. */
  async restore(): Promise<void> {
    const kept = await this.#saver.load()
    this.#position.cursor = kept === null ? (this.cursor ?? '0') : (kept ?? this.cursor)
  }

  /** Resolves when the message and its handlers are done, or the stream ends. */
  async take(message: Message, session: Session): Promise<void> {
    if (!('seq' in message)) this.#observer.onControl(message)
    switch (message.type) {
      case 'stream.open':
        return this.#opened(message.data, session)
      case 'stream.reset':
        return this.#do(session, async () => {
          for (const call of this.listeners.of('stream.reset')) await call(message.data)
          this.#unread.kept(message.data.oldest)
          this.#moveTo(message.data.cursor, true)
        })
      case 'stream.close':
        session.closeMessage = message.data
        return
      case 'stream.read':
        return this.marked(message.data.cursor, message.data.unread)
    }
    // Future control messages: a client that does not know them ignores them.
    if ('seq' in message) await this.#event(message, session)
  }

  /** The user has read up to a cursor. */
  marked(cursor: string, unread: number): void {
    this.#unread.marked(cursor, unread)
    this.#tellUnread()
  }

  tell(type: string, value: unknown): void {
    this.listeners.tell(type, value, (error) => this.#context.fail(handlerFailed(error)))
  }

  /** Waits for the running handler, at most `ms`; after that the cursor does not move any more. */
  async finish(ms: number): Promise<void> {
    const all = this.#work.catch(() => {}).then(() => this.#saver.saved())
    await within(all, undefined, ms).catch(() => {})
    this.#finished = true
  }

  #opened(data: Opened, session: Session): void {
    session.opened(data.heartbeat_ms)
    // Keep our cursor until a reset or an event follows: if the connection ended in between, we would never learn of the
    // reset.
    if (this.cursor === undefined) this.#moveTo(data.cursor, false)
    this.#unread.opened(data.read, data.unread, data.oldest)
    this.#tellUnread()
    this.#observer.opened(session)
  }

  async #event(event: GlimpseEvent, session: Session): Promise<void> {
    const verdict = this.#position.judge(event)
    if (verdict === 'seen') return
    if (verdict !== 'next') {
      this.tell('stream.gap', verdict)
      if (!verdict.lost) return session.interrupt('gap')
    }
    this.#unread.saw(event.seq)
    this.#tellUnread()
    await this.#do(session, async () => {
      if (!this.hasHandlers && (await this.handoff.offer(event)) === ABANDONED) return
      // None if a loop has handled it.
      for (const call of this.listeners.of(event.type, '*')) await call(event)
      this.#moveTo(event.id, false)
    })
  }

  /**
   * Calls handlers. After `handlerTimeoutMs` the connection is closed, so that no messages pile up. The handler itself may
   * take until the stream ends, because the next event must not overtake it.
   */
  async #do(session: Session, call: () => Promise<void>): Promise<void> {
    const { signal, timing } = this.#context
    this.#work = call().catch((error) => {
      throw handlerFailed(error)
    })
    const timer = setTimeout(() => {
      session.interrupt('busy')
      this.#observer.busy()
    }, timing.handlerTimeoutMs)
    try {
      await within(this.#work, signal)
    } finally {
      clearTimeout(timer)
    }
  }

  #moveTo(cursor: string, reset: boolean): void {
    // The stream ended before the handler: the event comes again in the next stream.
    if (this.#finished) return
    this.#position.cursor = cursor
    this.#saver.save(cursor, reset)
  }

  #tellUnread(): void {
    const { unread } = this
    if (unread === this.#toldUnread) return
    this.#toldUnread = unread
    this.tell('stream.unread', unread)
  }
}

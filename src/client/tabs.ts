import type { ControlMessage, GlimpseEvent } from '../event.ts'
import type { Attempt, Caller } from './attempt.ts'
import type { Context } from './context.ts'
import { type Page, placeBefore } from './page.ts'
import { split } from './position.ts'
import type { ConnectOptions, Message, State, StreamError } from './types.ts'

/** How often the leader sends something, ms. After two and a half of these without a message, another tab takes over. */
const BEAT_MS = 3000

/** At most this many messages wait for a handler; a tab that is further behind reads the log instead. */
const MAX_INBOX = 1000

type Opened = Extract<ControlMessage, { type: 'stream.open' }>['data']

/** The messages between tabs. Only the leader sends any but `hello` and `look`. */
type Note =
  /** Asks the leader for its state. */
  | { readonly kind: 'hello' }
  /** A tab is visible again: a connection that was replaced may come back. */
  | { readonly kind: 'look' }
  | { readonly kind: 'opened'; readonly data: Opened }
  | { readonly kind: 'state'; readonly state: State }
  | { readonly kind: 'message'; readonly message: Message }
  /** Events may be missing: each tab reads the log after its own cursor. */
  | { readonly kind: 'reset' }
  /** For all tabs. */
  | { readonly kind: 'ended'; readonly error: Ended }

/** A change of the leader's state, which is that of all tabs. */
export interface LeaderState {
  readonly type: 'tabs.state'
  readonly state: State
}

/** The one connection of all tabs, which the leader has. */
export interface LeaderStream {
  readonly done: Promise<void>
  close(): void
  retry(): void
  setToken(token: string | null): void
}

type Ended = Pick<StreamError, 'reason' | 'message' | 'status'>

/** Passed in, not imported: this module is loaded separately and would bring a second copy. */
export interface TabsOptions {
  /** The same for all tabs of one service and user. */
  readonly name: string
  readonly context: Context
  readonly connect: ConnectOptions
  readonly stream: new (options: ConnectOptions, onControl: (message: ControlMessage) => void) => LeaderStream
  readonly readPage: (caller: Caller, after: string | undefined) => Promise<Page>
  readonly error: new (
    reason: Ended['reason'],
    message: string,
    details: Pick<Ended, 'status'>,
  ) => StreamError
}

/** Whether tabs can find each other here. */
export function canShareTabs(): boolean {
  return typeof navigator === 'object' && 'locks' in navigator && typeof BroadcastChannel === 'function'
}

/**
 * One connection for all tabs of a browser and user. The tab that holds the lock leads: it has the connection and passes
 * the messages on. Each tab keeps its own cursor, and reads from the log what it missed.
 *
 * ```
 * apart ── open ──▶ following ── the lock is ours ──▶ leading
 *   ▲                  ▲                                │
 *   │                  └───── another tab stole it ◀────┤
 *   └── leave: closed, frozen, back-forward cache ◀─────┘
 * ```
 *
 * The browser passes the lock on when a tab is closed or crashes. A leader that falls silent, because the browser froze it
 * or its thread hangs, still holds the lock: another tab steals it.
 */
export class Tabs {
  readonly #options: TabsOptions
  #channel: BroadcastChannel | undefined
  #waiting: AbortController | undefined
  #leader: LeaderStream | undefined
  #stepDown = () => {}
  #opened: Opened | undefined
  #state: State | undefined
  #last: string | undefined
  #receive: (note: Note) => void = () => {}

  constructor(options: TabsOptions) {
    this.#options = options
  }

  /** A connection of this tab's stream: first what is missing up to the leader's position, then the leader's messages. */
  readonly open = async function* (
    this: Tabs,
    attempt: Attempt,
  ): AsyncGenerator<Message | LeaderState, void, void> {
    const { signal } = attempt
    const inbox: Note[] = []
    let wake = () => {}
    let heard = false
    this.#last = attempt.after
    this.#receive = (note) => {
      attempt.alive()
      heard = true
      // Too far behind: what is dropped here is read from the log.
      if (inbox.length >= MAX_INBOX) inbox.splice(0, inbox.length, { kind: 'reset' })
      inbox.push(note)
      wake()
    }
    const aborted = () => wake()
    signal.addEventListener('abort', aborted)
    const asking = setInterval(() => {
      // One answer reaches all tabs.
      if (!heard) this.#tell({ kind: 'hello' })
      heard = false
    }, BEAT_MS)
    attempt.probe = () => this.#tell({ kind: 'hello' })
    attempt.renew = (token) => {
      attempt.token = token
    }
    this.#join()
    this.#tell({ kind: 'hello' })
    let isOpen = false
    try {
      while (!signal.aborted) {
        const note = inbox.shift()
        if (note === undefined)
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        else if (note.kind === 'state') yield { type: 'tabs.state', state: note.state }
        else if (note.kind === 'ended') {
          const { reason, message, status } = note.error
          throw new this.#options.error(reason, message, { status })
        } else if (note.kind === 'opened') {
          const { data } = note
          if (isOpen) yield { type: 'stream.read', data: { cursor: data.read, unread: data.unread } }
          else yield { type: 'stream.open', data: { ...data, heartbeat_ms: BEAT_MS } }
          isOpen = true
          this.#last ??= data.cursor
          if (this.#last !== data.cursor) yield* this.#missing(attempt)
        } else if (!isOpen) {
          // Messages from before the cursor is known are in the log.
        } else if (note.kind === 'reset') yield* this.#missing(attempt)
        else if (note.kind === 'message') {
          if (!('seq' in note.message)) yield note.message
          else if (this.#isNext(note.message)) {
            this.#last = note.message.id
            yield note.message
          } else if (!this.#isSeen(note.message)) yield* this.#missing(attempt)
        }
      }
    } finally {
      clearInterval(asking)
      signal.removeEventListener('abort', aborted)
      this.#receive = () => {}
      if (signal.reason?.message === 'silent') this.#steal()
    }
  }

  /** This tab is visible again. */
  look(): void {
    this.#tell({ kind: 'look' })
  }

  setToken(token: string | null): void {
    this.#leader?.setToken(token)
  }

  /** Until the next `open` this tab neither leads nor listens. */
  leave(): void {
    this.#waiting?.abort()
    this.#waiting = undefined
    this.#resign()
    this.#channel?.close()
    this.#channel = undefined
  }

  #isNext({ id, seq }: GlimpseEvent): boolean {
    const [epoch, last] = split(this.#last ?? '')
    return split(id)[0] === epoch && seq === last + 1
  }

  #isSeen({ id, seq }: GlimpseEvent): boolean {
    const [epoch, last] = split(this.#last ?? '')
    return split(id)[0] === epoch && seq <= last
  }

  /** The log's events after this tab's cursor. */
  async *#missing(attempt: Attempt): AsyncGenerator<Message, void, void> {
    for (let more = true; more; ) {
      const page = await this.#options.readPage(attempt, this.#last)
      attempt.alive()
      if (page.reset !== null)
        yield { type: 'stream.reset', data: { ...page.reset, cursor: placeBefore(page) } }
      for (const event of page.events) {
        this.#last = event.id
        yield event
      }
      this.#last = page.cursor
      more = page.has_more
    }
  }

  #join(): void {
    if (this.#channel !== undefined) return
    this.#channel = new BroadcastChannel(this.#options.name)
    this.#channel.onmessage = ({ data }: MessageEvent<Note>) => this.#hear(data)
    this.#contend({})
  }

  /** The leader has fallen silent. */
  #steal(): void {
    if (this.#leader !== undefined || this.#channel === undefined) return
    this.#options.context.debug('tabs: the leader is silent; taking over')
    this.#waiting?.abort()
    this.#contend({ steal: true })
  }

  #contend(how: LockOptions): void {
    const waiting = new AbortController()
    this.#waiting = waiting
    // A request that steals can't be aborted, and need not be.
    const options = how.steal ? how : { signal: waiting.signal }
    navigator.locks
      .request(this.#options.name, options, () => (waiting.signal.aborted ? undefined : this.#lead()))
      .catch((error: unknown) => {
        // Aborted by us.
        if (this.#waiting !== waiting) return
        // Stolen; after any other error a retry would fail the same way, at once and for ever.
        if (!(error instanceof DOMException)) throw error
        this.#options.context.debug('tabs: another tab took over')
        this.#resign()
        this.#contend({})
      })
  }

  /** Leads, and holds the lock, until it steps down. */
  async #lead(): Promise<void> {
    this.#options.context.debug('tabs: leading')
    // The stream that has the connection calls no handlers itself.
    const options: ConnectOptions = {
      ...this.#options.connect,
      share: undefined,
      store: undefined,
      signal: undefined,
      onUnread: undefined,
      onGap: undefined,
      token: this.#options.context.tokens.token,
      after: this.#last === '0' ? undefined : this.#last,
      debug: this.#options.context.debug,
      onState: (state) => {
        if (state.name === 'closed') return
        this.#state = state
        if (state.name !== 'live') this.#opened = undefined
        this.#tell({ kind: 'state', state })
      },
      onEvent: (message) => {
        if (this.#opened !== undefined)
          this.#opened = { ...this.#opened, cursor: message.id, unread: this.#opened.unread + 1 }
        this.#tell({ kind: 'message', message })
      },
      onReset: () => this.#tell({ kind: 'reset' }),
    }
    const leader = new this.#options.stream(options, (message) => {
      if (message.type === 'stream.open') {
        this.#opened = message.data
        this.#tell({ kind: 'opened', data: message.data })
      } else if (message.type === 'stream.read') {
        const { cursor: read, unread } = message.data
        if (this.#opened !== undefined) this.#opened = { ...this.#opened, read, unread }
        this.#tell({ kind: 'message', message })
      }
    })
    this.#leader = leader
    const end = (error?: StreamError) => {
      if (this.#leader !== leader) return
      this.#resign()
      if (error === undefined) return
      // The end of the connection concerns all tabs; the end of a token only this one, and the next tab leads with its own.
      if (error.reason !== 'ended' && error.reason !== 'refused') return this.#options.context.fail(error)
      const { reason, message, status } = error
      this.#tell({ kind: 'ended', error: { reason, message, status } })
    }
    leader.done.then(() => end(), end)
    await new Promise<void>((resolve) => {
      this.#stepDown = resolve
    })
  }

  #resign(): void {
    const leader = this.#leader
    this.#leader = undefined
    this.#opened = undefined
    this.#state = undefined
    leader?.close()
    this.#stepDown()
  }

  /** To all tabs, this one included. */
  #tell(note: Note): void {
    this.#channel?.postMessage(note)
    this.#hear(note)
  }

  #hear(note: Note): void {
    if (note.kind === 'look') this.#leader?.retry()
    else if (note.kind === 'hello') {
      if (this.#leader === undefined) return
      if (this.#opened !== undefined) this.#tell({ kind: 'opened', data: this.#opened })
      if (this.#state !== undefined) this.#tell({ kind: 'state', state: this.#state })
    } else this.#receive(note)
  }
}

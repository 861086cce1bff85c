import type { ControlMessage, GlimpseEvent } from '../../../src/event.ts'
import { partsOf } from '../../support/cursor.ts'
import type { Entry, Journal, Texts } from './journal.ts'
import { operationNumber } from './operations.ts'

/** What a transport tells of one connection; `ended` is the last call, and comes exactly once. */
export interface Listener {
  readonly message: (text: string) => void
  /** Something came that is no message: a heartbeat. */
  readonly alive: () => void
  readonly ended: (why: string) => void
}

/** Connects once to the instance at `url`. What it returns cuts the connection without a word. */
export type Connect = (request: ConnectRequest, listener: Listener) => { cut(): void }

export interface ConnectRequest {
  readonly url: string
  readonly token: string
  /** Undefined at the first connection. */
  readonly cursor: string | undefined
}

/** Where instances, or proxies before them, are; it may change while clients come and go. */
export type Urls = () => readonly string[]

const FIRST_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 1000
/** No heartbeat for this long: the network is gone, and nothing else would ever say so. */
const SILENCE_MS = 10_000

export interface ClientOptions {
  readonly name: string
  readonly author: string
  readonly token: string
  readonly transport: 'sse' | 'ws' | 'poll'
  readonly connect: Connect
  readonly urls: Urls
  readonly texts: Texts
  /** How long it bears hearing nothing, heartbeats included, before it takes its network for gone. */
  readonly silenceMs?: number
}

/**
 * One client as an application would write it: it reconnects with its cursor, after a jittered pause, to another
 * instance than the one that failed it; and it writes down all it is told.
 */
export class Client implements Journal {
  readonly client: string
  readonly author: string
  readonly transport: ClientOptions['transport']
  readonly entries: Entry[] = []
  readonly #options: ClientOptions
  #connection: { cut(): void } | undefined
  #url = ''
  #cursor: string | undefined
  #place = { epoch: '', seq: 0 }
  #live = false
  #stopped = false
  #failures = 0
  #retryMs: number | undefined
  #heardAt = 0
  #timer: NodeJS.Timeout | undefined
  #watchdog: NodeJS.Timeout | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.client = options.name
    this.author = options.author
    this.transport = options.transport
  }

  /** Connected, and told where it stands. */
  get live(): boolean {
    return this.#live
  }

  /** The last place it was told of. */
  get place(): { readonly epoch: string; readonly seq: number } {
    return this.#place
  }

  /** The instance or proxy it is, or was last, connected to. */
  get url(): string {
    return this.#url
  }

  start(): void {
    this.#watchdog = setInterval(() => this.#watch(), SILENCE_MS / 4)
    this.#connect()
  }

  /** Leaves for good. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearInterval(this.#watchdog)
    this.#connection?.cut()
  }

  /** Loses its connection, as in a tunnel, and comes back. */
  cut(): void {
    this.#connection?.cut()
  }

  #connect(): void {
    const urls = this.#options.urls()
    const others = urls.filter((url) => url !== this.#url)
    const candidates = this.#failures > 0 && others.length > 0 ? others : urls
    this.#url = candidates[Math.floor(Math.random() * candidates.length)] ?? ''
    this.#heardAt = performance.now()
    this.#connection = this.#options.connect(
      { url: this.#url, token: this.#options.token, cursor: this.#cursor },
      {
        message: (text) => this.#message(text),
        alive: () => {
          this.#heardAt = performance.now()
        },
        ended: (why) => this.#ended(why),
      },
    )
  }

  #message(text: string): void {
    this.#heardAt = performance.now()
    const message = JSON.parse(text) as GlimpseEvent | ControlMessage
    const at = performance.now()
    if ('seq' in message) {
      const place = this.#moveTo(message.id)
      this.#options.texts.add(this.author, message.id, text)
      this.entries.push({ type: 'event', at, ...place, operation: operationNumber(message.data) })
    } else if (message.type === 'stream.open') {
      const place = this.#moveTo(message.data.cursor)
      this.entries.push({ type: 'open', at, ...place })
      this.#live = true
      this.#failures = 0
    } else if (message.type === 'stream.reset') {
      const place = this.#moveTo(message.data.cursor)
      this.entries.push({ type: 'reset', at, ...place, reason: message.data.reason })
    } else if (message.type === 'stream.close') {
      this.#retryMs = message.data.retry_ms
    }
  }

  #moveTo(cursor: string): { epoch: string; seq: number } {
    const { epoch, seq } = partsOf(cursor)
    this.#cursor = cursor
    this.#place = { epoch, seq }
    return this.#place
  }

  #ended(why: string): void {
    if (this.#live) this.entries.push({ type: 'end', at: performance.now(), why })
    this.#live = false
    if (this.#stopped) return
    const backoffMs =
      this.#retryMs ??
      Math.min(FIRST_BACKOFF_MS * 2 ** this.#failures, MAX_BACKOFF_MS) * (0.5 + Math.random())
    this.#retryMs = undefined
    this.#failures++
    this.#timer = setTimeout(() => this.#connect(), backoffMs)
  }

  #watch(): void {
    const { silenceMs = SILENCE_MS } = this.#options
    if (performance.now() - this.#heardAt > silenceMs) this.#connection?.cut()
  }
}

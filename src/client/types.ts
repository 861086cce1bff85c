import type { ControlMessage, GlimpseEvent, ResetReason } from '../event.ts'

export type Transport = 'sse' | 'websocket' | 'poll'

/** Why a stream has ended for good. Where the caller did not ask for it, `done` rejects with it. */
export type ClosedReason =
  /** `close()`, the caller's signal, or an iterator that was left. */
  | 'by_caller'
  /** The token was refused, and so was a fresh one. */
  | 'unauthorized'
  /** The token has ended, and there is no `getToken` to ask for another. */
  | 'token_expired'
  /** The user opened more connections than allowed; coming back would fight the newer one. */
  | 'replaced'
  /** The user ended this connection from elsewhere. */
  | 'ended'
  /** The service refuses for good, in its own words: see the error's message and `status`. */
  | 'refused'
  /** A callback threw; the cursor stands before the event that `onEvent` failed on. See the error's `cause`. */
  | 'handler_failed'

export type State =
  | { readonly name: 'connecting'; readonly transport: Transport }
  | { readonly name: 'live'; readonly transport: Transport }
  | {
      readonly name: 'waiting'
      /** In words, for people. */
      readonly reason: string
      readonly retryInMs: number
    }
  | { readonly name: 'closed'; readonly reason: ClosedReason; readonly error?: StreamError }

export class StreamError extends Error {
  override readonly name = 'StreamError'
  readonly reason: ClosedReason
  /** HTTP status of the refusal, where there was one. */
  readonly status: number | undefined

  constructor(
    reason: ClosedReason,
    message: string,
    { status, cause }: { status?: number; cause?: unknown },
  ) {
    super(message, { cause })
    this.reason = reason
    this.status = status
  }
}

/** Where a cursor outlives the page or the process. A failing store costs repeated events, never a lost one. */
export interface CursorStore {
  load(): string | null | undefined | Promise<string | null | undefined>
  save(cursor: string): void | Promise<void>
}

/** Events between the client's cursor and `cursor` may be lost to it: reload what they would have told. */
export interface Reset {
  readonly reason: ResetReason
  readonly cursor: string
  readonly oldest: number
}

/** A number was skipped, which the service promises never to do. */
export interface Gap {
  readonly expected: number
  readonly received: number
  /** False: resuming after the last good event, to have the missing ones after all. True: they don't come; going on. */
  readonly lost: boolean
}

/** Times in milliseconds. */
export interface Timing {
  /** A connection that has not said `stream.open` by then is given up (a proxy holds it back). */
  readonly openTimeoutMs: number
  /** Waiting grows from the first to the second, times two at each failure, and a random part of it is waited. */
  readonly backoffMs: number
  readonly backoffMaxMs: number
  readonly pollIntervalMs: number
  /** On a lesser transport than it would like, the stream tries the better ones again after this. */
  readonly upgradeMs: number
}

export interface ConnectOptions {
  /** The service's base URL, such as `https://glimpse.example` or `https://example.com/glimpse`. */
  readonly url: string | URL
  /** A JWT. Neither this nor `getToken`: the cookie `glimpse_token` says who calls. */
  readonly token?: string
  /**
   * Gives a JWT: at first, before the last one expires, and after one was refused (`refused`: don't give that one again).
   */
  readonly getToken?: (why: { readonly refused: boolean }) => string | Promise<string>
  /** `auto`, the default: WebSocket where there is one, else SSE, else polling; whichever gets through. */
  readonly transport?: 'auto' | Transport
  /** Where to begin if the store has no cursor: after a cursor, with the `oldest` event kept, or `now` (default). */
  readonly after?: string
  readonly store?: CursorStore
  /**
   * Called with one event at a time, in order; where it returns a promise, the next event waits for it. Afterwards the
   * cursor moves. Left out: iterate over the stream.
   */
  readonly onEvent?: (event: GlimpseEvent) => void | Promise<void>
  readonly onReset?: (reset: Reset) => void | Promise<void>
  readonly onGap?: (gap: Gap) => void
  readonly onState?: (state: State) => void
  /** How many events the user has not read, on any device: told when the stream opens and whenever it changes. */
  readonly onUnread?: (unread: number) => void
  readonly signal?: AbortSignal
  readonly timing?: Partial<Timing>
  /** For environments that have none, such as Node 20: `ws` and `undici` have one that fits. */
  readonly WebSocket?: WebSocketConstructor
  readonly fetch?: typeof fetch
}

/** The part of a WebSocket this client uses. */
export interface WebSocketLike {
  onopen: ((event: never) => unknown) | null
  onmessage: ((event: never) => unknown) | null
  onclose: ((event: never) => unknown) | null
  onerror: ((event: never) => unknown) | null
  readonly readyState: number
  send(text: string): void
  close(code?: number): void
}

export type WebSocketConstructor = new (url: string) => WebSocketLike

/** What any transport brings. */
export type Message = GlimpseEvent | ControlMessage

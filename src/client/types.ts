import type { ControlMessage, GlimpseEvent, ResetReason, StoryReacted, StoryViewed } from '../event.ts'

export type Transport = 'sse' | 'websocket' | 'poll'

/** Why a stream has ended for good. Except for the first two, `done` rejects with a StreamError of this reason. */
export type ClosedReason =
  /** `close()`, the caller's signal, or a loop that was left. */
  | 'by_caller'
  /** `getToken` gave null or threw a SignedOutError, or `setToken(null)`. */
  | 'signed_out'
  /** The service refused the token, and every other token that `getToken` gave over `timing.refusedMs`. */
  | 'unauthorized'
  /** The token has expired, and there is no `getToken` to ask for another. */
  | 'token_expired'
  /** A token names another user than the first one did. */
  | 'another_user'
  /** The user opened more connections than allowed. In a page the stream does not end, but waits until the page is visible. */
  | 'replaced'
  /** The user, or a backend, ended this connection. */
  | 'ended'
  /** The service refuses for good: see the error's message and `status`. */
  | 'refused'
  /** A handler threw; the cursor stays before its event. See the error's `cause`. */
  | 'handler_failed'

export type State =
  | { readonly name: 'connecting'; readonly transport: Transport }
  | { readonly name: 'live'; readonly transport: Transport }
  | {
      readonly name: 'waiting'
      /** In words, for people. */
      readonly reason: string
      /** Infinity if no time ends the wait: a busy handler, a frozen page. */
      readonly retryInMs: number
    }
  | { readonly name: 'closed'; readonly reason: ClosedReason; readonly error?: StreamError }

export class StreamError extends Error {
  override readonly name = 'StreamError'
  readonly reason: ClosedReason
  /** HTTP status of the refusal, if there was one. */
  readonly status: number | undefined

  constructor(
    reason: ClosedReason,
    message: string,
    { status, cause }: { status?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause })
    this.reason = reason
    this.status = status
  }
}

/** Thrown by `getToken`: nobody is signed in any more, so the stream ends, without an error. */
export class SignedOutError extends Error {
  override readonly name = 'SignedOutError'
}

/**
 * Keeps a cursor beyond the page or the process. If a store throws, rejects or never answers, events may come again, but
 * none is lost: if `load` fails, the stream begins with the oldest event kept.
 */
export interface CursorStore {
  load(): string | null | undefined | Promise<string | null | undefined>
  /**
   * Called with the newest cursor, one call at a time. `reset`: the service set the stream to this cursor, which may lie
   * before the saved one. Without it, a store that several streams share should never go back.
   */
  save(cursor: string, reset: boolean): void | Promise<void>
}

/** Events between the client's cursor and `cursor` may be lost to it: reload your state. */
export interface Reset {
  readonly reason: ResetReason
  readonly cursor: string
  readonly oldest: number
}

/** A number was skipped, which the service promises never to do. */
export interface Gap {
  readonly expected: number
  readonly received: number
  /** False: the client resumes after the last good event to get the missing ones. True: they don't come, and it continues. */
  readonly lost: boolean
}

/** The events' data by type. For your own events: `connect<{ 'comment.added': { text: string } }>(…)`. */
export interface StoryEvents {
  'story.viewed': StoryViewed
  'story.reacted': StoryReacted
}

/** An event as handlers get it; `Own` maps the types of your own events to their data. */
export type EventOf<Own extends object = object> =
  | GlimpseEvent
  | {
      [Type in keyof Own & string]: Omit<GlimpseEvent, 'type' | 'data'> & { type: Type; data: Own[Type] }
    }[keyof Own & string]

/** What `on` can listen to, and what a handler gets. Types of events never begin with `stream.`. */
export type Notices<Own extends object = object> = {
  [Type in EventOf<Own>['type']]: Extract<EventOf<Own>, { type: Type }>
} & {
  /** Every event of any type. */
  '*': EventOf<Own>
  'stream.reset': Reset
  'stream.gap': Gap
  'stream.state': State
  'stream.unread': number
}

/** Times in milliseconds. */
export interface Timing {
  /** A connection without `stream.open` by then is closed: a proxy may hold it back. */
  readonly openTimeoutMs: number
  /** The wait after a failure grows from the first to the second, doubled each time; a random part of it is waited. */
  readonly backoffMs: number
  readonly backoffMaxMs: number
  readonly pollIntervalMs: number
  /** After this long on a fallback transport, the stream tries the better ones again. */
  readonly upgradeMs: number
  /** `getToken`, `store.load` and `markRead` fail if there is no answer by then. */
  readonly answerTimeoutMs: number
  /** When a handler takes longer, its connection is closed; the stream connects again when the handler is done. */
  readonly handlerTimeoutMs: number
  /** For how long refused tokens are replaced before the stream ends with `unauthorized`. */
  readonly refusedMs: number
}

export interface ConnectOptions<Own extends object = object> {
  /** The service's base URL, such as `https://glimpse.example` or `https://example.com/glimpse`. */
  readonly url: string | URL
  /** A JWT. With neither this nor `getToken`, the cookie `glimpse_token` identifies the user. */
  readonly token?: string | undefined
  /**
   * Returns a JWT: at first, before the last one expires, and after one was refused (`refused`: don't return that one
   * again). If it throws or returns no token, it is called again later. null or a SignedOutError ends the stream.
   */
  readonly getToken?:
    | ((why: { readonly refused: boolean }) => string | null | Promise<string | null>)
    | undefined
  /** The claim that names the user, the service's `JWT_USER_CLAIM`; default `sub`. */
  readonly userClaim?: string | undefined
  /** `auto`, the default: WebSocket where there is one, else SSE, else polling; the first that works. */
  readonly transport?: 'auto' | Transport | undefined
  /** Where to begin if the store has no cursor: after a cursor, at the `oldest` event kept, or `now` (default). */
  readonly after?: string | undefined
  readonly store?: CursorStore | undefined
  /**
   * `tabs`: one connection for all tabs of this browser and user, where the browser has Web Locks and BroadcastChannel and
   * the token names the user; else one for each tab. Each tab still gets every event, after its own cursor.
   */
  readonly share?: 'tabs' | undefined
  /**
   * Called with one event at a time, in order. If it returns a promise, the next event waits for it. Then the cursor
   * moves. Without it: add handlers with `on`, or iterate over the stream.
   */
  readonly onEvent?: ((event: EventOf<Own>) => void | Promise<void>) | undefined
  readonly onReset?: ((reset: Reset) => void | Promise<void>) | undefined
  readonly onGap?: ((gap: Gap) => void) | undefined
  readonly onState?: ((state: State) => void) | undefined
  /** How many events the user has not read, on any device: called when the stream opens and whenever it changes. */
  readonly onUnread?: ((unread: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
  readonly timing?: Partial<Timing> | undefined
  /** Traces what the client does, to the console (`true`) or to a function. Tokens are never traced. */
  readonly debug?: boolean | ((what: string) => void) | undefined
  /** For environments without one, such as Node 20: that of `ws` or `undici`. */
  readonly WebSocket?: WebSocketConstructor | undefined
  readonly fetch?: typeof fetch | undefined
}

/** The part of a WebSocket that this client uses. */
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

/** A message from any transport. */
export type Message = GlimpseEvent | ControlMessage

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function handlerFailed(error: unknown): StreamError {
  if (error instanceof StreamError && error.reason === 'handler_failed') return error
  return new StreamError('handler_failed', `a handler failed: ${wordsOf(error)}`, { cause: error })
}

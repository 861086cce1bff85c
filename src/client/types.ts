import type { ControlMessage, GlimpseEvent, ResetReason, StoryReacted, StoryViewed } from '../event.ts'

export type Transport = 'sse' | 'websocket' | 'poll'

/** Why a stream has ended for good. Except for the first two, `done` rejects with a StreamError of this reason. */
export type ClosedReason =
  /** `close()`, the caller's signal, or an iterator that was left. */
  | 'by_caller'
  /** `getToken` gave null or threw a SignedOutError, or `setToken(null)`. */
  | 'signed_out'
  /** The service refused the token, and every other token that `getToken` gave over `timing.refusedMs`. */
  | 'unauthorized'
  /** The token has expired, and there is no `getToken` to ask for another. */
  | 'token_expired'
  /** A token names another user than the first one did. */
  | 'another_user'
  /** The user opened more connections than allowed. In a page the stream waits until the page is looked at instead. */
  | 'replaced'
  /** The user ended this connection from elsewhere. */
  | 'ended'
  /** The service refuses for good, in its own words: see the error's message and `status`. */
  | 'refused'
  /** A handler threw; the cursor stays before the event that it failed on. See the error's `cause`. */
  | 'handler_failed'

export type State =
  | { readonly name: 'connecting'; readonly transport: Transport }
  | { readonly name: 'live'; readonly transport: Transport }
  | {
      readonly name: 'waiting'
      /** In words, for people. */
      readonly reason: string
      /** Infinity where something else than a time ends the wait: a busy handler, a page that is put away. */
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
 * Where a cursor outlives the page or the process. A store that throws, rejects or never answers costs events that come
 * again, never a lost one: where `load` fails, the stream begins with the oldest event kept.
 */
export interface CursorStore {
  load(): string | null | undefined | Promise<string | null | undefined>
  /**
   * Called with one cursor at a time, the newest. `reset`: the service set the stream to this place, which may lie before
   * the one that was saved. Without it a store that several streams share should never go back.
   */
  save(cursor: string, reset: boolean): void | Promise<void>
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
  /** False: resuming after the last good event, to get the missing ones. True: they don't come; going on. */
  readonly lost: boolean
}

/** The events' data by type. Events of one's own: `connect<{ 'comment.added': { text: string } }>(…)`. */
export interface StoryEvents {
  'story.viewed': StoryViewed
  'story.reacted': StoryReacted
}

/** An event as handlers get it; `Own` maps the types of one's own to their data. */
export type EventOf<Own extends object = object> =
  | GlimpseEvent
  | {
      [Type in keyof Own & string]: Omit<GlimpseEvent, 'type' | 'data'> & { type: Type; data: Own[Type] }
    }[keyof Own & string]

/** What `on` can listen to, with what a handler is given. Types of events never begin with `stream.`. */
export type Notices<Own extends object = object> = {
  [Type in EventOf<Own>['type']]: Extract<EventOf<Own>, { type: Type }>
} & {
  /** Every event, of whichever type. */
  '*': EventOf<Own>
  'stream.reset': Reset
  'stream.gap': Gap
  'stream.state': State
  'stream.unread': number
}

/** Times in milliseconds. */
export interface Timing {
  /** A connection without `stream.open` by then is given up (a proxy holds it back). */
  readonly openTimeoutMs: number
  /** The wait after a failure grows from the first to the second, doubled each time; a random part of it is waited. */
  readonly backoffMs: number
  readonly backoffMaxMs: number
  readonly pollIntervalMs: number
  /** On a lesser transport than it would like, the stream tries the better ones again after this. */
  readonly upgradeMs: number
  /** `getToken`, `store.load` and `markRead` have failed if there is no answer by then. */
  readonly answerTimeoutMs: number
  /** When a handler takes longer, its connection is closed; the stream connects again when the handler is done. */
  readonly handlerTimeoutMs: number
  /** So long refused tokens are exchanged for others before the stream ends with `unauthorized`. */
  readonly refusedMs: number
}

export interface ConnectOptions<Own extends object = object> {
  /** The service's base URL, such as `https://glimpse.example` or `https://example.com/glimpse`. */
  readonly url: string | URL
  /** A JWT. Neither this nor `getToken`: the cookie `glimpse_token` says who calls. */
  readonly token?: string | undefined
  /**
   * Gives a JWT: at first, before the last one expires, and after one was refused (`refused`: don't give that one again).
   * What it throws, and what is no token, is asked for again later. null or a SignedOutError ends the stream.
   */
  readonly getToken?:
    | ((why: { readonly refused: boolean }) => string | null | Promise<string | null>)
    | undefined
  /** The claim that names the user, as `JWT_USER_CLAIM` of the service says; `sub` unless given. */
  readonly userClaim?: string | undefined
  /** `auto`, the default: WebSocket where there is one, else SSE, else polling; the first that works. */
  readonly transport?: 'auto' | Transport | undefined
  /** Where to begin if the store has no cursor: after a cursor, with the `oldest` event kept, or `now` (default). */
  readonly after?: string | undefined
  readonly store?: CursorStore | undefined
  /**
   * `tabs`: one connection for all tabs of this browser and user, where the browser has Web Locks and BroadcastChannel and
   * the token names the user; else one for each. Each tab still gets every event, from its own place.
   */
  readonly share?: 'tabs' | undefined
  /**
   * Called with one event at a time, in order; where it returns a promise, the next event waits for it. Then the cursor
   * moves. Left out: add handlers with `on`, or iterate over the stream.
   */
  readonly onEvent?: ((event: EventOf<Own>) => void | Promise<void>) | undefined
  readonly onReset?: ((reset: Reset) => void | Promise<void>) | undefined
  readonly onGap?: ((gap: Gap) => void) | undefined
  readonly onState?: ((state: State) => void) | undefined
  /** How many events the user has not read, on any device: called when the stream opens and whenever it changes. */
  readonly onUnread?: ((unread: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
  readonly timing?: Partial<Timing> | undefined
  /** Traces what the client does: `true` to the console, or to a function. Never a token. */
  readonly debug?: boolean | ((what: string) => void) | undefined
  /** For environments that have none, such as Node 20: `ws` and `undici` have one that fits. */
  readonly WebSocket?: WebSocketConstructor | undefined
  readonly fetch?: typeof fetch | undefined
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

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function handlerFailed(error: unknown): StreamError {
  if (error instanceof StreamError && error.reason === 'handler_failed') return error
  return new StreamError('handler_failed', `a handler failed: ${wordsOf(error)}`, { cause: error })
}

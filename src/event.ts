/**
 * The glossary: what a user, an event, a stream and a cursor are, and the one wire text every transport sends.
 *
 * stream  all the events of one user, numbered 1, 2, 3 … without a hole (`seq`)
 * epoch   the name of one history of the database; changes on failover and re-creation
 * cursor  `<epoch>.<seq>`, a place in a stream: everything up to and including `seq` was seen
 * body    an event's JSON without its id, as the log keeps it: `{"seq":42,"type":…,"data":…,"timestamp":…}`
 */

export type EventType = 'story.viewed' | 'story.reacted'

export interface StoryViewed {
  readonly story_id: string
  readonly viewer_id: string
  /** RFC 3339, UTC, milliseconds. */
  readonly viewed_at: string
}

export interface StoryReacted {
  readonly story_id: string
  readonly user_id: string
  /** One RGI emoji sequence. */
  readonly emoji: string
  /** RFC 3339, UTC, milliseconds. */
  readonly reacted_at: string
}

interface Envelope<Type extends EventType, Data> {
  /** The cursor just after this event. */
  readonly id: string
  readonly seq: number
  readonly type: Type
  readonly data: Data
  readonly timestamp: string
}

export type GlimpseEvent = Envelope<'story.viewed', StoryViewed> | Envelope<'story.reacted', StoryReacted>

/** `trimmed`: older than the kept history; `ahead`, `epoch`: from another history; `invalid`: not a cursor. */
export type ResetReason = 'trimmed' | 'ahead' | 'epoch' | 'invalid'

export type CloseReason =
  | 'token_expired'
  | 'replaced'
  | 'closed'
  | 'draining'
  | 'stalled'
  | 'overloaded'
  | 'unavailable'

/** Messages about the stream itself; they are never counted in `seq`. */
export type ControlMessage =
  | {
      readonly type: 'stream.open'
      readonly data: {
        readonly cursor: string
        /** The seq of the oldest event kept (head + 1 where none is). */
        readonly oldest: number
        readonly resumed: boolean
        /** How often a silent connection shows that it lives, ms. */
        readonly heartbeat_ms: number
        /** What the user has read, on whichever device, and how many of the kept events came after that. */
        readonly read: string
        readonly unread: number
      }
    }
  | {
      /** The user has read up to `cursor`, on whichever device. */
      readonly type: 'stream.read'
      readonly data: { readonly cursor: string; readonly unread: number }
    }
  | {
      /** The answer to the `{"type":"ping"}` of a client that opened with `?pings=on`: a page can't see the pings of the protocol. */
      readonly type: 'stream.pong'
      readonly data: Readonly<Record<string, never>>
    }
  | {
      readonly type: 'stream.reset'
      readonly data: { readonly reason: ResetReason; readonly cursor: string; readonly oldest: number }
    }
  | {
      readonly type: 'stream.close'
      readonly data: { readonly reason: CloseReason; readonly reconnect: boolean; readonly retry_ms: number }
    }

export interface Cursor {
  readonly epoch: string
  readonly seq: number
}

/** What a client asked to resume after: nothing given, `0` for all that is kept, a cursor, or something else. */
export type ResumePoint =
  | { readonly from: 'now' | 'oldest' | 'invalid' }
  | ({ readonly from: 'cursor' } & Cursor)

/**
 * Where a user's stream stands: `head` the last seq given out (0: none yet), `oldest` that of the oldest event kept,
 * `read` the last one that the user has read (0: none yet).
 */
export interface StreamHead {
  readonly epoch: string
  readonly head: number
  readonly oldest: number
  readonly read: number
}

/** How many events are kept that the user has not read: a subtraction, because the numbers have no holes. */
export function unreadOf({ head, oldest, read }: Omit<StreamHead, 'epoch'>): number {
  return head - Math.max(read, oldest - 1)
}

/** Consecutive events of one stream: the first has the number `first`, each other the next. */
export interface EventRun {
  readonly first: number
  readonly bodies: readonly string[]
}

const CURSOR = /^([0-9a-z]{1,32})\.(0|[1-9][0-9]{0,15})$/

/** `{epoch: '7f3a9c', seq: 42}` → `7f3a9c.42`. */
export function formatCursor(epoch: string, seq: number): string {
  return `${epoch}.${seq}`
}

/** Reads the text of `Last-Event-ID`, `?last_event_id=` or `?after=`; never throws. An empty text asks for nothing. */
export function parseResumePoint(text: string | null | undefined): ResumePoint {
  if (text === null || text === undefined || text === '') return { from: 'now' }
  if (text === '0') return { from: 'oldest' }
  const [, epoch, digits] = CURSOR.exec(text) ?? []
  const seq = Number(digits)
  if (epoch === undefined || !Number.isSafeInteger(seq)) return { from: 'invalid' }
  return { from: 'cursor', epoch, seq }
}

/**
 * The event as every transport sends it: the log's body with its id in front. Text in, text out: the body is
 * neither parsed nor built again, so its bytes are the same on SSE, WebSocket and poll.
 */
export function eventText(epoch: string, seq: number, body: string): string {
  return `{"id":"${epoch}.${seq}",${body.slice(1)}`
}

/** The `type` of a body without parsing it: glimpse.append() writes `{"seq":<seq>,"type":"<type>",` first. */
export function eventTypeOf(seq: number, body: string): string {
  const start = `{"seq":${seq},"type":"`.length
  return body.slice(start, body.indexOf('"', start))
}

/** 1 to 128 characters (code points), no control characters, no lone surrogates: the rule for `sub`, and the CHECK of every table. */
export function isUserId(value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > 256) return false
  return USER_ID.test(value)
}

// The u flag counts code points and makes \p{Surrogate} match only unpaired surrogates, which UTF-8 cannot carry.
const USER_ID = /^[^\p{Cc}\p{Surrogate}]{1,128}$/u

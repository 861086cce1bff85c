/**
 * The glossary: what a user, an event, a stream and a cursor are, and the one wire text every transport sends.
 *
 * stream  all the events of one user, numbered 1, 2, 3 … without a hole (`seq`)
 * epoch   the name of one history of the database; changes on failover and re-creation, and when an operator says so
 * cursor  `<epoch>.<seq>.<check>`, a place in a stream: everything up to and including `seq` was seen
 * check   binds a cursor to its user and to the event at `seq`, so that it proves its history (cursor.ts)
 * body    an event's JSON without its id, as the log keeps it: `{"seq":42,"type":…,"data":…,"timestamp":…}`
 * time    when an event was logged, µs since 1970 on the database's clock: no other history has that event at that time
 * head    the last `seq` of a stream that was given out; `oldest` is that of the oldest event kept
 * hole    a number that the log should have and has not, because somebody removed the event by hand
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
  /** One RGI emoji, fully qualified. */
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

/**
 * `trimmed`: older than the kept history; `ahead`, `epoch`: from another history, or another user's; `invalid`: not a
 * cursor; `gap`: the log lacks events that it should have.
 */
export type ResetReason = 'trimmed' | 'ahead' | 'epoch' | 'invalid' | 'gap'

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
        /** If nothing else is sent, a heartbeat is sent this often, ms. */
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
  /** Undefined in a cursor of 0.1, and where the log does not know it. */
  readonly check: string | undefined
}

/** What a client asked to resume after: nothing given, `0` for all that is kept, a cursor, or something else. */
export type ResumePoint =
  | { readonly from: 'now' | 'oldest' | 'invalid' }
  | ({ readonly from: 'cursor' } & Cursor)

/** A place in one user's stream: the number, and the time of the event there; 0 at number 0, undefined where it is not known. */
export interface Position {
  readonly seq: number
  readonly time: number | undefined
}

/**
 * Where a user's stream stands: `head` the last seq given out (0: none yet), `oldest` that of the oldest event kept,
 * `read` the last one that the user has read (0: none yet); with the times of `head`, of the last event that was trimmed
 * (at `oldest - 1`), and of `read`, where they are known.
 */
export interface StreamHead {
  readonly epoch: string
  readonly head: number
  readonly headTime: number | undefined
  readonly oldest: number
  readonly trimmedTime: number | undefined
  readonly read: number
  readonly readTime: number | undefined
}

/**
 * A part of a stream, with the stream's state as of the same snapshot; just as the log has it, holes and all. The first may
 * be the event at the place that was read from, with an empty body: its time tells whether the history is the same.
 */
export interface StreamPage extends StreamHead {
  readonly seqs: readonly number[]
  readonly times: readonly number[]
  readonly bodies: readonly string[]
  /** Whether the log has nothing behind the last of them. */
  readonly complete: boolean
}

/** How many events are kept that the user has not read: a subtraction, because the numbers have no holes. */
export function unreadOf({ head, oldest, read }: Pick<StreamHead, 'head' | 'oldest' | 'read'>): number {
  return head - Math.max(read, oldest - 1)
}

/** Consecutive events of one stream: the first has the number `first`, each other the next. */
export interface EventRun {
  readonly first: number
  /** The time of the event before the first; 0 where that is number 0, undefined where it is not known. */
  readonly previous: number | undefined
  /** One for each body. */
  readonly times: readonly number[]
  readonly bodies: readonly string[]
}

const CURSOR = /^([0-9a-z]{1,32})\.(0|[1-9][0-9]{0,15})(?:\.([0-9a-z]{1,16}))?$/

/** `{epoch: '7f3a9c', seq: 42, check: '3f9a0b'}` → `7f3a9c.42.3f9a0b`; without a check `7f3a9c.42`. */
export function formatCursor({ epoch, seq, check }: Cursor): string {
  return check === undefined ? `${epoch}.${seq}` : `${epoch}.${seq}.${check}`
}

/** Reads the text of `Last-Event-ID`, `?last_event_id=` or `?after=`; never throws. An empty text asks for nothing. */
export function parseResumePoint(text: string | null | undefined): ResumePoint {
  if (text === null || text === undefined || text === '') return { from: 'now' }
  if (text === '0') return { from: 'oldest' }
  const [, epoch, digits, check] = CURSOR.exec(text) ?? []
  const seq = Number(digits)
  if (epoch === undefined || !Number.isSafeInteger(seq)) return { from: 'invalid' }
  return { from: 'cursor', epoch, seq, check }
}

/**
 * The event as every transport sends it: the log's body with its id in front. Text in, text out: the body is
 * neither parsed nor built again, so its bytes are the same on SSE, WebSocket and poll.
 */
export function eventText(id: string, body: string): string {
  return `{"id":"${id}",${body.slice(1)}`
}

const TYPE = /^(?!stream\.)[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*$/

/** The last type that was looked at, because nearly all events of a service have one of a few. */
let knownType = ''

/**
 * Whether a text is the body of the event with this number, as glimpse.append() writes it. A line end inside would let it
 * say more than one event on SSE, and a type of `stream.` would be taken for a message about the stream itself.
 */
export function isBodyOf(seq: number, text: string): boolean {
  const prefix = `{"seq":${seq},"type":"`
  if (!text.startsWith(prefix)) return false
  const typeEnd = text.indexOf('"', prefix.length)
  if (!text.startsWith('","data":', typeEnd) || !text.endsWith('}')) return false
  const type = text.slice(prefix.length, typeEnd)
  if (type !== knownType) {
    if (!TYPE.test(type)) return false
    knownType = type
  }
  return !text.includes('\n') && !text.includes('\r')
}

/** The `type` of a body without parsing it: glimpse.append() writes `{"seq":<seq>,"type":"<type>",` first. */
export function eventTypeOf(seq: number, body: string): string {
  const start = `{"seq":${seq},"type":"`.length
  return body.slice(start, body.indexOf('"', start))
}

/** 1 to 255 characters (code points; OpenID Connect Core §2), no control characters, no lone surrogates: the rule for `sub`, and the CHECK of every table. */
export function isUserId(value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > 510) return false
  return USER_ID.test(value)
}

// The u flag counts code points and makes \p{Surrogate} match only unpaired surrogates, which UTF-8 cannot carry.
const USER_ID = /^[^\p{Cc}\p{Surrogate}]{1,255}$/u

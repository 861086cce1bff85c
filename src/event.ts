/**
 * The glossary. SQL, code, documents and metrics use these words, each for one thing.
 *
 * user        the user claim of a verified token; every user has one stream
 * story       owned by its author, a user; views and reactions of others make events for the author
 * event       a message to one user: `story.viewed`, `story.reacted`, or a type of the application
 * stream      all events of one user, numbered 1, 2, 3 … without a hole
 * seq         the number of an event in its stream
 * log         the table of events. It is the truth; a notification is only a hint
 * history     what the database has given out since it was created, failed over, or was told to begin anew
 * epoch       the name of a history
 * cursor      `<epoch>.<seq>.<check>`, a position in a stream: everything up to and including `seq` was seen
 * check       binds a cursor to its user and to the event at `seq`, so that it proves its history (cursor.ts)
 * body        an event's JSON without its id, as the log has it: `{"seq":42,"type":…,"data":…,"timestamp":…}`
 * time        when an event was logged, µs since 1970 by the database's clock; it differs between histories
 * head        the last seq of a stream
 * oldest      the seq of the oldest event kept; older ones were trimmed
 * read        the read mark: the seq up to which the user has read, on whichever device
 * hole        a missing number in the log, because somebody removed the event by hand
 * reset       tells a client that events between its cursor and here may be lost to it
 * run, chunk  consecutive events of one stream; a chunk is a part of a run, encoded once per transport
 * connection  one SSE response or one WebSocket. It is behind while events after its cursor are in the log, else live
 * instance    one process of the service; any number share one database
 * subscriber  a user who is connected to this instance, with all connections
 * sink        the transport's side of a connection
 * bus         carries notifications from the database to the instances
 * relay       with NATS, the one process that listens to the database and publishes to NATS
 * trailer     the last line of a notification: when its events were logged
 * canary      a test notification, sent as writers send theirs, that must come back over LISTEN
 * sweep       compares the heads of all connected users with the log, and so finds lost notifications
 * tally       the kept number of a story's views, or of its reactions with one emoji
 * ticket      stands for a token in the URL of one stream, because URLs end up in logs
 * quiet       a transaction in which writes make no events (`set local glimpse.quiet = on`)
 */

export type EventType = 'story.viewed' | 'story.reacted'

export interface StoryViewed {
  /** A UUID; in events that a backend makes of its own tables, whatever it names stories by. */
  readonly story_id: string
  /** Null once that user was forgotten. */
  readonly viewer_id: string | null
  /** RFC 3339, UTC, milliseconds. */
  readonly viewed_at: string
}

export interface StoryReacted {
  readonly story_id: string
  /** Null once that user was forgotten. */
  readonly user_id: string | null
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
        /** Interval of heartbeats on a quiet connection, ms. */
        readonly heartbeat_ms: number
        /** The cursor of the read mark, and the number of kept events after it. */
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
      /** The answer to `{"type":"ping"}` if the client opened with `?pings=on`: a page cannot see WebSocket pings. */
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
  /** Undefined in a cursor of 0.1, and if the time of its event is not known. */
  readonly check: string | undefined
}

/** Where a client wants to resume: `now` if it gave nothing, `oldest` for `0`, a cursor, or `invalid` for anything else. */
export type ResumePoint =
  | { readonly from: 'now' | 'oldest' | 'invalid' }
  | ({ readonly from: 'cursor' } & Cursor)

/** A position in one user's stream: a number and the time of its event; time 0 at number 0, undefined if not known. */
export interface Position {
  readonly seq: number
  readonly time: number | undefined
}

/**
 * The state of a user's stream: `head`, the last seq (0: none yet); `oldest`, the seq of the oldest event kept; `read`, the
 * read mark (0: none yet); with the times of `head`, of the last trimmed event (at `oldest - 1`) and of `read`, if known.
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
 * A part of a stream as the log has it, holes included, and the stream's state in the same snapshot. The first event may be
 * the one at the position that was read from, with an empty body: its time shows whether the history is the same.
 */
export interface StreamPage extends StreamHead {
  readonly seqs: readonly number[]
  readonly times: readonly number[]
  readonly bodies: readonly string[]
  /** Whether the log has no events after the last of these. */
  readonly complete: boolean
}

/** The number of kept events that the user has not read. A subtraction is enough, because the numbers have no holes. */
export function unreadOf({ head, oldest, read }: Pick<StreamHead, 'head' | 'oldest' | 'read'>): number {
  return head - Math.max(read, oldest - 1)
}

/** Consecutive events of one stream, beginning with the seq `first`. */
export interface EventRun {
  readonly first: number
  /** The time of the event before the first; 0 if that is number 0, undefined if not known. */
  readonly previous: number | undefined
  /** The time of each event. */
  readonly times: readonly number[]
  readonly bodies: readonly string[]
}

const CURSOR = /^([0-9a-z]{1,32})\.(0|[1-9][0-9]{0,15})(?:\.([0-9a-z]{1,16}))?$/

/** `{epoch: '7f3a9c', seq: 42, check: '3f9a0b'}` → `7f3a9c.42.3f9a0b`; without a check `7f3a9c.42`. */
export function formatCursor({ epoch, seq, check }: Cursor): string {
  return check === undefined ? `${epoch}.${seq}` : `${epoch}.${seq}.${check}`
}

/** Parses `Last-Event-ID`, `?last_event_id=` or `?after=`; never throws. An empty text means `now`. */
export function parseResumePoint(text: string | null | undefined): ResumePoint {
  if (text === null || text === undefined || text === '') return { from: 'now' }
  if (text === '0') return { from: 'oldest' }
  const [, epoch, digits, check] = CURSOR.exec(text) ?? []
  const seq = Number(digits)
  if (epoch === undefined || !Number.isSafeInteger(seq)) return { from: 'invalid' }
  return { from: 'cursor', epoch, seq, check }
}

/**
 * The event as every transport sends it: the log's body with its id in front. The body is neither parsed nor built again, so
 * its bytes are the same on SSE, WebSocket and poll.
 */
export function eventText(id: string, body: string): string {
  return `{"id":"${id}",${body.slice(1)}`
}

const TYPE = /^(?!stream\.)[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*$/

/** What a body begins with; its seq follows, then BEFORE_TYPE, its type and AFTER_TYPE. */
const BEFORE_SEQ = '{"seq":'
const BEFORE_TYPE = ',"type":"'
const AFTER_TYPE = '","data":'

/** The last type that was looked at, with what stands around it, because nearly all events of a service have one of a few. */
let known: string | undefined

/**
 * Whether a text is the body of the event with this number, as glimpse.append() writes it. With a line end inside, one body
 * could become several SSE events; a type that begins with `stream.` would look like a control message.
 */
export function isBodyOf(seq: number, text: string): boolean {
  // Each event passes here: with startsWith, endsWith and includes, and the number made a text, it took twice as long.
  if (text.slice(0, BEFORE_SEQ.length) !== BEFORE_SEQ) return false
  const seqEnd = text.indexOf(',')
  if (numberAt(text, BEFORE_SEQ.length, seqEnd) !== seq) return false
  if (known === undefined || text.slice(seqEnd, seqEnd + known.length) !== known) {
    const typed = typeIn(text, seqEnd)
    if (typed === undefined) return false
    known = typed
  }
  return (
    text.charCodeAt(text.length - 1) === CLOSING_BRACE &&
    text.indexOf('\n') === -1 &&
    text.indexOf('\r') === -1
  )
}

/** BEFORE_TYPE, a type of an event and AFTER_TYPE, if that is what follows the seq; else undefined. */
function typeIn(text: string, seqEnd: number): string | undefined {
  const typeAt = seqEnd + BEFORE_TYPE.length
  const type = text.slice(typeAt, text.indexOf('"', typeAt))
  const typed = BEFORE_TYPE + type + AFTER_TYPE
  return TYPE.test(type) && text.startsWith(typed, seqEnd) ? typed : undefined
}

const ZERO = 48
const CLOSING_BRACE = 125

/** The whole number between two indexes of a text; NaN if there is none, or if it is below `least`. */
export function numberAt(text: string, start: number, end: number, least = 1): number {
  // Digit by digit, in place: slices and regular expressions took a fifth of the time of a line.
  let number = start < end ? 0 : Number.NaN
  for (let i = start; i < end; i++) {
    const digit = text.charCodeAt(i) - ZERO
    if (digit < 0 || digit > 9) return Number.NaN
    number = number * 10 + digit
  }
  const hasZeroBefore = text.charCodeAt(start) === ZERO && end - start > 1
  return number >= least && number <= Number.MAX_SAFE_INTEGER && !hasZeroBefore ? number : Number.NaN
}

/** The `type` of a body (see isBodyOf) without parsing it. */
export function eventTypeOf(body: string): string {
  const start = body.indexOf(',') + BEFORE_TYPE.length
  return body.slice(start, body.indexOf('"', start))
}

/** The rule for `sub` and the CHECK of every table: 1 to 255 code points (OpenID Connect Core §2), no control characters, no lone surrogates. */
export function isUserId(value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > 510) return false
  return USER_ID.test(value)
}

// The u flag counts code points and makes \p{Surrogate} match only unpaired surrogates, which UTF-8 cannot carry.
const USER_ID = /^[^\p{Cc}\p{Surrogate}]{1,255}$/u

import { z } from 'zod'
import type { CloseReason, ControlMessage, GlimpseEvent, ResetReason } from '../../event.ts'

/** What every transport sends, as schemas; each is held to its type in event.ts by the compiler. */

type Message<Type extends (GlimpseEvent | ControlMessage)['type']> = Extract<
  GlimpseEvent | ControlMessage,
  { type: Type }
>

export const RESET_REASONS: Readonly<Record<ResetReason, string>> = {
  trimmed: 'The cursor is older than the kept history.',
  ahead: 'The cursor is beyond the end of the stream: it is from another history.',
  epoch: 'The cursor is from another history of the database, or from another user.',
  invalid: 'What was given is not a cursor.',
  gap: 'The log lacks events that it should have: somebody removed them by hand.',
}

export const CLOSE_REASONS: Readonly<Record<CloseReason, string>> = {
  token_expired: 'The token has ended; connect again with a new one.',
  replaced: 'The user opened more connections than allowed, and this was the oldest; do not reconnect.',
  closed: 'The user closed it, by DELETE /me/connections/{id}; do not reconnect.',
  draining: 'This instance stops; connect again and resume.',
  stalled: 'The client read nothing for too long; connect again and resume.',
  overloaded: 'The instance cannot serve this connection now; come back later.',
  unavailable:
    'The service cannot read the stream now, for example because its database is away; come back later.',
}

const keysOf = <Key extends string>(table: Readonly<Record<Key, string>>) => Object.keys(table) as Key[]
const sentences = (table: Readonly<Record<string, string>>) =>
  Object.entries(table)
    .map(([key, meaning]) => `\`${key}\`: ${meaning}`)
    .join(' ')

export const UserId = z.string().meta({ minLength: 1, maxLength: 255, examples: ['bob'] })
export const StoryId = z.string().meta({ format: 'uuid', examples: ['550e8400-e29b-41d4-a716-446655440000'] })
/** In events: those that a backend makes of its own tables have the ids of these tables. */
const EventStoryId = z.string().meta({ examples: ['550e8400-e29b-41d4-a716-446655440000'] })
const EventUserId = UserId.nullable().meta({ description: 'Null after that user was erased.' })
export const Time = z
  .string()
  .meta({ format: 'date-time', description: 'RFC 3339, UTC.', examples: ['2025-10-01T15:13:26.000Z'] })
export const Emoji = z.string().meta({ description: 'One RGI emoji, fully qualified.', examples: ['❤️'] })

export const Cursor = z.string().meta({
  description: 'A position in a stream. Opaque: save it and send it back.',
  examples: ['7f3a9c.42.73475cb'],
})
export const Oldest = z.int().min(1).meta({
  description: 'The `seq` of the oldest event kept; one more than the newest if none is kept.',
})
export const Read = z
  .string()
  .meta({ description: 'The position up to which the user has read.', examples: ['7f3a9c.38.aea9213'] })
export const Unread = z.int().min(0).meta({
  description: 'The number of kept events that the user has not read.',
})
const Seq = z.int().min(1).meta({
  // For code generators, which would take 32 bits otherwise.
  format: 'int64',
  description: 'The event’s number in its user’s stream: 1, 2, 3 … with none missing.',
})
export const ResetCause = z
  .enum(keysOf(RESET_REASONS))
  .meta({ title: 'ResetReason', description: sentences(RESET_REASONS) })

/** As `enum` too: openapi-zod-client does not know `const`, and would read any event as the first of the union. */
const only = <Type extends string>(type: Type) => z.literal(type).meta({ enum: [type] })

export const StoryViewed: z.ZodType<Message<'story.viewed'>> = z
  .object({
    id: Cursor,
    seq: Seq,
    type: only('story.viewed'),
    data: z
      .object({ story_id: EventStoryId, viewer_id: EventUserId, viewed_at: Time })
      .meta({ title: 'StoryViewedData' }),
    timestamp: Time,
  })
  .meta({ description: 'A user viewed the story for the first time.' })

export const StoryReacted: z.ZodType<Message<'story.reacted'>> = z
  .object({
    id: Cursor,
    seq: Seq,
    type: only('story.reacted'),
    data: z
      .object({ story_id: EventStoryId, user_id: EventUserId, emoji: Emoji, reacted_at: Time })
      .meta({ title: 'StoryReactedData' }),
    timestamp: Time,
  })
  .meta({ description: 'A user reacted to the story, or changed the reaction.' })

/** An event of a type that the application defines; the service does not know its data. */
export interface AnyEvent {
  readonly id: string
  readonly seq: number
  readonly type: string
  readonly data?: unknown
  readonly timestamp: string
}

export const OtherEvent: z.ZodType<AnyEvent> = z
  .object({
    id: Cursor,
    seq: Seq,
    type: z.string().meta({
      description: 'Lower-case words joined by dots; never beginning with `stream.`.',
      pattern: '^(?!stream\\.)[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*$',
      examples: ['comment.added'],
    }),
    data: z.unknown().meta({ description: 'Any JSON value; the type defines it.' }),
    timestamp: Time,
  })
  .meta({
    description:
      'An event of another type, made by `glimpse.append` (docs/extending.md). A client passes over types that it does not know.',
  })

export const StreamOpen: z.ZodType<Message<'stream.open'>> = z
  .object({
    type: z.literal('stream.open'),
    data: z
      .object({
        cursor: Cursor,
        oldest: Oldest,
        resumed: z.boolean(),
        heartbeat_ms: z.int().min(1).meta({
          description:
            'If nothing else is sent, the server sends a heartbeat this often: a comment over SSE, a ping over WebSocket.',
        }),
        read: Read,
        unread: Unread,
      })
      .meta({ title: 'StreamOpenData' }),
  })
  .meta({ description: 'First on every connection: where the stream continues.' })

export const StreamRead: z.ZodType<Message<'stream.read'>> = z
  .object({
    type: z.literal('stream.read'),
    data: z.object({ cursor: Read, unread: Unread }).meta({ title: 'StreamReadData' }),
  })
  .meta({ description: 'The user has read up to this cursor, on any device.' })

export const StreamReset: z.ZodType<Message<'stream.reset'>> = z
  .object({
    type: z.literal('stream.reset'),
    data: z.object({ reason: ResetCause, cursor: Cursor, oldest: Oldest }).meta({ title: 'StreamResetData' }),
  })
  .meta({ description: 'Events before this cursor may be lost to the client: it should reload its state.' })

export const StreamClose: z.ZodType<Message<'stream.close'>> = z
  .object({
    type: z.literal('stream.close'),
    data: z
      .object({
        reason: z
          .enum(keysOf(CLOSE_REASONS))
          .meta({ title: 'CloseReason', description: sentences(CLOSE_REASONS) }),
        reconnect: z.boolean().meta({ description: 'Whether the client should reconnect.' }),
        retry_ms: z.int().min(0).meta({ description: 'How long to wait before that, in milliseconds.' }),
      })
      .meta({ title: 'StreamCloseData' }),
  })
  .meta({ description: 'Last on a connection that the server ends.' })

export const StreamPong: z.ZodType<Message<'stream.pong'>> = z
  .object({ type: z.literal('stream.pong'), data: z.object({}) })
  .meta({ description: 'Over WebSocket opened with `?pings=on`: the answer to `ping`.' })

export const Ping = z.object({ type: z.literal('ping') }).meta({
  description:
    'From the client, over WebSocket opened with `?pings=on`: asks for a sign of life, because a page does not see the protocol’s pings.',
})

export const Auth = z
  .object({ type: z.literal('auth'), token: z.string().meta({ description: 'A JWT of the same user.' }) })
  .meta({ description: 'From the client, over WebSocket: a new token extends the connection.' })

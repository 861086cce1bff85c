import { z } from 'zod'
import type { GlimpseEvent, ResetReason } from '../../event.ts'
import type { PresentConnection } from '../../store/connections.ts'
import type { Story as StoredStory } from '../../store/stories.ts'
import { PROBLEMS } from '../problem.ts'
import {
  type AnyEvent,
  Cursor,
  Emoji,
  Oldest,
  OtherEvent,
  Read,
  ResetCause,
  StoryId,
  StoryReacted,
  StoryViewed,
  Time,
  Unread,
  UserId,
} from './messages.ts'

/** The bodies of answers, as schemas. */

export const Story: z.ZodType<StoredStory> = z.object({
  id: StoryId,
  author_id: UserId,
  text: z.string().nullable(),
  created_at: Time,
  expires_at: Time,
  views: z.int().min(0),
  reactions: z
    .record(z.string(), z.int().min(1))
    .meta({ description: 'How many users chose each emoji.', examples: [{ '❤️': 3 }] }),
})

const recorded = z.boolean().meta({ description: 'False if the same was recorded before.' })

export const RecordedView = z.object({ story_id: StoryId, viewer_id: UserId, viewed_at: Time, recorded })

export const RecordedReaction = z.object({
  story_id: StoryId,
  user_id: UserId,
  emoji: Emoji,
  reacted_at: Time,
  recorded,
})

interface Page {
  readonly events: readonly (GlimpseEvent | AnyEvent)[]
  readonly cursor: string
  readonly has_more: boolean
  readonly reset: { readonly reason: ResetReason; readonly oldest: number } | null
  readonly read: string
  readonly unread: number
}

export const PollPage: z.ZodType<Page> = z.object({
  events: z.array(z.union([StoryViewed, StoryReacted, OtherEvent])),
  cursor: Cursor.meta({ description: 'Request the next page with `after` set to this.' }),
  has_more: z.boolean(),
  reset: z
    .object({ reason: ResetCause, oldest: Oldest })
    .nullable()
    .meta({ description: 'Not null if events before this page may be lost to the client.' }),
  read: Read,
  unread: Unread,
})

const Connection: z.ZodType<PresentConnection> = z.object({
  id: z.string().meta({ format: 'uuid' }),
  transport: z.enum(['sse', 'websocket', 'durable-stream']),
  since: Time,
  instance: z
    .string()
    .meta({ description: 'The instance that has the connection.', examples: ['9f86d081884c'] }),
})

export const Connections = z.object({ connections: z.array(Connection) })

export const ReadPosition = z.object({ cursor: Read, unread: Unread })
export const Ticket = z.object({
  ticket: z.string().meta({ description: 'For `?ticket=`; good for one connection.' }),
  expires_in: z
    .int()
    .min(1)
    .meta({ description: 'Seconds within which the stream must be opened.', examples: [30] }),
})

export const Token = z.object({ token: z.string() })

export const Live = z.object({ status: z.literal('live') })
export const Ready = z.object({ status: z.literal('ready') })
export const NotReady = z.object({ status: z.literal('not ready'), reasons: z.array(z.string()).min(1) })

export const Problem = z
  .object({
    type: z.enum(Object.keys(PROBLEMS).map((code) => `urn:glimpse:problem:${code}`)),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().optional(),
    field: z.string().optional().meta({ description: 'The request’s field or parameter at fault.' }),
  })
  .meta({ description: 'RFC 9457. `type` is stable; the other texts are for people.' })

import type { ControlMessage, GlimpseEvent } from '../../event.ts'
import { CLOSES } from '../../hub/connection.ts'
import type { AnyEvent } from './messages.ts'

const STORY = '550e8400-e29b-41d4-a716-446655440000'
const VIEWED_AT = '2025-10-01T15:13:26.000Z'
const REACTED_AT = '2025-10-01T15:13:27.000Z'

type Example =
  | AnyEvent
  | GlimpseEvent
  | ControlMessage
  | { readonly type: 'ping' }
  | { readonly type: 'auth'; readonly token: string }
type Name =
  | 'StoryViewed'
  | 'StoryReacted'
  | 'OtherEvent'
  | 'StreamOpen'
  | 'StreamRead'
  | 'StreamReset'
  | 'StreamClose'
  | 'StreamPong'
  | 'Ping'
  | 'Auth'

/** One of each message, by the name of its schema. */
export const EXAMPLES: Readonly<Record<Name, Example>> = {
  StoryViewed: {
    id: '7f3a9c.42.73475cb',
    seq: 42,
    type: 'story.viewed',
    data: { story_id: STORY, viewer_id: 'bob', viewed_at: VIEWED_AT },
    timestamp: VIEWED_AT,
  },
  StoryReacted: {
    id: '7f3a9c.43.44cb730',
    seq: 43,
    type: 'story.reacted',
    data: { story_id: STORY, user_id: 'bob', emoji: '❤️', reacted_at: REACTED_AT },
    timestamp: REACTED_AT,
  },
  OtherEvent: {
    id: '7f3a9c.44.71ee45a',
    seq: 44,
    type: 'comment.added',
    data: { story_id: STORY, user_id: 'bob', text: 'Where was this taken?' },
    timestamp: '2025-10-01T15:13:28.000Z',
  },
  StreamOpen: {
    type: 'stream.open',
    data: {
      cursor: '7f3a9c.41.3d914f9',
      oldest: 1,
      resumed: true,
      heartbeat_ms: 15_000,
      read: '7f3a9c.38.aea9213',
      unread: 3,
    },
  },
  StreamRead: { type: 'stream.read', data: { cursor: '7f3a9c.40.d59eced', unread: 1 } },
  StreamReset: { type: 'stream.reset', data: { reason: 'trimmed', cursor: '7f3a9c.29.35135aa', oldest: 30 } },
  StreamClose: {
    type: 'stream.close',
    data: { reason: 'draining', reconnect: true, retry_ms: CLOSES.draining.retryMs },
  },
  StreamPong: { type: 'stream.pong', data: {} },
  Ping: { type: 'ping' },
  Auth: { type: 'auth', token: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl' },
}

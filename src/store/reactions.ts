import type { Origin } from '../observability/tracing.ts'
import { boundedWait, type LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'
import { outcomes, type Recorded, type Recording } from './recorded.ts'
import type { Written } from './write-queue.ts'

/** A user reacts to a story with one emoji, which replaces the user's former one. */
export interface Reaction {
  readonly storyId: string
  readonly userId: string
  readonly emoji: string
  /** What asked for it, where that is traced. */
  readonly origin?: Origin | undefined
}

/**
 * Records reactions in one statement, which is committed when this resolves (migrations/0004_recording.sql). The same
 * (story, user) must not stand twice in one call (error 21000).
 *
 * @returns one outcome a row, in order
 */
export async function recordReactions(
  sql: Pool,
  reactions: readonly Reaction[],
  locks: LockPolicy,
  traceparent?: string,
): Promise<Written<Recorded>[]> {
  const [recording] = await sql<[Recording]>`
    select recorded_at, others from glimpse.record_reactions(
      ${reactions.map((reaction) => reaction.storyId)}::uuid[],
      ${reactions.map((reaction) => reaction.userId)}::text[],
      ${reactions.map((reaction) => reaction.emoji)}::text[],
      ${locks.timeoutMs}::int, ${locks.skipLocked}::bool, ${traceparent ?? null}::text)`
  return outcomes(reactions.length, recording)
}

/** Takes a user's reaction back. It makes no event. */
export async function removeReaction(
  sql: Pool,
  storyId: string,
  userId: string,
): Promise<'removed' | 'unknown_story' | 'expired_story'> {
  const [story] = await sql<{ expired: boolean }[]>`
    with ${boundedWait(sql)},
    removed as (
      delete from glimpse.story_reactions r using bounded, glimpse.stories s
       where r.story_id = ${storyId} and r.user_id = ${userId} and s.id = r.story_id and s.expires_at > now()
    )
    select expires_at <= now() as expired from glimpse.stories where id = ${storyId} and expires_at > '-infinity'`
  if (story === undefined) return 'unknown_story'
  return story.expired ? 'expired_story' : 'removed'
}

import { cancel } from './cancel.ts'
import { boundedWait, heldParts, type LockPolicy } from './held.ts'
import type { Written } from './lane.ts'
import type { Pool } from './pool.ts'
import { type Recorded, type RecordedRow, toRecorded } from './recorded.ts'

/** A user reacts to a story with one emoji, which replaces the user's former one. */
export interface Reaction {
  readonly storyId: string
  readonly userId: string
  readonly emoji: string
}

/**
 * Records reactions in one statement, which is committed when this resolves. The same (story, user) must not stand
 * twice in one call (error 21000). Rows go in sorted by key, so that batches of several instances can't deadlock.
 *
 * @returns one outcome a row, in order
 */
export async function recordReactions(
  sql: Pool,
  reactions: readonly Reaction[],
  locks: LockPolicy,
  givenUp?: AbortSignal,
): Promise<Written<Recorded>[]> {
  const held = heldParts(sql, locks)
  const statement = sql<RecordedRow[]>`
    with ${boundedWait(sql, locks.timeoutMs)},
    input as (
      select i.* from bounded,
        unnest(
          ${reactions.map((reaction) => reaction.storyId)}::uuid[],
          ${reactions.map((reaction) => reaction.userId)}::text[],
          ${reactions.map((reaction) => reaction.emoji)}::text[]
        ) with ordinality as i (story_id, user_id, emoji, nth)
    ),${held.free}
    found as (
      select i.*, ${held.author} as held_author, s.id is not null as known, s.expires_at <= now() as expired, r.reacted_at as before
        from input i
        left join glimpse.stories s on s.id = i.story_id
        left join glimpse.story_reactions r
          on r.story_id = i.story_id and r.user_id = i.user_id and r.emoji = i.emoji
    ),
    recorded as (
      insert into glimpse.story_reactions as r (story_id, user_id, emoji)
      select story_id, user_id, emoji from found
       where not expired and before is null and held_author is null
       order by story_id, user_id
      on conflict (story_id, user_id) do update set emoji = excluded.emoji, reacted_at = excluded.reacted_at
        where r.emoji <> excluded.emoji
      returning story_id, user_id, reacted_at
    )
    select f.held_author, f.known, f.expired, glimpse.rfc3339(f.before) as before, glimpse.rfc3339(r.reacted_at) as recorded
      from found f left join recorded r using (story_id, user_id)
     order by f.nth`
  givenUp?.addEventListener('abort', () => cancel(statement), { once: true })
  return (await statement).map(toRecorded)
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
    select expires_at <= now() as expired from glimpse.stories where id = ${storyId}`
  if (story === undefined) return 'unknown_story'
  return story.expired ? 'expired_story' : 'removed'
}

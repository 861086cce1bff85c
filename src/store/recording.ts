import type { Origin } from '../observability/tracing.ts'
import { boundedWait, type LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'
import type { Written } from './write-queue.ts'

/** A user looks at a story. */
export interface View {
  readonly storyId: string
  readonly viewerId: string
  /** What asked for it, where that is traced. */
  readonly origin?: Origin | undefined
}

/** A user reacts to a story with one emoji, which replaces the user's previous one. */
export interface Reaction {
  readonly storyId: string
  readonly userId: string
  readonly emoji: string
  /** What asked for it, where that is traced. */
  readonly origin?: Origin | undefined
}

/** The outcome of a view or a reaction; `at` is RFC 3339, UTC, milliseconds. */
export type Recorded =
  | { readonly outcome: 'recorded' | 'repeated'; readonly at: string }
  | { readonly outcome: 'unknown_story' }
  | { readonly outcome: 'expired_story' }

/**
 * Records views in one statement that is committed when this resolves (glimpse.record_views).
 *
 * @returns one outcome per row, in order
 */
export async function recordViews(
  sql: Pool,
  views: readonly View[],
  locks: LockPolicy,
  traceparent?: string,
): Promise<Written<Recorded>[]> {
  const [recording] = await sql<[Recording]>`
    select recorded_at, others from glimpse.record_views(
      ${views.map((view) => view.storyId)}::uuid[], ${views.map((view) => view.viewerId)}::text[],
      ${locks.timeoutMs}::int, ${locks.skipLocked}::bool, ${traceparent ?? null}::text)`
  return outcomes(views.length, recording)
}

/**
 * Records reactions in one statement that is committed when this resolves (glimpse.record_reactions). A (story, user) must
 * appear only once in a call (error 21000).
 *
 * @returns one outcome per row, in order
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

/** The outcome of a reaction without recording it; undefined where that would change something. */
export async function unchangedReaction(
  sql: Pool,
  { storyId, userId, emoji }: Reaction,
): Promise<Recorded | undefined> {
  const [row] = await sql<{ at: string | null; expired: boolean }[]>`
    select glimpse.rfc3339(r.reacted_at) as at, s.expires_at <= now() as expired
      from glimpse.stories s
      left join glimpse.story_reactions r on r.story_id = s.id and r.user_id = ${userId} and r.emoji = ${emoji}
     where s.id = ${storyId} and s.expires_at > '-infinity'`
  if (row === undefined) return { outcome: 'unknown_story' }
  if (row.expired) return { outcome: 'expired_story' }
  return row.at === null ? undefined : { outcome: 'repeated', at: row.at }
}

/** Removes a user's reaction. It makes no event. */
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

/** What glimpse.record_views() and glimpse.record_reactions() return. */
interface Recording {
  /** The time of every row that was recorded. */
  readonly recorded_at: string
  /** The other rows: number (from 1), state, detail. */
  readonly others: readonly (readonly [nth: number, state: State, detail: string | null])[] | null
}

/** The detail of `repeated` is the time of the earlier row; that of `held` is the author whose stream is locked. */
type State = 'unknown' | 'expired' | 'repeated' | 'held' | 'again'

/** One outcome per row, in order. */
function outcomes(rows: number, { recorded_at, others }: Recording): Written<Recorded>[] {
  const recorded: Written<Recorded> = { result: { outcome: 'recorded', at: recorded_at } }
  const written = Array<Written<Recorded>>(rows).fill(recorded)
  for (const [nth, state, detail] of others ?? []) written[nth - 1] = toWritten(state, detail ?? '')
  return written
}

function toWritten(state: State, detail: string): Written<Recorded> {
  switch (state) {
    case 'unknown':
      return { result: { outcome: 'unknown_story' } }
    case 'expired':
      return { result: { outcome: 'expired_story' } }
    case 'repeated':
      return { result: { outcome: 'repeated', at: detail } }
    case 'held':
      return { heldScope: detail }
    case 'again':
      return 'again'
  }
}

/** The outcome for an identical request that joined the first one while it was being written. */
export function repeatedOutcome(recorded: Recorded): Recorded {
  return recorded.outcome === 'recorded' ? { outcome: 'repeated', at: recorded.at } : recorded
}

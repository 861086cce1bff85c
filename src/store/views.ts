import { cancel } from './cancel.ts'
import { boundedWait, heldParts, type LockPolicy } from './held.ts'
import type { Written } from './lane.ts'
import type { Pool } from './pool.ts'
import { type Recorded, type RecordedRow, toRecorded } from './recorded.ts'

/** A user looks at a story. */
export interface View {
  readonly storyId: string
  readonly viewerId: string
}

/**
 * Records views in one statement, which is committed when this resolves. Rows go in sorted by key, so that batches
 * of several instances can't deadlock.
 *
 * @returns one outcome a row, in order
 */
export async function recordViews(
  sql: Pool,
  views: readonly View[],
  locks: LockPolicy,
  givenUp?: AbortSignal,
): Promise<Written<Recorded>[]> {
  const held = heldParts(sql, locks)
  const statement = sql<RecordedRow[]>`
    with ${boundedWait(sql, locks.timeoutMs)},
    input as (
      select i.* from bounded,
        unnest(${views.map((view) => view.storyId)}::uuid[], ${views.map((view) => view.viewerId)}::text[])
          with ordinality as i (story_id, viewer_id, nth)
    ),${held.free}
    found as (
      select i.*, ${held.author} as held_author, s.id is not null as known, s.expires_at <= now() as expired, v.viewed_at as before
        from input i
        left join glimpse.stories s on s.id = i.story_id
        left join glimpse.story_views v on v.story_id = i.story_id and v.viewer_id = i.viewer_id
    ),
    recorded as (
      insert into glimpse.story_views (story_id, viewer_id)
      select story_id, viewer_id from found
       where not expired and before is null and held_author is null
       order by story_id, viewer_id
      on conflict do nothing
      returning story_id, viewer_id, viewed_at
    )
    select f.held_author, f.known, f.expired, glimpse.rfc3339(f.before) as before, glimpse.rfc3339(r.viewed_at) as recorded
      from found f left join recorded r using (story_id, viewer_id)
     order by f.nth`
  givenUp?.addEventListener('abort', () => cancel(statement), { once: true })
  return (await statement).map(toRecorded)
}

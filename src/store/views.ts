import type { LockPolicy } from './batcher.ts'
import { heldAuthors, noHeldAuthors } from './held-authors.ts'
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
): Promise<Written<Recorded>[]> {
  const rows = await sql<RecordedRow[]>`
    with bounded as materialized (
      select set_config('lock_timeout', ${String(locks.timeoutMs)}, true)
    ),
    input as (
      select i.* from bounded,
        unnest(${views.map((view) => view.storyId)}::uuid[], ${views.map((view) => view.viewerId)}::text[])
          with ordinality as i (story_id, viewer_id, nth)
    ),
    found as (
      select i.*, s.author_id, s.id is not null as known, s.expires_at <= now() as expired, v.viewed_at as before
        from input i
        left join glimpse.stories s on s.id = i.story_id
        left join glimpse.story_views v on v.story_id = i.story_id and v.viewer_id = i.viewer_id
    ),
    ${locks.passHeld ? heldAuthors(sql) : noHeldAuthors(sql)},
    recorded as (
      insert into glimpse.story_views (story_id, viewer_id)
      select story_id, viewer_id from found
       where not expired and before is null and author_id not in (select user_id from held)
       order by story_id, viewer_id
      on conflict do nothing
      returning story_id, viewer_id, viewed_at
    )
    select h.user_id as held_author, f.known, f.expired, glimpse.rfc3339(f.before) as before, glimpse.rfc3339(r.viewed_at) as recorded
      from found f left join recorded r using (story_id, viewer_id) left join held h on h.user_id = f.author_id
     order by f.nth`
  return rows.map(toRecorded)
}

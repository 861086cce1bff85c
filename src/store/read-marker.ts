import { boundedWait, type LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'
import type { Written } from './write-queue.ts'

/** A user has read everything up to a cursor. */
export interface ReadMark {
  readonly user: string
  readonly epoch: string
  readonly seq: number
}

/** Where the mark stands now; or why the cursor names no place in the user's stream. */
export type ReadOutcome =
  | { readonly outcome: 'marked'; readonly epoch: string; readonly read: number; readonly unread: number }
  | { readonly outcome: 'ahead' | 'epoch' }

interface ReadRow {
  readonly outcome: 'marked' | 'ahead' | 'epoch' | 'held'
  readonly epoch: string
  readonly read: number
  readonly unread: number
}

/** A line has a user id of at most 512 bytes and two numbers; a payload takes 7,999 bytes. */
const LINES_A_PAYLOAD = 14

/**
 * Moves marks forward, never back, in one statement, which is committed when this resolves; the same user must not
 * stand twice in one call. Every mark that moved is announced on the channel of the events, unless the NOTIFY queue is
 * half full: the instances' sweep finds it then. Rows are locked in sorted order, as those who append lock them.
 *
 * @returns one outcome a mark, in order
 */
export async function markRead(
  sql: Pool,
  marks: readonly ReadMark[],
  locks: LockPolicy,
): Promise<Written<ReadOutcome>[]> {
  const rows = await sql<ReadRow[]>`
    with ${boundedWait(sql, locks.timeoutMs)},
    found as materialized (
      select i.*, h.epoch as current, coalesce(s.head, 0) as head, coalesce(s.oldest, 1) as oldest,
             coalesce(s.read, 0) as read
        from bounded,
             (select glimpse.epoch() as epoch offset 0) h,
             unnest(
               ${marks.map(({ user }) => user)}::text[],
               ${marks.map(({ epoch }) => epoch)}::text[],
               ${marks.map(({ seq }) => seq)}::bigint[]
             ) with ordinality as i (user_id, epoch, seq, nth)
        left join glimpse.streams s using (user_id)
    ),
    ahead as materialized (
      select user_id, seq from found where epoch = current and seq > read and seq <= head
    ),
    free as materialized (
      select user_id from glimpse.streams where user_id in (select user_id from ahead)
       order by user_id for no key update ${locks.skipLocked ? sql`skip locked` : sql``}
    ),
    moved as (
      update glimpse.streams s set read = a.seq from ahead a join free using (user_id)
       where s.user_id = a.user_id and s.read < a.seq
      returning s.user_id, s.read, s.head - greatest(s.read, s.oldest - 1) as unread
    ),
    announced as materialized (
      select pg_notify('glimpse_events', string_agg(user_id || E'\t' || 'r' || read || E'\t' || unread, E'\n'))
        from (select *, row_number() over () / ${LINES_A_PAYLOAD} as nth_payload from moved) line
       where pg_notification_queue_usage() < 0.5
       group by nth_payload
    )
    select case when f.epoch <> f.current then 'epoch'
                when f.seq > f.head then 'ahead'
                when f.seq > f.read and f.user_id not in (select user_id from free) then 'held'
                else 'marked' end as outcome,
           f.current as epoch,
           coalesce(m.read, greatest(f.read, f.seq))::float8 as read,
           coalesce(m.unread, f.head - greatest(f.read, f.seq, f.oldest - 1))::float8 as unread
      from found f left join moved m using (user_id), (select count(*) from announced) told
     order by f.nth`
  return rows.map(({ outcome, epoch, read, unread }, i) => {
    if (outcome === 'held') return { heldScope: marks[i]?.user ?? '' }
    return { result: outcome === 'marked' ? { outcome, epoch, read, unread } : { outcome } }
  })
}

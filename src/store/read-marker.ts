import type { Position } from '../event.ts'
import { boundedWait, type LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'
import type { Written } from './write-queue.ts'

/** A user has read everything up to a cursor. */
export interface ReadMark {
  readonly user: string
  readonly epoch: string
  readonly seq: number
  /** The cursor's check; undefined in a cursor of 0.1. */
  readonly check: string | undefined
}

/** The mark after the write; or why the cursor is not valid in the user's stream. */
export type ReadOutcome =
  | { readonly outcome: 'marked'; readonly epoch: string; readonly read: Position; readonly unread: number }
  | { readonly outcome: 'ahead' | 'epoch' }

interface ReadRow {
  readonly outcome: 'marked' | 'ahead' | 'epoch' | 'held'
  readonly epoch: string
  readonly read: number
  readonly time: string | null
  readonly unread: number
}

/** A line has a user id of at most 1,020 bytes and three numbers; a payload takes 7,999 bytes. */
const LINES_A_PAYLOAD = 7

/**
 * Moves marks forward, never back, in one statement that is committed when this resolves. A user must appear only once in
 * a call. Every moved mark is announced on the channel of the events, unless the NOTIFY queue is half full; then the sweep
 * of the instances finds it. Rows are locked in sorted order, as writers of events do. A cursor whose check does not fit the
 * user and the event at its number is from another history or of another user.
 *
 * @returns one outcome per mark, in order
 */
export async function markRead(
  sql: Pool,
  marks: readonly ReadMark[],
  locks: LockPolicy,
): Promise<Written<ReadOutcome>[]> {
  const rows = await sql<ReadRow[]>`
    with ${boundedWait(sql, locks.timeoutMs)},
    found as materialized (
      select i.*, h.epoch as current, m.head, least(greatest(coalesce(s.oldest, 1), 1), m.head + 1) as oldest,
             least(greatest(coalesce(s.read, 0), 0), m.head) as read, glimpse.logged_at(s, i.seq) as time,
             case when s.read = s.read_at_seq then glimpse.microseconds(s.read_at) else glimpse.logged_at(s, s.read) end as read_time
        from bounded,
             (select glimpse.epoch() as epoch offset 0) h,
             unnest(
               ${marks.map(({ user }) => user)}::text[],
               ${marks.map(({ epoch }) => epoch)}::text[],
               ${marks.map(({ seq }) => seq)}::bigint[],
               ${marks.map(({ check }) => checkNumber(check))}::bigint[]
             ) with ordinality as i (user_id, epoch, seq, "check", nth)
        left join glimpse.streams s using (user_id)
       -- Impossible values, set by hand, are corrected to the nearest possible ones, as in event-log.ts.
       cross join lateral (select greatest(coalesce(s.head, 0), 0) as head) m
    ),
    judged as materialized (
      select *, case when epoch <> current then 'epoch'
                     when seq > head then 'ahead'
                     -- 0.1 did not store the times of events that it trimmed.
                     when "check" = ${NO_CHECK} or time is null and seq < oldest then 'ours'
                     when glimpse.cursor_check(user_id, time) = "check" then 'ours'
                     else 'epoch' end as verdict
        from found
    ),
    ahead as materialized (
      select user_id, seq, time from judged where verdict = 'ours' and seq > read
    ),
    free as materialized (
      select user_id from glimpse.streams where user_id in (select user_id from ahead)
       order by user_id for no key update ${locks.skipLocked ? sql`skip locked` : sql``}
    ),
    moved as (
      update glimpse.streams s
         set read = a.seq, read_at_seq = a.seq, read_at = timestamptz 'epoch' + a.time * interval '1 microsecond'
        from ahead a join free using (user_id)
       where s.user_id = a.user_id and (s.read < a.seq or s.read > s.head)
      returning s.user_id, s.read, a.time, s.head - least(greatest(s.read, s.oldest - 1), s.head) as unread
    ),
    announced as materialized (
      select pg_notify((select channel from glimpse.history),
                       string_agg(concat(user_id, E'\t', 'r', read, E'\t', coalesce(time::text, '-'), E'\t', unread), E'\n'))
        from (select *, row_number() over () / ${LINES_A_PAYLOAD} as nth_payload from moved) line
       where pg_notification_queue_usage() < 0.5 and exists (select from glimpse.history)
       group by nth_payload
    )
    select case when j.verdict <> 'ours' then j.verdict
                when j.seq > j.read and j.user_id not in (select user_id from free) then 'held'
                else 'marked' end as outcome,
           j.current as epoch,
           coalesce(m.read, greatest(j.read, j.seq))::float8 as read,
           coalesce(m.time, case when j.seq >= j.read then j.time else j.read_time end) as time,
           coalesce(m.unread, j.head - greatest(j.read, j.seq, j.oldest - 1))::float8 as unread
      from judged j left join moved m using (user_id), (select count(*) from announced) told
     order by j.nth`
  return rows.map(({ outcome, epoch, read, time, unread }, i) => {
    if (outcome === 'held') return { heldScope: marks[i]?.user ?? '' }
    if (outcome !== 'marked') return { result: { outcome } }
    const place = { seq: read, time: read === 0 ? 0 : time === null ? undefined : Number(time) }
    return { result: { outcome, epoch, read: place, unread } }
  })
}

/** A cursor of 0.1 has no check. */
const NO_CHECK = -1

/** The check as glimpse.cursor_check() returns it; -2, which that never returns, if the text is no check. */
function checkNumber(check: string | undefined): number {
  if (check === undefined) return NO_CHECK
  return /^[0-9a-f]{1,8}$/.test(check) ? Number.parseInt(check, 16) : -2
}

import type { Pool } from '../postgres/pool.ts'

/** Trimming and cleaning are one instance's work at a time. A transaction's lock, because a pooler would lose a session's. */
const LOCK = 4_739_210_552

/** Small enough that no writer waits noticeably for a row that is being trimmed. */
const STREAMS_PER_STATEMENT = 100
const EVENTS_PER_STREAM = 2000
const ROWS_PER_STATEMENT = 5000

/**
 * Removes up to 2,000 of the events older than `hours` from each of up to 100 streams, and moves their `oldest` along.
 * A stream that somebody is writing to is left for the next call rather than waited for.
 *
 * Rows are deleted, not partitions dropped: a delete costs 1.2 µs a row where its insert cost 40, while a partitioned
 * log makes every insert a fifth slower.
 *
 * @returns how many events went; 0 where there was nothing to do, or another instance is at it
 */
export async function trimEvents(sql: Pool, hours: number): Promise<number> {
  const [row] = await sql<{ events: number }[]>`
    with mine as materialized (
      select pg_try_advisory_xact_lock(${LOCK}) as locked, now() - make_interval(hours => ${hours}) as before
    ),
    picked as materialized (
      select s.user_id, s.oldest, m.before
        from mine m, glimpse.streams s
       where m.locked and s.oldest_at < m.before
       order by s.oldest_at limit ${STREAMS_PER_STATEMENT}
         for update of s skip locked
    ),
    -- One more than may go: it tells from when the rest is.
    looked_at as materialized (
      select p.user_id, e.seq, e.logged_at, e.logged_at < p.before and e.nth <= ${EVENTS_PER_STREAM} as old
        from picked p, lateral (
          select seq, logged_at, row_number() over (order by seq) as nth
            from glimpse.events where user_id = p.user_id and seq >= p.oldest
           order by seq limit ${EVENTS_PER_STREAM} + 1
        ) e
    ),
    trimmed as (
      delete from glimpse.events e using looked_at l where l.old and e.user_id = l.user_id and e.seq = l.seq
      returning 1
    ),
    moved as (
      update glimpse.streams s
         set oldest = coalesce(kept.seq, s.head + 1), oldest_at = kept.logged_at
        from picked p
        left join lateral (
          select seq, logged_at from looked_at l where l.user_id = p.user_id and not l.old order by seq limit 1
        ) kept on true
       where s.user_id = p.user_id
    )
    select count(*)::int as events from trimmed`
  return row?.events ?? 0
}

/**
 * Removes stories that expired more than `hours` ago, after their views and reactions: a cascade over a popular story's
 * million views would be one long statement. Until then they answer as expired; their events stay until trimmed.
 *
 * @returns how many rows went, of all three tables
 */
export async function removeExpiredStories(sql: Pool, hours: number): Promise<number> {
  const [row] = await sql<{ rows: number }[]>`
    with mine as materialized (
      select pg_try_advisory_xact_lock(${LOCK}) as locked, now() - make_interval(hours => ${hours}) as before
    ),
    expired as materialized (
      select s.id from mine m, glimpse.stories s
       where m.locked and s.expires_at < m.before order by s.expires_at limit 100
    ),
    views as (
      delete from glimpse.story_views v using (
        select v.story_id, v.viewer_id from expired e join glimpse.story_views v on v.story_id = e.id
         limit ${ROWS_PER_STATEMENT}
      ) old
      where v.story_id = old.story_id and v.viewer_id = old.viewer_id
      returning 1
    ),
    reactions as (
      delete from glimpse.story_reactions r using (
        select r.story_id, r.user_id from expired e join glimpse.story_reactions r on r.story_id = e.id
         limit ${ROWS_PER_STATEMENT}
      ) old
      where r.story_id = old.story_id and r.user_id = old.user_id
      returning 1
    ),
    bare as (
      delete from glimpse.stories s using expired e
       where s.id = e.id
         and not exists (select from glimpse.story_views v where v.story_id = e.id)
         and not exists (select from glimpse.story_reactions r where r.story_id = e.id)
      returning 1
    )
    select ((select count(*) from views) + (select count(*) from reactions) + (select count(*) from bare))::int as rows`
  return row?.rows ?? 0
}

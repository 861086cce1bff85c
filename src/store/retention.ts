import type { Pool } from '../postgres/pool.ts'

/** Trimming and cleaning are one instance's work at a time. A transaction's lock, because a pooler would lose a session's. */
const LOCK = 4_739_210_552

/** So few that no writer waits noticeably for a row that is being trimmed: some ten milliseconds' work. */
const STREAMS_PER_STATEMENT = 20
const EVENTS_PER_STREAM = 500
const EVENTS_PER_STATEMENT = 2000
const ROWS_PER_STATEMENT = 5000

/**
 * Removes up to 2,000 of the events older than `hours` from the beginnings of up to 20 streams, and moves their `oldest`
 * along. A stream that somebody is writing to is left for the next call rather than waited for.
 *
 * Only a prefix goes, because readers count on consecutive numbers: all that stands before the first event that is young
 * enough. Where Postgres' clock was stepped back, an event may have a time that is still to come; it is as old as the oldest
 * one behind it.
 *
 * Rows are deleted, not partitions dropped: a delete costs 1.2 µs a row where its insert cost 40, while a partitioned
 * log makes every insert a fifth slower.
 *
 * @returns how many events went, and how many streams were looked at: none where there was nothing to do, or another
 *   instance is at it
 */
export async function trimEvents(sql: Pool, hours: number): Promise<{ events: number; streams: number }> {
  const [row] = await sql<{ events: number; streams: number }[]>`
    with mine as materialized (
      select pg_try_advisory_xact_lock(${LOCK}) as locked, now() - make_interval(hours => ${hours}) as before
    ),
    picked as materialized (
      select s.user_id, s.oldest, s.oldest_at, m.before
        from mine m, glimpse.streams s
       where m.locked and s.oldest_at < m.before
       order by s.oldest_at limit ${STREAMS_PER_STATEMENT}
         for update of s skip locked
    ),
    -- One more than may go: it tells from when the rest is.
    looked_at as materialized (
      select p.user_id, e.seq, e.logged_at,
             e.age < p.before and e.nth <= ${EVENTS_PER_STREAM}
               and row_number() over (order by p.oldest_at, p.user_id, e.seq) <= ${EVENTS_PER_STATEMENT} as old
        from picked p, lateral (
          select seq, logged_at, row_number() over (order by seq) as nth,
                 case when logged_at <= now() then logged_at
                      else min(logged_at) over (order by seq rows between current row and unbounded following) end as age
            from (
              select seq, logged_at from glimpse.events where user_id = p.user_id and seq >= p.oldest
               order by seq limit ${EVENTS_PER_STREAM} + 1
            ) e
        ) e
    ),
    kept as materialized (
      select user_id, min(seq) filter (where not old) as seq, max(seq) + 1 as behind from looked_at group by user_id
    ),
    moved as (
      -- The head may have moved on since the log was looked at, and by events that are not seen here.
      update glimpse.streams s
         set oldest = k.oldest, trimmed_at = case when k.oldest = s.oldest then s.trimmed_at else last.logged_at end,
             oldest_at = case when first.seq is not null then least(first.logged_at, now())
                              when s.head >= k.oldest and k.behind is not null then now() end
        from (select p.user_id, coalesce(k.seq, k.behind, p.oldest) as oldest, k.behind
                from picked p left join kept k using (user_id)) k
        left join looked_at first on first.user_id = k.user_id and first.seq = k.oldest
        left join looked_at last on last.user_id = k.user_id and last.seq = k.oldest - 1
       where s.user_id = k.user_id
    ),
    trimmed as (
      delete from glimpse.events e using kept k
       where e.user_id = k.user_id and e.seq < coalesce(k.seq, k.behind)
      returning 1
    )
    select (select count(*) from trimmed)::int as events, (select count(*) from picked)::int as streams`
  return row ?? { events: 0, streams: 0 }
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

-- What the service writes views and reactions with. One call a batch, whose statements are planned once a session instead
-- of once a batch: planning was a third of what a lone view cost.
--
-- All plans here are kept, and may be older than a million rows: they may do nothing but look up by index.
--
-- Both record rows in the order that all batches share, so that they can't deadlock. They wait for a lock no longer than
-- lock_timeout_ms each (SQLSTATE 55P03), set for the transaction alone, so that it works through a transaction pooler
-- too; it holds before the statements are planned, which is where a lock on a whole table is waited for. With pass_held,
-- rows whose story or whose author's stream is locked at that moment are passed over. The events name the trace in
-- traceparent where one is given.
--
-- At the end the bound is lifted: what comes then is the commit, and one that notifies takes a lock that all of the
-- cluster's notifying commits share. Whoever waits for a slow disk there must not be taken for somebody who holds a row.
--
-- recorded_at: the time of every row that was recorded. others: null where all were, else for each row that was not
-- [nth, state, detail]: unknown; expired; repeated, detail: since when it stands there; held, detail: the author; again,
-- where another writer came in between.

create function glimpse.record_views(
  story_ids uuid[], viewer_ids text[], lock_timeout_ms integer, pass_held boolean, traceparent text,
  out recorded_at text, out others json
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  patience constant text := current_setting('lock_timeout');
  held     uuid[] := '{}';
  recorded bigint;
begin
  perform set_config('lock_timeout', lock_timeout_ms::text, true);
  if traceparent is not null then
    perform set_config('glimpse.traceparent', traceparent, true);
  end if;
  if pass_held then
    held := glimpse.held_stories(story_ids);
  end if;

  insert into glimpse.story_views (story_id, viewer_id)
  select i.story_id, i.viewer_id
    from unnest(story_ids, viewer_ids) as i (story_id, viewer_id)
   where i.story_id <> all (held)
     and (select expires_at > now() from glimpse.stories where id = i.story_id)
   order by i.story_id, i.viewer_id collate "C"
  on conflict do nothing;

  get diagnostics recorded = row_count;
  perform set_config('lock_timeout', patience, true);
  recorded_at := glimpse.rfc3339(date_trunc('milliseconds', now()));
  if recorded = cardinality(story_ids) then
    return;
  end if;
  select json_agg(json_build_array(nth, state, case state when 'repeated' then since when 'held' then author_id end))
    into others
    from (
      select i.nth, s.author_id, glimpse.rfc3339(v.viewed_at) as since,
             case when s.id is null then 'unknown'
                  when s.expires_at <= now() then 'expired'
                  when v.xmin = pg_current_xact_id_if_assigned()::xid then null
                  when v.viewed_at is not null then 'repeated'
                  when s.id = any (held) then 'held'
                  else 'again' end as state
        from unnest(story_ids, viewer_ids) with ordinality as i (story_id, viewer_id, nth)
        left join lateral (select * from glimpse.stories where id = i.story_id offset 0) s on true
        left join lateral (
          select xmin, viewed_at from glimpse.story_views where story_id = i.story_id and viewer_id = i.viewer_id offset 0
        ) v on true
    ) as states
   where state is not null;
end $$;

create function glimpse.record_reactions(
  story_ids uuid[], user_ids text[], emojis text[], lock_timeout_ms integer, pass_held boolean, traceparent text,
  out recorded_at text, out others json
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  patience constant text := current_setting('lock_timeout');
  held     uuid[] := '{}';
  recorded bigint;
begin
  perform set_config('lock_timeout', lock_timeout_ms::text, true);
  if traceparent is not null then
    perform set_config('glimpse.traceparent', traceparent, true);
  end if;
  if pass_held then
    held := glimpse.held_stories(story_ids);
  end if;

  -- Where nothing changes the row is not even tried: DO UPDATE would lock it, whatever its WHERE says.
  insert into glimpse.story_reactions as r (story_id, user_id, emoji)
  select i.story_id, i.user_id, i.emoji
    from unnest(story_ids, user_ids, emojis) as i (story_id, user_id, emoji)
   where i.story_id <> all (held)
     and (select expires_at > now() from glimpse.stories where id = i.story_id)
     and (select emoji from glimpse.story_reactions where story_id = i.story_id and user_id = i.user_id)
         is distinct from i.emoji
   order by i.story_id, i.user_id collate "C"
  on conflict (story_id, user_id) do update set emoji = excluded.emoji, reacted_at = excluded.reacted_at
    where r.emoji <> excluded.emoji;

  get diagnostics recorded = row_count;
  perform set_config('lock_timeout', patience, true);
  recorded_at := glimpse.rfc3339(date_trunc('milliseconds', now()));
  if recorded = cardinality(story_ids) then
    return;
  end if;
  select json_agg(json_build_array(nth, state, case state when 'repeated' then since when 'held' then author_id end))
    into others
    from (
      select i.nth, s.author_id, glimpse.rfc3339(r.reacted_at) as since,
             case when s.id is null then 'unknown'
                  when s.expires_at <= now() then 'expired'
                  when r.xmin = pg_current_xact_id_if_assigned()::xid then null
                  when r.emoji = i.emoji then 'repeated'
                  when s.id = any (held) then 'held'
                  else 'again' end as state
        from unnest(story_ids, user_ids, emojis) with ordinality as i (story_id, user_id, emoji, nth)
        left join lateral (select * from glimpse.stories where id = i.story_id offset 0) s on true
        left join lateral (
          select xmin, emoji, reacted_at from glimpse.story_reactions where story_id = i.story_id and user_id = i.user_id offset 0
        ) r on true
    ) as states
   where state is not null;
end $$;

-- Those of the stories in whose way a lock stands at this moment, on the story or on its author's stream. Whatever can
-- be locked without waiting is locked, so that nobody else stands in the way of the others from here on.
create function glimpse.held_stories(story_ids uuid[]) returns uuid[] language sql as $$
  with free_stories as materialized (
    select id, author_id from glimpse.stories where id = any (story_ids) for key share skip locked
  ),
  free_streams as materialized (
    select user_id from glimpse.streams
     where user_id in (select author_id from glimpse.stories where id = any (story_ids))
       for no key update skip locked
  )
  select coalesce(array_agg(s.id), '{}')
    from glimpse.stories s
   where s.id = any (story_ids)
     and (s.id not in (select id from free_stories)
          or s.author_id not in (select user_id from free_streams)
             and exists (select from glimpse.streams t where t.user_id = s.author_id))
$$;

-- Glimpse from SQL: writing without events, and what a backend asks of streams and users without HTTP.

-- Whether this transaction makes no events: after `set local glimpse.quiet = on`, for a backfill. For triggers of one's own:
-- `if glimpse.is_quiet() then return null; end if;`
create function glimpse.is_quiet() returns boolean language sql stable parallel safe
  return coalesce(lower(current_setting('glimpse.quiet', true)) in ('on', 'true', 'yes', '1'), false);

-- As before (0008), and: a quiet transaction makes no events. Not as a condition of the triggers: that is planned anew for
-- each statement, which costs more than calling a function that returns at once.
create or replace function glimpse.story_viewed() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  if tg_relid <> 'glimpse.story_views'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_views alone';
  end if;
  if glimpse.is_quiet() then
    return null;
  end if;
  perform glimpse.log_events(array_agg(author_id), array_agg(glimpse.event_tail('story.viewed',
            '{"story_id":"' || story_id || '","viewer_id":' || to_json(viewer_id) || ',"viewed_at":"' || at || '"}', at)))
    from (select s.author_id, v.story_id, v.viewer_id, glimpse.rfc3339(v.viewed_at) as at
            from inserted v cross join lateral (select author_id from glimpse.stories where id = v.story_id offset 0) s
           where s.author_id <> v.viewer_id order by s.author_id, v.viewed_at) as sorted;
  return null;
end $$;

create or replace function glimpse.story_reacted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  if tg_relid <> 'glimpse.story_reactions'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_reactions alone';
  end if;
  if glimpse.is_quiet() then
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform glimpse.log_events(array_agg(author_id), array_agg(tail))
      from (select s.author_id, glimpse.reacted_tail(r) as tail
              from inserted r cross join lateral (select author_id from glimpse.stories where id = r.story_id offset 0) s
             where s.author_id <> r.user_id order by s.author_id, r.reacted_at) as sorted;
  else
    perform glimpse.log_events(array_agg(author_id), array_agg(tail))
      from (select s.author_id, glimpse.reacted_tail(r) as tail
              from updated r cross join lateral (select author_id from glimpse.stories where id = r.story_id offset 0) s
              left join replaced o on o.story_id = r.story_id and o.user_id = r.user_id
             where s.author_id <> r.user_id and o.emoji is distinct from r.emoji
             order by s.author_id, r.reacted_at) as sorted;
  end if;
  return null;
end $$;

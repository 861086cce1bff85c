-- A view or a reaction, by whatever statement it was written, becomes an event in the stream of the story's author.
-- An author's own make none. The functions run with their owner's rights, so that an application's role needs no
-- more than INSERT on the two tables.

-- An author has a stream from the first story on: its row is there to be locked, and to be seen locked, before the first
-- event. A row that an open transaction has only just inserted is invisible, so nobody could see that it is held.
create function glimpse.story_posted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- On a row that is being updated, ON CONFLICT would wait for whoever holds it: posting a story must not.
  insert into glimpse.streams (user_id)
  select distinct author_id from inserted
   where not exists (select from glimpse.streams where user_id = author_id) order by author_id
  on conflict do nothing;
  return null;
end $$;

create trigger story_posted after insert on glimpse.stories
  referencing new table as inserted for each statement execute function glimpse.story_posted();

-- The planner knows little of a transition table, and a plan that is kept may be older than a million stories: in these
-- functions it may choose nothing but look-ups by index.
create function glimpse.story_viewed() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  perform glimpse.log_events(array_agg(author_id), array_agg(glimpse.event_tail('story.viewed',
            '{"story_id":"' || story_id || '","viewer_id":' || to_json(viewer_id) || ',"viewed_at":"' || at || '"}', at)))
    from (select s.author_id, v.story_id, v.viewer_id, glimpse.rfc3339(v.viewed_at) as at
            from inserted v cross join lateral (select author_id from glimpse.stories where id = v.story_id offset 0) s
           where s.author_id <> v.viewer_id order by s.author_id, v.viewed_at) as sorted;
  return null;
end $$;

create trigger story_viewed after insert on glimpse.story_views
  referencing new table as inserted for each statement execute function glimpse.story_viewed();

create function glimpse.story_reacted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
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

create function glimpse.reacted_tail(r glimpse.story_reactions) returns text language sql stable
  return glimpse.event_tail('story.reacted',
    '{"story_id":"' || r.story_id || '","user_id":' || to_json(r.user_id) || ',"emoji":' || to_json(r.emoji)
    || ',"reacted_at":"' || glimpse.rfc3339(r.reacted_at) || '"}',
    glimpse.rfc3339(r.reacted_at));

-- A trigger with transition tables takes one kind of statement, so reactions need two.
create trigger story_reacted after insert on glimpse.story_reactions
  referencing new table as inserted for each statement execute function glimpse.story_reacted();
create trigger story_reaction_changed after update on glimpse.story_reactions
  referencing old table as replaced new table as updated for each statement execute function glimpse.story_reacted();

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

create function glimpse.story_viewed() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_events glimpse.new_event[];
begin
  select array_agg((s.author_id, 'story.viewed',
           '{"story_id":"' || v.story_id || '","viewer_id":' || to_json(v.viewer_id)
           || ',"viewed_at":"' || glimpse.rfc3339(v.viewed_at) || '"}',
           v.viewed_at)::glimpse.new_event order by v.viewed_at)
    into new_events
    from inserted v join glimpse.stories s on s.id = v.story_id
   where s.author_id <> v.viewer_id;
  if new_events is not null then
    perform glimpse.append(variadic new_events);
  end if;
  return null;
end $$;

create trigger story_viewed after insert on glimpse.story_views
  referencing new table as inserted for each statement execute function glimpse.story_viewed();

create function glimpse.story_reacted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_events glimpse.new_event[];
begin
  if tg_op = 'INSERT' then
    select array_agg(glimpse.reacted_event(s.author_id, r) order by r.reacted_at)
      into new_events
      from inserted r join glimpse.stories s on s.id = r.story_id
     where s.author_id <> r.user_id;
  else
    select array_agg(glimpse.reacted_event(s.author_id, r) order by r.reacted_at)
      into new_events
      from updated r join glimpse.stories s on s.id = r.story_id
      left join replaced o on o.story_id = r.story_id and o.user_id = r.user_id
     where s.author_id <> r.user_id and o.emoji is distinct from r.emoji;
  end if;
  if new_events is not null then
    perform glimpse.append(variadic new_events);
  end if;
  return null;
end $$;

create function glimpse.reacted_event(author_id text, r glimpse.story_reactions) returns glimpse.new_event
  language sql stable
  return (author_id, 'story.reacted',
    '{"story_id":"' || r.story_id || '","user_id":' || to_json(r.user_id) || ',"emoji":' || to_json(r.emoji)
    || ',"reacted_at":"' || glimpse.rfc3339(r.reacted_at) || '"}',
    r.reacted_at)::glimpse.new_event;

-- A trigger with transition tables takes one kind of statement, so reactions need two.
create trigger story_reacted after insert on glimpse.story_reactions
  referencing new table as inserted for each statement execute function glimpse.story_reacted();
create trigger story_reaction_changed after update on glimpse.story_reactions
  referencing old table as replaced new table as updated for each statement execute function glimpse.story_reacted();

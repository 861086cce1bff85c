-- How often a story was viewed and with what people reacted is kept, not counted at each read; a deleted story is gone at
-- once, and what belongs to it goes in portions; the cleaner's lock is a row that nobody else can hold.

-- emoji: '' for the views. A story is tallied where it has a row for its views; then every change of its views and
-- reactions changes its tallies in the same transaction. One that is not (it is older than this table, or has expired) is
-- counted when it is read. Half of each page stays free, so that counting is a HOT update that touches no index.
create table glimpse.story_tallies (
  story_id uuid   not null references glimpse.stories on delete cascade,
  emoji    text   collate "C" not null,
  total    bigint not null,
  primary key (story_id, emoji)
) with (fillfactor = 50);

-- Triggers of their own, apart from those that make events: whoever switches those off for a backfill is still counted
-- right. They fire in the order of their names, hence after the events: an author's stream is locked before the tallies of
-- the author's stories. Tallies are locked in the order of their keys, the row of the views before those of the emoji.
-- So statements can't deadlock, and on a popular story they already wait for each other at the stream.

create function glimpse.story_posted_tally() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_relid <> 'glimpse.stories'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.stories alone';
  end if;
  insert into glimpse.story_tallies (story_id, emoji, total) select id, '', 0 from inserted order by id;
  return null;
end $$;

create trigger story_posted_tally after insert on glimpse.stories
  referencing new table as inserted for each statement execute function glimpse.story_posted_tally();

-- The way of nearly all: views of stories that are tallied. Whatever is no look-up by the key is ruled out, because the plan
-- is kept and may be older than a million stories.
create function glimpse.story_viewed_tally() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off
  set plan_cache_mode = force_generic_plan as $$
declare
  stories uuid[];
  totals  bigint[];
begin
  if tg_relid <> 'glimpse.story_views'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_views alone';
  end if;
  with counted as materialized (
    -- Were the emoji a constant of the join, the planner might rather read the whole index for it once.
    select story_id, ''::text collate "C" as emoji, count(*) as total from inserted group by story_id order by story_id
  ),
  tallied as (
    update glimpse.story_tallies t set total = t.total + c.total
      from counted c where t.story_id = c.story_id and t.emoji = c.emoji
    returning t.story_id
  )
  select array_agg(story_id), array_agg(total) into stories, totals
    from counted where story_id not in (select story_id from tallied);
  if stories is not null then
    perform glimpse.change_tallies(stories, array_fill(''::text, array[cardinality(stories)]), totals, true);
  end if;
  return null;
end $$;

create trigger story_viewed_tally after insert on glimpse.story_views
  referencing new table as inserted for each statement execute function glimpse.story_viewed_tally();

-- Counting a view locks a row that goes with its story: it finds out whether there is the story, and keeps that from being
-- deleted before the view is committed. A foreign key would do both a second time for each view, at a tenth of its cost.
-- Views of a deleted story are deleted here, as by the foreign key. This trigger fires after the cascade to the tallies, which
-- waits for whoever is counting views, and sees their views because its statement begins later.
create function glimpse.stories_deleted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  if tg_relid <> 'glimpse.stories'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.stories alone';
  end if;
  if tg_op = 'DELETE' then
    delete from glimpse.story_views v using deleted d where v.story_id = d.id;
  -- A table that the same TRUNCATE has emptied can't be truncated again before it ends.
  elsif exists (select from glimpse.story_views) then
    truncate glimpse.story_views;
  end if;
  return null;
end $$;

create trigger stories_deleted after delete on glimpse.stories
  referencing old table as deleted for each statement execute function glimpse.stories_deleted();
create trigger stories_truncated after truncate on glimpse.stories
  for each statement execute function glimpse.stories_deleted();
alter table glimpse.story_views drop constraint story_views_story_id_fkey;

-- Views that are removed, or moved to another story.
create function glimpse.story_views_changed() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_relid <> 'glimpse.story_views'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_views alone';
  end if;
  if tg_op = 'TRUNCATE' then
    update glimpse.story_tallies set total = 0 where emoji = '' and total <> 0;
  elsif tg_op = 'DELETE' then
    perform glimpse.change_tallies(array_agg(story_id), array_agg(''::text), array_agg(-total), false)
      from (select story_id, count(*) as total from deleted group by story_id order by story_id) changes;
  else
    perform glimpse.change_tallies(array_agg(story_id), array_agg(''::text), array_agg(total), true)
      from (select story_id, sum(n) as total
              from (select story_id, 1 as n from updated union all select story_id, -1 from replaced) rows
             group by story_id having sum(n) <> 0 order by story_id) changes;
  end if;
  return null;
end $$;

create trigger story_views_deleted after delete on glimpse.story_views
  referencing old table as deleted for each statement execute function glimpse.story_views_changed();
create trigger story_views_moved after update on glimpse.story_views
  referencing old table as replaced new table as updated for each statement execute function glimpse.story_views_changed();
create trigger story_views_truncated after truncate on glimpse.story_views
  for each statement execute function glimpse.story_views_changed();

create function glimpse.story_reactions_changed() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_relid <> 'glimpse.story_reactions'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_reactions alone';
  end if;
  if tg_op = 'TRUNCATE' then
    delete from glimpse.story_tallies where emoji <> '';
  elsif tg_op = 'INSERT' then
    perform glimpse.change_tallies(array_agg(story_id), array_agg(emoji), array_agg(total), true)
      from (select story_id, emoji collate "C" as emoji, count(*) as total from inserted group by 1, 2 order by 1, 2) changes;
  elsif tg_op = 'DELETE' then
    perform glimpse.change_tallies(array_agg(story_id), array_agg(emoji), array_agg(-total), false)
      from (select story_id, emoji collate "C" as emoji, count(*) as total from deleted group by 1, 2 order by 1, 2) changes;
  else
    perform glimpse.change_tallies(array_agg(story_id), array_agg(emoji), array_agg(total), true)
      from (select story_id, emoji collate "C" as emoji, sum(n) as total
              from (select story_id, emoji, 1 as n from updated union all select story_id, emoji, -1 from replaced) rows
             group by 1, 2 having sum(n) <> 0 order by 1, 2) changes;
  end if;
  return null;
end $$;

create trigger story_reacted_tally after insert on glimpse.story_reactions
  referencing new table as inserted for each statement execute function glimpse.story_reactions_changed();
create trigger story_reaction_changed_tally after update on glimpse.story_reactions
  referencing old table as replaced new table as updated for each statement execute function glimpse.story_reactions_changed();
create trigger story_reactions_deleted after delete on glimpse.story_reactions
  referencing old table as deleted for each statement execute function glimpse.story_reactions_changed();
create trigger story_reactions_truncated after truncate on glimpse.story_reactions
  for each statement execute function glimpse.story_reactions_changed();

-- Adds changes[i] to the tally of emojis[i] of stories[i], of stories that are tallied. The arrays are sorted by story and
-- emoji, and have each once.
--
-- A story that is not tallied may become so at this very moment (glimpse.tally_stories), by somebody who does not see what
-- our transaction has written. That one holds the stream of the story's author: we lock it too, and look again.
--
-- Of a story that does not exist or was removed nothing can be recorded: that is the error of a foreign key. One that is not
-- tallied is locked as by a foreign key, against its deletion.
create function glimpse.change_tallies(stories uuid[], emojis text[], changes bigint[], adding boolean) returns void
  language plpgsql set plan_cache_mode = force_generic_plan
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
  tallied  uuid[];
  others   uuid[];
  present  uuid[];
  finished uuid[] := '{}';
  authors  text[];
begin
  if stories is null then
    return;
  end if;
  for attempt in 1 .. 2 loop
    -- Held, so that a story can't be removed between; whoever counts its views is not kept waiting.
    tallied := array(
      select t.story_id from glimpse.story_tallies t
       where t.story_id = any (stories) and t.story_id <> all (finished) and t.emoji = ''
       order by t.story_id for key share
    );
    insert into glimpse.story_tallies as t (story_id, emoji, total)
    select c.story_id, c.emoji, c.change
      from unnest(stories, emojis, changes) with ordinality as c (story_id, emoji, change, nth)
     where c.story_id = any (tallied) order by c.nth
    on conflict (story_id, emoji) do update set total = t.total + excluded.total;
    delete from glimpse.story_tallies t
     using unnest(stories, emojis, changes) as c (story_id, emoji, change)
     where c.change < 0 and c.emoji <> '' and t.story_id = c.story_id and t.emoji = c.emoji and t.total = 0
       and c.story_id = any (tallied);
    finished := finished || tallied;
    others := array(select distinct s from unnest(stories) as s where s <> all (finished) order by 1);
    exit when attempt = 2 or cardinality(others) = 0;

    if adding then
      present := array(
        select id from glimpse.stories where id = any (others) and expires_at > '-infinity' order by id for key share
      );
      if cardinality(present) < cardinality(others) then
        raise exception using errcode = 'foreign_key_violation', schema = 'glimpse', table = 'stories',
          message = 'views and reactions violate the foreign key to stories: there is no such story, or it was deleted',
          detail = (select format('Key (story_id)=(%s) is not present in table "stories".', s)
                      from unnest(others) as s where s <> all (present) limit 1);
      end if;
    end if;
    authors := array(select author_id from glimpse.stories where id = any (others) and expires_at > now());
    exit when cardinality(authors) = 0;
    perform from glimpse.streams where user_id = any (authors) order by user_id for no key update;
  end loop;
end $$;

-- Where the cleaner is. Who works at a job holds its row, one instance at a time: only the schema's owner and the
-- service's role can lock it, while any role that can connect could hold an advisory lock. Its places, null at the start:
--   since      what is older is done, of the jobs 'events' (by oldest_at) and 'stories' (by expires_at)
--   position   the last story that was looked at by the job 'tallies'; null where it has nothing to do
--   again      the job 'tallies' left some out
--   position, viewer and reacted, reactor   of the job 'stories': up to whom the views and the reactions of a story are removed
-- Without them each portion would first read what those before it removed, as long as an old snapshot keeps vacuum away.
create table glimpse.cleaning (
  job      text    collate "C" primary key,
  since    timestamptz,
  position uuid,
  again    boolean not null default false,
  viewer   text    collate "C",
  reacted  uuid,
  reactor  text    collate "C"
);
revoke all on glimpse.cleaning from public;
insert into glimpse.cleaning (job, position) values
  ('events', null), ('stories', null), ('tickets', null), ('tallies', '00000000-0000-0000-0000-000000000000');

-- Tallies the next stories that are not tallied: those of 0.1, or after glimpse.recount_stories(). At most 200 stories, or
-- some 10,000 rows; one that has more goes alone. A story that somebody is writing to is left for another turn.
--
-- While it counts it holds the streams of their authors, so that nothing is committed that it does not see; a transaction of
-- a stricter isolation, whose snapshot is older, fails because the streams were changed.
--
-- Returns how many stories it looked at; 0 where there is nothing to do, or another session is at it.
create function glimpse.tally_stories() returns integer language plpgsql
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
  start   uuid;
  looked  uuid[];
  wanted  uuid[];
  held    uuid[];
  owners  text[];
begin
  select position into start from glimpse.cleaning where job = 'tallies' and position is not null for update skip locked;
  if start is null then
    return 0;
  end if;
  select array_agg(id order by id), array_agg(id order by id) filter (where untallied) into looked, wanted
    from (
      select id, untallied, sum(size) over (order by id rows between unbounded preceding and 1 preceding) as before
        from (
          select s.id, u.untallied,
                 case when u.untallied then (
                   select count(*) from (select from glimpse.story_views v where v.story_id = s.id limit 10000) v
                 ) else 0 end as size
            from (select id, expires_at from glimpse.stories where id > start order by id limit 200) s
           cross join lateral (
             select s.expires_at > now() and not exists (
               select from glimpse.story_tallies t where t.story_id = s.id and t.emoji = ''
             ) as untallied
           ) u
        ) sized
    ) stories
   where coalesce(before, 0) < 10000;
  if looked is null then
    update glimpse.cleaning
       set position = case when again then '00000000-0000-0000-0000-000000000000'::uuid end, again = false
     where job = 'tallies';
    return 0;
  end if;

  if wanted is not null then
    -- On a row that is being updated, ON CONFLICT would wait.
    insert into glimpse.streams (user_id)
    select distinct author_id from glimpse.stories s
     where id = any (wanted) and not exists (select from glimpse.streams where user_id = s.author_id)
    on conflict do nothing;
    owners := array(
      select user_id from glimpse.streams
       where user_id in (select author_id from glimpse.stories where id = any (wanted))
       order by user_id for no key update skip locked
    );
    update glimpse.streams set head = head where user_id = any (owners);
    held := array(
      select id from glimpse.stories
       where id = any (wanted) and author_id = any (owners) and expires_at > now() for no key update skip locked
    );
    insert into glimpse.story_tallies (story_id, emoji, total)
    select id, '', (select count(*) from glimpse.story_views v where v.story_id = id) from unnest(held) as id
    on conflict do nothing;
    insert into glimpse.story_tallies (story_id, emoji, total)
    select id, r.emoji, r.total
      from unnest(held) as id
     cross join lateral (select emoji, count(*) as total from glimpse.story_reactions where story_id = id group by emoji) r;
  end if;
  update glimpse.cleaning
     set position = looked[cardinality(looked)], again = again or coalesce(cardinality(held) < cardinality(wanted), false)
   where job = 'tallies';
  return cardinality(looked);
end $$;

-- After somebody wrote views or reactions while the triggers were switched off: all stories are counted anew when they are
-- read, and tallied again in the background.
create function glimpse.recount_stories() returns void language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  update glimpse.cleaning set position = '00000000-0000-0000-0000-000000000000', again = false where job = 'tallies';
  truncate glimpse.story_tallies;
end $$;

-- Removes a portion of the stories that were deleted, or expired more than so many hours ago, after their views and reactions:
-- a cascade over a popular story's million views would be one long statement. Their tallies go first, so that removing the
-- rest locks no author's stream. It goes on where the last portion ended, and where nothing is left from there, once from the
-- start: for what was locked before, and what expired late. A view that somebody adds behind the place goes with its story.
--
-- Returns how many rows went, of all three tables; 0 where nothing was left, or another session is at it.
create function glimpse.remove_stories(hours integer, most_stories integer, most_rows integer) returns integer language plpgsql
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off
  set enable_material = off set plan_cache_mode = force_generic_plan as $$
declare
  place    glimpse.cleaning;
  deleted  uuid[];
  aged     uuid[];
  times    timestamptz[];
  story    uuid;
  bare     uuid[];
  found    integer;
  viewers  text[];
  users    text[];
  removed  integer := 0;
begin
  select * into place from glimpse.cleaning where job = 'stories' for update skip locked;
  if place.job is null then
    return 0;
  end if;
  -- Who waits for a row that is being removed would wait for the disk too. What a crash takes back is removed again.
  perform set_config('synchronous_commit', 'off', true);
  for turn in 1 .. 2 loop
    deleted := array(
      select id from glimpse.stories where expires_at = '-infinity' limit most_stories for no key update skip locked
    );
    select array_agg(id), array_agg(expires_at) into aged, times
      from (
        select id, expires_at from glimpse.stories
         where expires_at > '-infinity' and expires_at >= coalesce(place.since, '-infinity')
           and expires_at < now() - make_interval(hours => hours)
         order by expires_at limit most_stories for no key update skip locked
      ) stories;
    exit when cardinality(deleted) > 0 or aged is not null or place.since is null;
    place.since := null;
  end loop;
  if cardinality(deleted) = 0 and aged is null then
    update glimpse.cleaning set since = null where job = 'stories' and since is not null;
    return 0;
  end if;

  perform from glimpse.story_tallies where story_id = any (deleted || aged) and emoji = '' order by story_id for update;
  delete from glimpse.story_tallies where story_id = any (deleted || aged);
  foreach story in array deleted || aged loop
    viewers := array(
      select viewer_id from glimpse.story_views
       where story_id = story and viewer_id > case when story = place.position then place.viewer else '' end
       order by viewer_id limit most_rows
    );
    users := array(
      select user_id from glimpse.story_reactions
       where story_id = story and user_id > case when story = place.reacted then place.reactor else '' end
       order by user_id limit most_rows
    );
    delete from glimpse.story_views where story_id = story and viewer_id = any (viewers);
    get diagnostics found = row_count;
    removed := removed + found;
    delete from glimpse.story_reactions where story_id = story and user_id = any (users);
    get diagnostics found = row_count;
    removed := removed + found;
    if cardinality(viewers) < most_rows and cardinality(users) < most_rows then
      bare := bare || story;
      -- Nobody's name stays longer than it is of use.
      if story = place.position then
        place.position := null;
        place.viewer := null;
      end if;
      if story = place.reacted then
        place.reacted := null;
        place.reactor := null;
      end if;
    else
      if cardinality(viewers) > 0 then
        place.position := story;
        place.viewer := viewers[cardinality(viewers)];
      end if;
      if cardinality(users) > 0 then
        place.reacted := story;
        place.reactor := users[cardinality(users)];
      end if;
    end if;
    exit when removed >= most_rows;
  end loop;
  delete from glimpse.stories where id = any (bare);
  get diagnostics found = row_count;

  -- The first that is left, where one is.
  update glimpse.cleaning c
     set since = coalesce((select min(expires_at) from unnest(aged, times) as a (id, expires_at) where id <> all (coalesce(bare, '{}'))),
                          times[cardinality(times)], place.since),
         position = place.position, viewer = place.viewer, reacted = place.reacted, reactor = place.reactor
   where job = 'stories';
  return removed + found;
end $$;

revoke execute on function
  glimpse.story_posted_tally, glimpse.story_viewed_tally, glimpse.stories_deleted, glimpse.story_views_changed, glimpse.story_reactions_changed,
  glimpse.change_tallies, glimpse.recount_stories
  from public;

-- By which expired ones are found, and those that a user has open.
create index tickets_expires_at on glimpse.tickets (expires_at);
create index tickets_user on glimpse.tickets (user_id collate "C");

-- Those of the stories whose tally of views, or of an emoji, somebody holds at this moment: an author's own view or a quiet
-- transaction holds no stream. The others are locked, as in held_stories().
create function glimpse.held_tallies(story_ids uuid[], of_views boolean) returns uuid[] language sql as $$
  with free as materialized (
    select story_id, emoji from glimpse.story_tallies
     where story_id = any (story_ids) and (emoji = '') = of_views for no key update skip locked
  )
  select coalesce(array_agg(distinct t.story_id), '{}') from glimpse.story_tallies t
   where t.story_id = any (story_ids) and (t.emoji = '') = of_views
     and not exists (select from free f where f.story_id = t.story_id and f.emoji = t.emoji)
$$;

-- As before (0004), and: a removed story is unknown, not expired.
create or replace function glimpse.record_views(
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
    held := glimpse.held_stories(story_ids) || glimpse.held_tallies(story_ids, true);
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
        left join lateral (
          select * from glimpse.stories where id = i.story_id and expires_at > '-infinity' offset 0
        ) s on true
        left join lateral (
          select xmin, viewed_at from glimpse.story_views where story_id = i.story_id and viewer_id = i.viewer_id offset 0
        ) v on true
    ) as states
   where state is not null;
end $$;

create or replace function glimpse.record_reactions(
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
    held := glimpse.held_stories(story_ids) || glimpse.held_tallies(story_ids, false);
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
        left join lateral (
          select * from glimpse.stories where id = i.story_id and expires_at > '-infinity' offset 0
        ) s on true
        left join lateral (
          select xmin, emoji, reacted_at from glimpse.story_reactions where story_id = i.story_id and user_id = i.user_id offset 0
        ) r on true
    ) as states
   where state is not null;
end $$;

-- How often a story was viewed and with what people reacted is kept, not counted at each read; a deleted story is gone at
-- once, and what belongs to it goes in portions; the cleaner's lock is a row that nobody else can hold.

-- emoji: '' for the views. Only a story that many have viewed or reacted to is tallied: it has a row for its views here, and
-- stories.tallied says so; then every change of its views and reactions changes its tallies in the same transaction. Any other
-- is counted when it is read, which takes as long up to a thousand rows, while a tally is a row more to change for each story
-- that a statement writes to. awaiting: not yet right (null: it is), see glimpse.tally_story(). Half of each page stays free,
-- so that counting is a HOT update that touches no index.
create table glimpse.story_tallies (
  story_id uuid   not null,
  emoji    text   collate "C" not null,
  total    bigint not null,
  awaiting xid[],
  primary key (story_id, emoji)
) with (fillfactor = 50);
alter table glimpse.stories add column tallied boolean not null default false;

-- Triggers of their own, apart from those that make events: whoever switches those off for a backfill is still counted
-- right. They fire in the order of their names, hence after the events. What they lock is locked in one order: stories (as by
-- foreign keys, so that writers don't wait for each other), their authors' streams, then tallies in the order of their keys,
-- the row of the views before those of the emoji. So statements can't deadlock, and on a popular story they already wait for
-- each other at the stream.

-- A view's event and its count are made by one function, because the start and end of a second one and its statements were
-- a tenth of what a lone view costs. The trigger of 0003 became the events' switch: it notes that it has fired; where somebody
-- has switched it off, views are only counted. It runs with the rights of whoever writes, and does nothing else. There is a note
-- for each statement: a trigger of somebody's that fires between the two may write views of its own.
create or replace function glimpse.story_viewed() returns trigger language plpgsql as $$
declare
  noted text;
begin
  noted := pg_catalog.set_config('glimpse.viewed', pg_catalog.concat(pg_catalog.current_setting('glimpse.viewed', true), 'x'), true);
  return null;
end $$;

-- Makes the events as story_viewed() did (0003), unless the transaction is quiet, then counts. Whatever is no look-up by the
-- key is ruled out, because the plans are kept and may be older than a million stories.
--
-- Looking up a view's author locks the story as a foreign key would, which would do both a second time for each view, at a
-- tenth of its cost: the story exists, and is not deleted before the view is committed. Whoever deletes stories by hand under a
-- stricter isolation than READ COMMITTED must not overlook the view either (stories_deleted()). It has changed the author's
-- stream; one that makes no event changes the story's row instead.
create function glimpse.story_viewed_tally() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off
  set plan_cache_mode = force_generic_plan as $$
declare
  notes   text := current_setting('glimpse.viewed', true);
  taken   text;
  loud    boolean;
  unknown boolean;
  untold  uuid[];  -- the stories of views that make no event
  popular uuid[];  -- the tallied story of each view of one
begin
  if tg_relid <> 'glimpse.story_views'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_views alone';
  end if;
  if notes <> '' then
    -- Before anything else: the note is for this statement alone.
    taken := set_config('glimpse.viewed', left(notes, -1), true);
  end if;
  loud := taken is not null and not glimpse.is_quiet();
  select bool_or(author_id is null), array_agg(story_id) filter (where not told), array_agg(story_id) filter (where tallied),
         glimpse.log_events(array_agg(author_id) filter (where told), array_agg(glimpse.event_tail('story.viewed',
           '{"story_id":"' || story_id || '","viewer_id":' || to_json(viewer_id) || ',"viewed_at":"' || at || '"}', at)) filter (where told))
    into unknown, untold, popular
    from (select s.author_id, s.tallied, v.story_id, v.viewer_id, case when loud then glimpse.rfc3339(v.viewed_at) end as at,
                 s.author_id <> v.viewer_id and loud as told
            from inserted v
            left join lateral (
              -- (Were the time compared by >, a plan might read the whole index of times.)
              select author_id, tallied from glimpse.stories
               where id = v.story_id and expires_at is distinct from '-infinity' for key share
            ) s on true
           order by s.author_id, v.viewed_at) as sorted;

  if unknown then
    perform glimpse.refuse_unknown(array(select story_id from inserted));
  end if;
  if glimpse.is_strict() then
    perform glimpse.mark_stories(array(select story_id from inserted));
  elsif untold is not null then
    perform glimpse.mark_stories(untold);
  end if;
  if popular is null then
    return null;
  elsif cardinality(popular) = 1 then
    update glimpse.story_tallies set total = total + 1 where story_id = popular[1] and emoji = '';
  else
    update glimpse.story_tallies t set total = t.total + c.total
      from (
        select story_id, ''::text collate "C" as emoji, count(*) as total
          from unnest(popular) as story_id group by story_id order by story_id offset 0
      ) c
        -- Were the emoji a constant, or the story compared by =, the planner might rather read the whole index once.
     where t.story_id between c.story_id and c.story_id and t.emoji = c.emoji;
  end if;
  return null;
end $$;

-- Whether the transaction sees nothing that was committed since it began.
create function glimpse.is_strict() returns boolean language sql stable
  return current_setting('transaction_isolation') in ('repeatable read', 'serializable');

-- A new version of these stories' rows: a transaction that does not see what was written to them can't delete them, and one that
-- does not see that they are tallied (glimpse.tally_story) can't do this.
create function glimpse.mark_stories(story_ids uuid[]) returns void
  language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform from glimpse.stories where id = any (story_ids) order by id for no key update;
  update glimpse.stories set tallied = tallied where id = any (story_ids);
end $$;

-- The error of a foreign key, where one of these stories does not exist or was removed. The others are locked as by a foreign
-- key. Returns them.
create function glimpse.refuse_unknown(story_ids uuid[]) returns uuid[]
  language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  present uuid[] := array(
    select id from glimpse.stories where id = any (story_ids) and expires_at is distinct from '-infinity' order by id for key share
  );
  missing uuid := (select s from unnest(story_ids) as s where s <> all (present) limit 1);
begin
  if missing is not null then
    raise exception using errcode = 'foreign_key_violation', schema = 'glimpse', table = 'stories',
      message = 'views and reactions violate the foreign key to stories: there is no such story, or it was deleted',
      detail = format('Key (story_id)=(%s) is not present in table "stories".', missing);
  end if;
  return present;
end $$;

create trigger story_viewed_tally after insert on glimpse.story_views
  referencing new table as inserted for each statement execute function glimpse.story_viewed_tally();

-- Views of a deleted story are deleted here, as by a foreign key, and then its tallies: in the order in which whoever deletes
-- views changes both. (A foreign key would delete the tallies first, and have a new emoji's tally wait for the story.) The
-- deletion waits for whoever records views of it, and this trigger sees their views because its statement begins later. Under a
-- stricter isolation it never sees them, and fails. (The stream is not waited for, because its holder may be waiting for the
-- story.) A story that has views keeps its id.
create function glimpse.stories_deleted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  authors text[];
begin
  if tg_relid <> 'glimpse.stories'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.stories alone';
  end if;
  if tg_op = 'DELETE' then
    if glimpse.is_strict() then
      authors := array(select user_id from glimpse.streams where user_id in (select author_id from deleted));
      if cardinality(authors) > cardinality(array(
        select user_id from glimpse.streams where user_id = any (authors) for no key update skip locked
      )) then
        raise exception using errcode = 'serialization_failure',
          message = 'could not serialize access: the author of a deleted story is being notified';
      end if;
    end if;
    delete from glimpse.story_views v using deleted d where v.story_id = d.id;
    delete from glimpse.story_tallies t using deleted d where t.story_id = d.id;
  elsif tg_op = 'UPDATE' then
    if glimpse.is_strict() or exists (select from glimpse.story_views where story_id = old.id) then
      raise exception using errcode = 'foreign_key_violation', schema = 'glimpse', table = 'stories',
        message = 'the id of a story that has views can''t be changed',
        detail = format('Key (id)=(%s) is referenced from table "story_views".', old.id);
    end if;
    delete from glimpse.story_tallies where story_id = old.id;
  else
    -- A table that the same TRUNCATE has emptied can't be truncated again before it ends. What a stricter transaction does not
    -- see is in the table nevertheless.
    if pg_relation_size('glimpse.story_views') > 0 then
      truncate glimpse.story_views;
    end if;
    if pg_relation_size('glimpse.story_tallies') > 0 then
      truncate glimpse.story_tallies;
    end if;
  end if;
  return null;
end $$;

create trigger stories_deleted after delete on glimpse.stories
  referencing old table as deleted for each statement execute function glimpse.stories_deleted();
create trigger stories_renamed after update of id on glimpse.stories
  for each row when (old.id <> new.id) execute function glimpse.stories_deleted();
create trigger stories_truncated after truncate on glimpse.stories
  for each statement execute function glimpse.stories_deleted();
alter table glimpse.story_views drop constraint story_views_story_id_fkey;

-- A TRUNCATE empties even what its transaction does not see. Under a stricter isolation it does not see all tallies either, so
-- they go, and what is left is counted when it is read. Returns whether they went. (Its size is asked because a table that the
-- same TRUNCATE has emptied can't be truncated again.)
create function glimpse.forgot_tallies() returns boolean language plpgsql as $$
begin
  if not glimpse.is_strict() then
    return false;
  end if;
  if pg_catalog.pg_relation_size('glimpse.story_tallies') > 0 then
    truncate glimpse.story_tallies;
  end if;
  return true;
end $$;

-- Views that are removed, or moved to another story.
create function glimpse.story_views_changed() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_relid <> 'glimpse.story_views'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.story_views alone';
  end if;
  if tg_op = 'TRUNCATE' then
    if not glimpse.forgot_tallies() then
      update glimpse.story_tallies set total = 0 where emoji = '' and total <> 0;
    end if;
  elsif tg_op = 'DELETE' then
    perform glimpse.change_tallies(array_agg(story_id), array_agg(''::text), array_agg(-total), false)
      from (select story_id, count(*) as total from deleted group by story_id order by story_id) changes;
  else
    perform glimpse.mark_stories(array_agg(story_id)),
            glimpse.change_tallies(array_agg(story_id), array_agg(''::text), array_agg(total), true)
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
    if not glimpse.forgot_tallies() then
      delete from glimpse.story_tallies where emoji <> '';
    end if;
  elsif tg_op = 'INSERT' then
    perform glimpse.change_tallies(array_agg(story_id), array_agg(emoji), array_agg(total), true)
      from (select story_id, emoji collate "C" as emoji, count(*) as total from inserted group by 1, 2 order by 1, 2) changes;
  elsif tg_op = 'DELETE' then
    perform glimpse.change_tallies(array_agg(story_id), array_agg(emoji), array_agg(-total), false)
      from (select story_id, emoji collate "C" as emoji, count(*) as total from deleted group by 1, 2 order by 1, 2) changes;
  else
    perform glimpse.change_tallies(array_agg(story_id), array_agg(emoji), array_agg(total), bool_or(more))
      from (select story_id, emoji collate "C" as emoji, sum(n) as total, sum(sum(n)) over (partition by story_id) > 0 as more
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

-- Adds changes[i] to the tally of emojis[i] of story_ids[i], of stories that are tallied, and locks all of them as a foreign key
-- would. The arrays are sorted by story and emoji, and have each once. adding: of a story that does not exist or was removed
-- nothing can be recorded. Whoever adds nothing holds rows that a deletion of their stories waits for, and must not wait for it.
create function glimpse.change_tallies(story_ids uuid[], emojis text[], changes bigint[], adding boolean) returns void
  language plpgsql set plan_cache_mode = force_generic_plan
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
  popular uuid[];
begin
  if story_ids is null then
    return;
  end if;
  if glimpse.is_strict() then
    perform glimpse.mark_stories(story_ids);
  end if;
  if adding then
    popular := glimpse.refuse_unknown(story_ids);
  else
    perform from glimpse.stories where id = any (story_ids) order by id for key share skip locked;
    popular := story_ids;
  end if;
  -- Held, so that a tally is not removed between.
  popular := array(
    select t.story_id from glimpse.story_tallies t where t.story_id = any (popular) and t.emoji = '' order by t.story_id for key share
  );
  if cardinality(popular) = 0 then
    return;
  end if;
  insert into glimpse.story_tallies as t (story_id, emoji, total)
  select c.story_id, c.emoji, c.change
    from unnest(story_ids, emojis, changes) with ordinality as c (story_id, emoji, change, nth)
   where c.story_id = any (popular) order by c.nth
  on conflict (story_id, emoji) do update set total = t.total + excluded.total;
  delete from glimpse.story_tallies t
   using unnest(story_ids, emojis, changes) as c (story_id, emoji, change)
   where c.change < 0 and c.emoji <> '' and t.story_id = c.story_id and t.emoji = c.emoji and t.total = 0
     and c.story_id = any (popular);
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

-- Goes on with tallying a story; returns whether it is tallied. Nobody who writes to it waits, however many its rows are. First
-- the story gets a tally of nothing. From then on each writer changes the tally, apart from those who were already writing;
-- when these have ended, what the tally lacks is the same at each moment: the rows less the tally. That is added.
--
-- awaiting: nobody at first; then, noted when the tally had been committed, the transactions that were writing views or
-- reactions. They are asked of pg_locks, because a snapshot does not list those that began after the last one that has ended.
--
-- A writer of a stricter isolation whose snapshot is older than the tally fails (mark_stories).
create function glimpse.tally_story(story uuid) returns boolean language plpgsql
  set search_path = pg_catalog, pg_temp
  -- Shorter than deadlock_timeout: who waits for it here is not failed.
  set lock_timeout = '500ms'
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
  made    constant text := coalesce(current_setting('glimpse.tallies_made', true), '');
  tally   glimpse.story_tallies;
  writing xid[];
  emojis  text[];
  lacking bigint[];
begin
  -- One snapshot for all would be older than the lock.
  if glimpse.is_strict() then
    raise exception using errcode = 'invalid_transaction_state', message = 'glimpse.tally_story() needs READ COMMITTED';
  end if;
  -- Whoever locks both tables locks the stories first: recount_stories() would deadlock with this.
  perform from glimpse.stories where false for key share;
  -- Held, so that what is counted for it is not added to another one. The story is not locked meanwhile: its author's own views
  -- would wait.
  select * into tally from glimpse.story_tallies where story_id = story and emoji = '' for key share skip locked;
  if tally.awaiting is not null then
    writing := array(
      with locks as materialized (select * from pg_locks)
      select transactionid from locks
       where locktype = 'transactionid' and mode = 'ExclusiveLock' and pid is distinct from pg_backend_pid()
         and case when tally.awaiting <> '{}' then transactionid = any (tally.awaiting) else virtualtransaction in (
           select virtualtransaction from locks
            where relation in ('glimpse.story_views'::regclass, 'glimpse.story_reactions'::regclass) and mode <> 'AccessShareLock'
              and database = (select oid from pg_database where datname = current_database())
         ) end
    );
    if writing = '{}' then
      select array_agg(emoji order by emoji collate "C"), array_agg(total order by emoji collate "C") into emojis, lacking
        from (
          select emoji, sum(total) as total
            from (
              select '' as emoji, count(*) as total from glimpse.story_views where story_id = story
              union all
              select emoji collate "C", count(*) from glimpse.story_reactions where story_id = story group by emoji
              union all
              select emoji, -total from glimpse.story_tallies where story_id = story
            ) parts
           group by emoji
        ) lack;
    end if;
  elsif tally.story_id is not null then
    return true;
  end if;

  -- Keeps others from tallying it, and nobody from writing.
  perform from glimpse.stories where id = story and expires_at > now() for no key update skip locked;
  if not found then
    return false;
  end if;
  if tally.story_id is null then
    if exists (select from glimpse.story_tallies where story_id = story and emoji = '') then
      return false;
    end if;
    delete from glimpse.story_tallies where story_id = story;
    insert into glimpse.story_tallies (story_id, emoji, total, awaiting) values (story, '', 0, '{}');
    update glimpse.stories set tallied = true where id = story;
    -- Until this is committed nobody else sees the tally, so who is writing can't be noted.
    perform set_config('glimpse.tallies_made', made || story, true);
    return false;
  end if;
  select * into tally from glimpse.story_tallies where story_id = story and emoji = '';
  if tally.awaiting is null then
    return true;
  elsif position(story::text in made) > 0 then
    return false;
  end if;
  begin
    if writing <> '{}' then
      if tally.awaiting = '{}' then
        update glimpse.story_tallies set awaiting = writing where story_id = story and emoji = '';
      end if;
      return false;
    end if;
    perform from glimpse.story_tallies where story_id = story and emoji = '' for no key update;
    -- Whoever views it waits from here on, and not for somebody who holds an emoji's tally for long.
    perform set_config('lock_timeout', '20ms', true);
    insert into glimpse.story_tallies as t (story_id, emoji, total)
    select story, emoji, lack from unnest(emojis, lacking) with ordinality as l (emoji, lack, nth) order by nth
    on conflict (story_id, emoji) do update set total = t.total + excluded.total, awaiting = null;
  exception when lock_not_available then
    return false;
  end;
  delete from glimpse.story_tallies where story_id = story and emoji <> '' and total = 0;
  return true;
end $$;

-- Goes on with tallying those of the next stories that have a thousand views or reactions and are not tallied: those of 0.1, or
-- after glimpse.recount_stories(). At most 200 stories, or some 10,000 rows; one that has more goes alone. Those that are not
-- tallied then are left for another turn.
--
-- Returns how many stories it looked at; 0 where there is nothing to do, or another session is at it.
create function glimpse.tally_stories() returns integer language plpgsql
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
  start  uuid;
  looked uuid[];
  wanted uuid[];
  left_out boolean;
begin
  select position into start from glimpse.cleaning where job = 'tallies' and position is not null for update skip locked;
  if start is null then
    return 0;
  end if;
  select array_agg(id order by id), array_agg(id order by id) filter (where size >= 1000) into looked, wanted
    from (
      select id, size, sum(size) over (order by id rows between unbounded preceding and 1 preceding) as before
        from (
          select s.id,
                 case when s.expires_at > now()
                       and not exists (select from glimpse.story_tallies t where t.story_id = s.id and t.emoji = '' and t.awaiting is null)
                   then (select count(*) from (select from glimpse.story_views v where v.story_id = s.id limit 10000) v)
                      + (select count(*) from (select from glimpse.story_reactions r where r.story_id = s.id limit 10000) r)
                 else 0 end as size
            from (select id, expires_at from glimpse.stories where id > start order by id limit 200) s
        ) sized
    ) stories
   where coalesce(before, 0) < 10000;
  if looked is null then
    update glimpse.cleaning
       set position = case when again then '00000000-0000-0000-0000-000000000000'::uuid end, again = false
     where job = 'tallies';
    return 0;
  end if;
  select bool_or(not glimpse.tally_story(story)) into left_out from unnest(wanted) as story;
  update glimpse.cleaning
     set position = looked[cardinality(looked)], again = again or coalesce(left_out, false)
   where job = 'tallies';
  return cardinality(looked);
end $$;

-- After somebody wrote views or reactions while the triggers were switched off: all stories are counted anew when they are
-- read, and tallied again in the background. Nobody may write meanwhile.
create function glimpse.recount_stories() returns void language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  update glimpse.cleaning set position = '00000000-0000-0000-0000-000000000000', again = false where job = 'tallies';
  lock table glimpse.stories in exclusive mode;
  update glimpse.stories set tallied = false where id in (select story_id from glimpse.story_tallies) and tallied;
  truncate glimpse.story_tallies;
end $$;

-- Removes a portion of the stories that were deleted, or expired more than so many hours ago, after their views and reactions:
-- a cascade over a popular story's million views would be one long statement. Their tallies go first, so that removing the
-- rest locks no author's stream. It goes on where the last portion ended, and where nothing is left from there, once from the
-- start: for what was locked before, and what expired late, and views that somebody added behind the place.
--
-- Returns how many rows went, of all three tables; 0 where nothing was left, or another session is at it.
--
-- jit is off because Postgres before 18 takes a plan that is ruled out, and has no alternative, for so dear that it compiles
-- the statement, for tens of milliseconds.
create function glimpse.remove_stories(hours integer, most_stories integer, most_rows integer) returns integer language plpgsql
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off
  set enable_material = off set plan_cache_mode = force_generic_plan set jit = off as $$
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
      select id from glimpse.stories where expires_at = '-infinity' limit most_stories for update skip locked
    );
    select array_agg(id), array_agg(expires_at) into aged, times
      from (
        select id, expires_at from glimpse.stories
         where expires_at > '-infinity' and expires_at >= coalesce(place.since, '-infinity')
           and expires_at < now() - make_interval(hours => hours)
         order by expires_at limit most_stories for update skip locked
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
  update glimpse.stories set tallied = false where id = any (aged) and tallied;
  foreach story in array deleted || aged loop
    viewers := array(
      select viewer_id from glimpse.story_views
       where story_id = story and viewer_id > case when story = place.position then place.viewer else '' end
       order by viewer_id limit most_rows for update skip locked
    );
    users := array(
      select user_id from glimpse.story_reactions
       where story_id = story and user_id > case when story = place.reacted then place.reactor else '' end
       order by user_id limit most_rows for update skip locked
    );
    delete from glimpse.story_views where story_id = story and viewer_id = any (viewers);
    get diagnostics found = row_count;
    removed := removed + found;
    delete from glimpse.story_reactions where story_id = story and user_id = any (users);
    get diagnostics found = row_count;
    removed := removed + found;
    if cardinality(viewers) < most_rows and cardinality(users) < most_rows then
      -- Whoever holds one of its rows may be waiting for the story: it is left for another turn.
      if not exists (select from glimpse.story_views where story_id = story)
         and not exists (select from glimpse.story_reactions where story_id = story) then
        bare := bare || story;
      end if;
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
  glimpse.story_viewed_tally, glimpse.stories_deleted, glimpse.story_views_changed, glimpse.story_reactions_changed,
  glimpse.mark_stories, glimpse.refuse_unknown, glimpse.change_tallies, glimpse.tally_story, glimpse.recount_stories,
  glimpse.forgot_tallies
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

-- Those of the stories that their own authors view here, which has to change the story's row, while somebody holds it.
create function glimpse.held_marks(story_ids uuid[], viewer_ids text[]) returns uuid[] language sql as $$
  with own as materialized (
    select s.id from unnest(story_ids, viewer_ids) as i (story_id, viewer_id)
      join glimpse.stories s on s.id = i.story_id and s.author_id = i.viewer_id
  ),
  free as materialized (
    select id from glimpse.stories where id in (select id from own) for no key update skip locked
  )
  select coalesce(array_agg(id), '{}') from own where id not in (select id from free)
$$;

-- As before (0004), and: a removed story is unknown, not expired. What set_config() returns is assigned, because PERFORM would
-- run a statement for it.
create or replace function glimpse.record_views(
  story_ids uuid[], viewer_ids text[], lock_timeout_ms integer, pass_held boolean, traceparent text,
  out recorded_at text, out others json
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  patience constant text := current_setting('lock_timeout');
  held     uuid[] := '{}';
  recorded bigint;
begin
  recorded_at := set_config('lock_timeout', lock_timeout_ms::text, true);
  if traceparent is not null then
    perform set_config('glimpse.traceparent', traceparent, true);
  end if;
  if pass_held then
    held := glimpse.held_stories(story_ids) || glimpse.held_tallies(story_ids, true) || glimpse.held_marks(story_ids, viewer_ids);
  end if;

  insert into glimpse.story_views (story_id, viewer_id)
  select i.story_id, i.viewer_id
    from unnest(story_ids, viewer_ids) as i (story_id, viewer_id)
   where i.story_id <> all (held)
     and (select expires_at > now() from glimpse.stories where id = i.story_id)
   order by i.story_id, i.viewer_id collate "C"
  on conflict do nothing;

  get diagnostics recorded = row_count;
  recorded_at := set_config('lock_timeout', patience, true);
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
  recorded_at := set_config('lock_timeout', lock_timeout_ms::text, true);
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
  recorded_at := set_config('lock_timeout', patience, true);
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

-- Glimpse from SQL: what a backend asks of streams and users without HTTP. For the schema's owner, and for whom it grants
-- the functions to (docs/sql.md). They run with the owner's rights, so that a backend needs none on the tables.

-- A page of a user's stream, the very text that the poll answers with (GET /events?after=…&limit=…): after what a client
-- resumes, '0' for all that is kept, null for the end. The rules are those of src/hub/resume.ts and src/hub/continuation.ts,
-- and test/store/sql-page.test.ts compares the two. One snapshot, because the function is stable.
create function glimpse.page("user" text, after text, max integer default 100) returns json
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  max_bytes  constant integer := 1048576;
  id_bytes   constant integer := 64;
  max_resets constant integer := 8;
  epoch      constant text := glimpse.epoch();
  asked      constant text[] := regexp_match(after, '^([0-9a-z]{1,32})\.(0|[1-9][0-9]{0,15})(?:\.([0-9a-z]{1,16}))?$');
  s          glimpse.streams;
  head       bigint;
  head_time  bigint;
  edge       bigint;
  edge_time  bigint;
  read       bigint;
  read_time  bigint;
  place      bigint;      -- where the reader stands, and when the event there was logged; null where that is not known
  place_time bigint;
  reset      text;
  reason     text;
  seqs       bigint[];
  times      bigint[];
  bodies     text[];
  complete   boolean;
  known      bigint;
  nth        integer;
  texts      text[] := '{}';
  cursor     text;
begin
  if glimpse.is_user_id("user") is not true then
    raise exception using errcode = 'invalid_parameter_value',
      message = 'glimpse.page: user must have 1 to 255 characters, none of them a control character';
  end if;
  if max between 1 and 1000 is not true then
    raise exception using errcode = 'invalid_parameter_value', message = 'glimpse.page: max must be from 1 to 1000';
  end if;

  -- What is not possible was done by hand; it is read as the nearest that is.
  select * into s from glimpse.streams where user_id = "user";
  head := greatest(coalesce(s.head, 0), 0);
  head_time := case when head = 0 then 0 when s.head_at is null then glimpse.logged_at(s, head) else glimpse.microseconds(s.head_at) end;
  edge := least(greatest(coalesce(s.oldest, 1), 1), head + 1) - 1;
  edge_time := case when edge = 0 then 0 when s.oldest <= head + 1 then glimpse.microseconds(s.trimmed_at) end;
  read := least(greatest(coalesce(s.read, 0), 0), head);
  read_time := case when read = 0 then 0
                    when read = head then head_time
                    when read = s.read_at_seq then glimpse.microseconds(s.read_at) end;

  place := head;
  place_time := head_time;
  if after = '0' then
    place := edge;
    place_time := edge_time;
  elsif after <> '' and (asked is null or asked[2]::bigint > 9007199254740991) then
    reset := 'invalid';
  elsif after <> '' then
    if asked[1] <> epoch then
      reset := 'epoch';
    elsif asked[2]::bigint > head then
      reset := 'ahead';
    elsif asked[2]::bigint < edge then
      reset := 'trimmed';
      place := edge;
      place_time := edge_time;
    else
      known := case asked[2]::bigint when head then head_time when edge then edge_time
                 else (select glimpse.microseconds(logged_at) from glimpse.events where user_id = "user" and seq = asked[2]::bigint) end;
      -- A cursor of 0.1 proves nothing and is believed; so is one whose event 0.1 trimmed without noting its time.
      if asked[3] is not null and known is not null and asked[3] <> to_hex(glimpse.cursor_check("user", known)) then
        reset := 'epoch';
      else
        place := asked[2]::bigint;
        place_time := known;
        if asked[3] is not null and known is null and place > edge and place < head then
          reset := 'gap';
        end if;
      end if;
    end if;
  end if;

  for turn in 1 .. max_resets loop
    exit when place >= head;
    select array_agg(e.seq order by e.seq) filter (where fits), array_agg(glimpse.microseconds(logged_at) order by e.seq) filter (where fits),
           array_agg(replace(body, E'\n', ' ') order by e.seq) filter (where fits),
           count(*) <= max and coalesce(bool_and(fits), true)
      into seqs, times, bodies, complete
      from (
        select e.seq, logged_at, body,
               e.seq <= place or count(*) filter (where e.seq > place) over before = 1
                 or sum(octet_length(body) + id_bytes) filter (where e.seq > place) over before <= max_bytes as fits
          from (
            select e.seq, logged_at, body from glimpse.events e
             where user_id = "user" and e.seq >= place order by e.seq limit max + 1
          ) e
        window before as (order by e.seq rows unbounded preceding)
      ) e;

    nth := 1;
    known := case place when edge then edge_time end;
    if seqs[1] = place then
      known := times[1];
      nth := 2;
    end if;
    -- Not exactly: from where can it go on?
    reason := 'gap';
    if known is distinct from place_time and known is not null and place_time is not null then
      reason := 'epoch';
      place := head;
      place_time := head_time;
    elsif seqs[nth] is null and not complete then
      exit;
    elsif seqs[nth] is null or seqs[nth] > head then
      place := head;
      place_time := head_time;
    elsif seqs[nth] <> place + 1 or (place_time is not null and known is null and place <> edge) then
      place := seqs[nth] - 1;
      place_time := null;
    else
      while cardinality(texts) < max and seqs[nth] = place + 1 and seqs[nth] <= head
            -- One pattern for all: Postgres compiles each anew.
            and starts_with(bodies[nth], '{"seq":' || seqs[nth] || ',')
            and bodies[nth] ~ '^\{"seq":[1-9][0-9]{0,15},"type":"(?!stream\.)[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*","data":[^\n\r]*\}$' loop
        cursor := epoch || '.' || seqs[nth] || '.' || to_hex(glimpse.cursor_check("user", times[nth]));
        texts := texts || ('{"id":"' || cursor || '",' || substr(bodies[nth], 2));
        place := seqs[nth];
        place_time := times[nth];
        nth := nth + 1;
      end loop;
      exit when cardinality(texts) > 0;
      place := seqs[nth];
      place_time := times[nth];
    end if;
    reset := coalesce(reset, reason);
  end loop;

  return '{"events":[' || array_to_string(texts, ',') || '],"cursor":"'
    || coalesce(cursor, concat_ws('.', epoch, place, to_hex(glimpse.cursor_check("user", place_time))))
    || '","has_more":' || case when head > place then 'true' else 'false' end
    || ',"reset":' || coalesce('{"reason":"' || reset || '","oldest":' || edge + 1 || '}', 'null')
    || ',"read":"' || concat_ws('.', epoch, read, to_hex(glimpse.cursor_check("user", read_time)))
    || '","unread":' || head - greatest(read, edge) || '}';
end $$;

-- Instances that were not seen for six seconds are dead (LEASE_SECONDS in src/store/connections.ts), and their connections
-- with them.
create function glimpse.live_instances() returns setof text language sql stable
  set search_path = pg_catalog, pg_temp
begin atomic
  select instance from glimpse.instances where seen_at > clock_timestamp() - interval '6 seconds';
end;

-- Has all connections of a user ended, on all instances, with the reason closed; their clients don't come back by
-- themselves. It happens once the transaction is committed. Returns how many there were that nobody had asked to end before.
create function glimpse.disconnect("user" text) returns integer language plpgsql
  security definer set search_path = pg_catalog, pg_temp as $$
declare
  ended     integer;
  instances text[];
begin
  -- In one order, so that two calls can't deadlock.
  with mine as materialized (
    select id from glimpse.connections
     where user_id = "user" and closing is null and instance in (select glimpse.live_instances()) order by id for update
  ),
  marked as (
    update glimpse.connections c set closing = 'closed' from mine where c.id = mine.id returning c.instance
  )
  select count(*), array_agg(distinct instance) into ended, instances from marked;
  -- Only a hint: with the queue half full nothing is sent, as for events, and each instance looks by itself every two seconds.
  if ended > 0 and pg_notification_queue_usage() < 0.5 then
    perform pg_notify(channel, E'\tclose\t' || instance) from glimpse.history, unnest(instances) as instance;
  end if;
  return ended;
end $$;

-- Those of the users who have a connection now, on whichever instance.
create function glimpse.online(users text[]) returns setof text language sql stable
  security definer set search_path = pg_catalog, pg_temp
begin atomic
  select u from unnest(users) as u
   where exists (select from glimpse.connections where user_id = u and closing is null and instance in (select glimpse.live_instances()));
end;

-- An event's body in which these fields of its data are null wherever they hold the user; else as it was, byte for byte.
create function glimpse.without_user(body text, seq bigint, "user" text, fields text[]) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  event json;
  data  text;
begin
  event := body;
  if json_typeof(event -> 'data') <> 'object'
     or not exists (select from json_each_text(event -> 'data') where key = any (fields) and value = "user") then
    return body;
  end if;
  select '{' || string_agg(to_json(key) || ':' || case when key = any (fields) and value #>> '{}' = "user" then 'null' else value::text end, ',') || '}'
    into data from json_each(event -> 'data');
  return '{"seq":' || seq || glimpse.event_tail(event ->> 'type', data, event ->> 'timestamp');
exception when untranslatable_character or invalid_text_representation then
  return body;  -- not JSON, or with a \u0000 that text can't have: nothing that Glimpse writes
end $$;

-- One portion of glimpse.forget(): looks at so many rows after the position, and erases what names the user. step is null
-- once nothing is left to look at. Positions are keys, because no index leads from a viewer to the views: one would cost
-- every view its share. Only look-ups by key are allowed: a plan that sorts a table would do so for each portion. jit is off
-- because Postgres before 18 takes a plan that is ruled out, and has no alternative, for so dear that it compiles the
-- statement, for tens of milliseconds.
create function glimpse.forget_portion(
  "user" text, fields text[], portion integer, inout step text, inout place text[], inout erased bigint
) language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  nobody constant uuid := '00000000-0000-0000-0000-000000000000';
  found_rows bigint;
  story uuid := case when step in ('views', 'reactions', 'stories') then coalesce(place[1]::uuid, nobody) end;
  last_story uuid;
  last_user text;
  last_seq bigint;
begin
  case step
  when 'begin' then
    perform glimpse.disconnect("user");
    delete from glimpse.tickets where user_id = "user";
    -- Nobody moves queued events meanwhile. A tail becomes a body by the number in front of it.
    perform from glimpse.queue_state for update;
    delete from glimpse.queue where user_id = "user";
    get diagnostics found_rows = row_count;
    erased := erased + found_rows;
    update glimpse.queue q set tail = changed.tail
      from (select id, substr(glimpse.without_user('{"seq":1' || tail, 1, "user", fields), 9) as tail from glimpse.queue
             where strpos(tail, to_json("user")::text) > 0 or strpos(tail, '\') > 0) changed
     where q.id = changed.id and q.tail <> changed.tail;
    get diagnostics found_rows = row_count;
    erased := erased + found_rows;
    step := 'views';
    place := null;
    return;
  when 'views' then
    -- Those of the user, and those of the user's stories, which go before the stories so that no deletion is large.
    select story_id, viewer_id into last_story, last_user
      from (select story_id, viewer_id from glimpse.story_views
             where (story_id, viewer_id) > (story, coalesce(place[2], '')) order by story_id, viewer_id limit portion) looked
     order by story_id desc, viewer_id desc limit 1;
    delete from glimpse.story_views v
     where (story_id, viewer_id) > (story, coalesce(place[2], '')) and (story_id, viewer_id) <= (last_story, last_user)
       and (viewer_id = "user" or (select author_id from glimpse.stories where id = v.story_id) = "user");
  when 'reactions' then
    select story_id, user_id into last_story, last_user
      from (select story_id, user_id from glimpse.story_reactions
             where (story_id, user_id) > (story, coalesce(place[2], '')) order by story_id, user_id limit portion) looked
     order by story_id desc, user_id desc limit 1;
    delete from glimpse.story_reactions r
     where (story_id, user_id) > (story, coalesce(place[2], '')) and (story_id, user_id) <= (last_story, last_user)
       and (user_id = "user" or (select author_id from glimpse.stories where id = r.story_id) = "user");
  when 'stories' then
    select id into last_story
      from (select id from glimpse.stories where id > story order by id limit portion) looked order by id desc limit 1;
    delete from glimpse.stories where id > story and id <= last_story and author_id = "user";
  when 'events' then
    -- In place: numbers and times stay, and with them every cursor.
    select user_id, seq into last_user, last_seq
      from (select user_id, seq from glimpse.events
             where (user_id, seq) > (coalesce(place[1], ''), coalesce(place[2], '0')::bigint) order by user_id, seq limit portion) looked
     order by user_id desc, seq desc limit 1;
    update glimpse.events e set body = changed.body
      from (select user_id, seq, glimpse.without_user(body, seq, "user", fields) as body from glimpse.events
             where (user_id, seq) > (coalesce(place[1], ''), coalesce(place[2], '0')::bigint) and (user_id, seq) <= (last_user, last_seq)
               and user_id <> "user"
               -- JSON may write a character in another way, but not without a backslash.
               and (strpos(body, to_json("user")::text) > 0 or strpos(body, '\') > 0)
             order by user_id, seq for no key update) changed
     where e.user_id = changed.user_id and e.seq = changed.seq and e.body <> changed.body;
  when 'stream' then
    -- The cleaner may have come as far as this user, whose rows are gone by now.
    update glimpse.cleaning
       set viewer = nullif(viewer, "user"), position = case when viewer <> "user" then position end,
           reactor = nullif(reactor, "user"), reacted = case when reactor <> "user" then reacted end
     where viewer = "user" or reactor = "user";
    -- Its own events, by its key; the stream itself with the last of them.
    delete from glimpse.events
     where user_id = "user" and seq <= (select max(seq) from (select seq from glimpse.events where user_id = "user" order by seq limit portion) oldest);
    get diagnostics found_rows = row_count;
    erased := erased + found_rows;
    if found_rows < portion then
      delete from glimpse.stories where id = nobody and author_id = "user";
      delete from glimpse.streams where user_id = "user";
      delete from glimpse.tickets where user_id = "user";
      delete from glimpse.connections where user_id = "user" and instance not in (select glimpse.live_instances());
      step := null;
    end if;
    return;
  else
    raise exception using errcode = 'invalid_parameter_value', message = format('glimpse.forget_portion: there is no step %L', step);
  end case;

  get diagnostics found_rows = row_count;
  erased := erased + found_rows;
  place := case when step = 'events' then array[last_user, last_seq::text] else array[last_story::text, last_user] end;
  if coalesce(last_story::text, last_user) is null then
    step := case step when 'views' then 'reactions' when 'reactions' then 'stories' when 'stories' then 'events' else 'stream' end;
    place := null;
  end if;
end $$;

-- Erases what names a user: stories, views, reactions, the stream with its read mark, tickets; and in the events of others
-- these fields of data become null. It commits after each portion, so it can't be called within a transaction, and whoever
-- reads or writes meanwhile waits for one portion at most. It looks at every row once. Where it was interrupted, call it
-- again. Whatever the user writes while it runs may stay: take the user's tokens away first. Returns how many rows it changed.
create procedure glimpse.forget(
  "user" text, fields text[] default '{viewer_id,user_id,author_id}', portion integer default 2000, inout erased bigint default 0
) language plpgsql as $$
declare
  step  text := 'begin';
  place text[];
begin
  if glimpse.is_user_id("user") is not true then
    raise exception using errcode = 'invalid_parameter_value',
      message = 'glimpse.forget: user must have 1 to 255 characters, none of them a control character';
  end if;
  if portion between 1 and 1000000 is not true then
    raise exception using errcode = 'invalid_parameter_value', message = 'glimpse.forget: portion must be from 1 to 1000000';
  end if;
  erased := 0;
  while step is not null loop
    select p.step, p.place, p.erased into step, place, erased
      from glimpse.forget_portion("user", fields, portion, step, place, erased) p;
    commit;
  end loop;
end $$;

revoke execute on routine glimpse.page, glimpse.disconnect, glimpse.online, glimpse.live_instances, glimpse.without_user,
  glimpse.forget_portion, glimpse.forget from public;

-- Events that are committed and not yet in the log. A writer only adds rows, so it waits for nobody and nobody for it; the
-- service moves them into the log within milliseconds (glimpse.move_queue).
create table glimpse.queue (
  id      bigint generated always as identity primary key,
  user_id glimpse.user_id not null,
  tail    text not null
);
-- One row. Who moves events holds it. idle: nothing was moved for a second, so whoever enqueues wakes the service. Nobody
-- does so otherwise: a transaction that notifies holds a lock of the whole cluster while it commits, so that all of them
-- would commit one after the other.
create table glimpse.queue_state (
  singleton boolean     primary key default true check (singleton),
  idle      boolean     not null default true,
  moved_at  timestamptz not null default '-infinity'
);
revoke all on glimpse.queue, glimpse.queue_state from public;
insert into glimpse.queue_state default values;

-- As glimpse.append(), but the events get their numbers shortly after the commit, by the service. The transaction locks
-- nobody's stream: it waits for no other, can't deadlock with one here, and fails by no 40001 under a strict isolation.
create function glimpse.enqueue(variadic new_events glimpse.new_event[]) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  users text[];
  tails text[];
begin
  select c.users, c.tails into users, tails from glimpse.checked_events('glimpse.enqueue', new_events) c;
  insert into glimpse.queue (user_id, tail) select e.* from unnest(users, tails) as e;
  -- Only a hint: with the queue of notifications half full nothing is sent, as for events, and each instance looks by itself.
  if found and (select idle from glimpse.queue_state) and pg_notification_queue_usage() < 0.5 then
    perform pg_notify(channel, E'\tqueue') from glimpse.history where singleton;
  end if;
end $$;

-- Moves up to so many events from the queue into the log, the oldest first, but those of the users in passed. One session
-- at a time works at it, so that a user's events keep their order. A stream that somebody holds is not waited for: its user
-- is in held, with those whose events can't be logged; fault has the SQLSTATE of such a failure that isn't a lock. moved is
-- null where another session is at it; nothing is left where it is 0 and held is empty. idle: whoever enqueues next wakes
-- the service; until then it has to look by itself.
create function glimpse.move_queue(
  passed text[], portion integer, out moved integer, out held text[], out fault text, out idle boolean
) language plpgsql security definer set search_path = pg_catalog, pg_temp
  set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
  patience constant text := current_setting('lock_timeout');
  state    glimpse.queue_state;
  ids      bigint[];
  named    text[];
  one      text;
  failures integer := 0;
begin
  held := '{}';
  -- By keys alone: the scan of a table, which is forbidden here, seems so dear to Postgres before 18 that it compiles each of
  -- these statements (jit), for 30 ms a second in an idle service.
  select * into state from glimpse.queue_state where singleton;
  idle := state.idle;
  -- Locking a row is a write, and this is asked many times a second.
  if (select id from glimpse.queue where user_id <> all (passed) order by id limit 1) is null
     and (idle or state.moved_at > clock_timestamp() - interval '1 second') then
    moved := 0;
    return;
  end if;
  select * into state from glimpse.queue_state where singleton for update skip locked;
  if not found then
    return;
  end if;
  moved := 0;
  select array_agg(id), array_agg(distinct user_id) into ids, named
    from (select id, user_id from glimpse.queue where user_id <> all (passed) order by id limit portion) oldest;
  if ids is null then
    idle := state.moved_at < clock_timestamp() - interval '1 second';
    if idle and not state.idle then
      update glimpse.queue_state q set idle = true where singleton;
    end if;
    return;
  end if;
  idle := false;
  if state.idle or state.moved_at < clock_timestamp() - interval '0.2 seconds' then
    update glimpse.queue_state q set idle = false, moved_at = clock_timestamp() where singleton;
  end if;
  held := array(
    select user_id from glimpse.streams where user_id = any (named)
    except
    select user_id from (
      select user_id from glimpse.streams where user_id = any (named) order by user_id for no key update skip locked
    ) free
  );
  -- Somebody may be making a stream that is not there yet.
  perform set_config('lock_timeout', '50ms', true);
  begin
    moved := glimpse.log_queued(ids, held);
  exception when others then
    -- One user's trouble is nobody else's. The rest is for another call, because each may have waited for its lock.
    foreach one in array named loop
      continue when one = any (held);
      begin
        moved := moved + glimpse.log_queued(ids, array_remove(named, one));
      exception when others then
        held := held || one;
        failures := failures + 1;
        if sqlstate <> '55P03' then
          fault := sqlstate;
        end if;
      end;
      exit when failures = 5;
    end loop;
  end;
  perform set_config('lock_timeout', patience, true);
end $$;

-- Logs those of these queued events that belong to none of the users in but.
create function glimpse.log_queued(ids bigint[], but text[]) returns integer language plpgsql
  set search_path = pg_catalog, pg_temp as $$
declare
  users text[];
  tails text[];
begin
  with taken as (
    delete from glimpse.queue where id = any (ids) and user_id <> all (but) returning id, user_id, tail
  )
  select array_agg(user_id), array_agg(tail) into users, tails
    from (select user_id, tail from taken order by user_id, id) sorted;
  perform glimpse.log_events(users, tails);
  return coalesce(cardinality(users), 0);
end $$;

revoke execute on function glimpse.enqueue, glimpse.move_queue, glimpse.log_queued from public;

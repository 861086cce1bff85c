-- A cursor proves its history, the channel is private, and whatever is done to the log, no number is given twice.

-- One row. salt: random once an operator has begun a new history, part of the epoch from then on; null before, so that
-- the cursors of 0.1 still name this history. channel: what events are notified on. Its name is a secret, because any
-- role that can connect may LISTEN to and NOTIFY every channel whose name it knows; only the schema's owner and the
-- service's role can read it here. pg_notify() takes no name that is empty or longer, and would fail every writer.
create table glimpse.history (
  singleton boolean primary key default true check (singleton),
  salt      text,
  channel   text not null check (channel ~ '^[0-9a-z_]{1,63}$')
);
revoke all on glimpse.history from public;
insert into glimpse.history (channel) values ('glimpse_' || replace(gen_random_uuid()::text, '-', ''));

-- The same name as in 0.1 while there is no salt. Some managed databases refuse their control file or WAL to everybody
-- (Aurora: 55000, 42501); without these the other parts still tell histories apart, and so does the check of a cursor.
create or replace function glimpse.epoch() returns text language plpgsql stable
  set search_path = pg_catalog, pg_temp as $$
declare
  cluster  text;
  timeline text;
begin
  if pg_is_in_recovery() then
    raise exception using errcode = 'read_only_sql_transaction', message = 'glimpse.epoch: this server is a standby';
  end if;
  begin
    cluster := (select system_identifier from pg_control_system());
  exception when object_not_in_prerequisite_state or insufficient_privilege or undefined_function or feature_not_supported then
  end;
  begin
    timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
  exception when object_not_in_prerequisite_state or insufficient_privilege or undefined_function or feature_not_supported then
  end;
  return left(encode(sha256(convert_to(concat_ws('/',
    cluster,
    timeline,
    (select oid from pg_database where datname = current_database()),
    'glimpse.events'::regclass::oid,
    (select salt from glimpse.history where singleton)
  ), 'UTF8')), 'hex'), 12);
end $$;

-- Begins another history: every cursor that was given out before is answered by a reset. For an operator who has put the
-- database back to an earlier state. The channel changes with it. Returns the new epoch.
create function glimpse.new_history() returns text language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  insert into glimpse.history (salt, channel)
  values (gen_random_uuid(), 'glimpse_' || replace(gen_random_uuid()::text, '-', ''))
  on conflict (singleton) do update set salt = excluded.salt, channel = excluded.channel;
  return glimpse.epoch();
end $$;
revoke execute on function glimpse.new_history from public;

-- When events were logged. They bind a number to its event: a database that was put back gives the number again, but not
-- at that time. head_at: the event at head; previous_at: the one before the last statement's first; trimmed_at: the last one
-- that was trimmed, at oldest - 1; read_at: the one at read_at_seq, up to which the user had read (an instance of 0.1
-- beside this schema moves read alone). Null where 0.1 did not note it.
alter table glimpse.streams
  add column head_at     timestamptz,
  add column previous_at timestamptz,
  add column trimmed_at  timestamptz,
  add column read_at     timestamptz,
  add column read_at_seq bigint;

-- Numbers set by hand that a double or a bigint can't count on from are refused: the next event would fail for ever, and
-- with it a statement that reads a thousand users' heads. As a type: a CHECK of the table is read and planned anew for each
-- statement that writes there, which was a tenth of what a lone view costs. The type gets its check afterwards, because a
-- column that is given a checked type is written anew, row by row. Where somebody's view stands in the way of another type
-- the tables get the check all the same.
create domain glimpse.countable as bigint;
do $$
begin
  alter table glimpse.streams
    alter head type glimpse.countable, alter oldest type glimpse.countable, alter read type glimpse.countable;
  alter table glimpse.events alter seq type glimpse.countable;
exception when feature_not_supported then
  alter table glimpse.streams add constraint countable check (
    head between -1000000000000000 and 1000000000000000 and oldest between -1000000000000000 and 1000000000000000
      and read between -1000000000000000 and 1000000000000000) not valid;
  alter table glimpse.events add constraint countable check (seq between -1000000000000000 and 1000000000000000) not valid;
end $$;
alter domain glimpse.countable add constraint countable check (value between -1000000000000000 and 1000000000000000) not valid;

-- OpenID Connect Core §2 allows a subject of 255 characters.
create or replace function glimpse.is_user_id(id text) returns boolean
  language sql immutable parallel safe
  return char_length(id) between 1 and 255 and id !~ '[\u0001-\u001f\u007f-\u009f]';

-- Microseconds since 1970. By a double, which is exact until 2041, and from then on the same for the same time, because the
-- numeric of extract() costs twenty times as much, for each event of a page and each recipient. Stable as date_part is: an
-- immutable function could not be inlined. Null for infinity, and where a bigint has no room: a time set so by hand must not
-- fail a statement that reads a thousand users' heads.
create function glimpse.microseconds(at timestamptz) returns bigint language sql stable parallel safe
  return case when at > '-infinity' and at < '294000-01-01 00:00:00+00' then (date_part('epoch', at) * 1000000)::bigint end;

-- The check in a cursor, as a number: it binds the cursor to the user and to when the event at its number was logged (0 at
-- number 0). For one user, two times within half an hour never have the same check; any other two cursors do once in two
-- billion. src/cursor.ts computes the same. It is no signature: who forges one deceives only themselves.
create function glimpse.cursor_check(user_id text, at bigint) returns bigint language sql stable parallel safe
  return (at % 2147483647 * 48271 + at / 2147483647 * 69621
          + ('x' || left(encode(sha256(convert_to(user_id, 'UTF8')), 'hex'), 8))::bit(32)::bigint) % 2147483647;

-- When the event at a number of a stream was logged, µs since 1970; 0 at number 0, null where nothing is known of it. s is
-- the stream's row.
create function glimpse.logged_at(s glimpse.streams, seq bigint) returns bigint language sql stable
  return case
    when seq = 0 then 0
    when seq = s.head and s.head_at is not null then glimpse.microseconds(s.head_at)
    when seq = s.oldest - 1 then glimpse.microseconds(s.trimmed_at)
    else (select glimpse.microseconds(e.logged_at) from glimpse.events e where e.user_id = s.user_id and e.seq = logged_at.seq)
  end;

-- Somebody has deleted rows of streams, or set their head back: the log has the numbers that would be given next. No number
-- is given twice, so the heads go past the last one in the log.
create function glimpse.restore_heads(recipients text[], totals bigint[]) returns void language sql
  set search_path = pg_catalog, pg_temp
begin atomic
  update glimpse.streams s
     set head = last.seq + r.total, previous_at = last.logged_at
    from unnest(recipients, totals) as r (user_id, total)
   cross join lateral (
     select seq, logged_at from glimpse.events where user_id = r.user_id order by seq desc limit 1
   ) last
   where s.user_id = r.user_id and last.seq > s.head - r.total;
end;

-- As before (0002), and:
--
-- All events of a call are logged at one time, which is in their cursors' checks. A line has four fields,
-- `user <tab> seq <tab> previous <tab> body`: previous is when the event before it was logged, µs since 1970, where that is
-- not this call's time (then it is empty); 0 before the first event, - where it is not known. By it a connection knows that
-- the event continues what it has been given. The last line of a payload, `<tab> time`, is its trailer: when the call's
-- events were logged.
create or replace function glimpse.log_events(users text[], tails text[]) returns void
  language plpgsql strict security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan as $$
declare
  payload_limit constant integer := 7999 - 80;  -- the trailer has at most 74
  inline_limit  constant integer := 3500;
  stamp     constant timestamptz := clock_timestamp();
  trailer   constant text := concat(E'\n\t', glimpse.microseconds(stamp), E'\t' || substring(
                current_setting('glimpse.traceparent', true) from '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'));
  announce   boolean := pg_notification_queue_usage() < 0.5;
  secret     text;
  recipients text[];
  totals     bigint[];
  named      text[];
  heads      bigint[];
  previous   bigint[];
  nth        integer := 0;
  seqs       bigint[];
  seq        bigint;
  bodies     text[];
  body       text;
  logged     bigint;
  line       text;
  payload    text;
  payloads   text[];
begin
  -- One event, as most statements make it, without arrays: for a lone view that is a tenth of its cost.
  if cardinality(users) = 1 then
    update glimpse.streams s
       set head = greatest(s.head, 0) + 1, head_at = stamp, previous_at = s.head_at, oldest_at = coalesce(s.oldest_at, stamp)
     where user_id = users[1]
    returning head, case when head = 1 then '0' else coalesce(glimpse.microseconds(previous_at)::text, '-') end,
              (select channel from glimpse.history where singleton)
      into seq, line, secret;
    if found then
      body := '{"seq":' || seq || tails[1];
      insert into glimpse.events (user_id, seq, body, logged_at) values (users[1], seq, body, stamp) on conflict do nothing;
      if found then
        if announce and secret is not null then
          line := pg_notify(secret, users[1] || E'\t' || seq || E'\t' || line || E'\t'
                  || case when octet_length(body) <= inline_limit then body else '' end || trailer);
        end if;
        return;
      end if;
      update glimpse.streams s set head = s.head - 1 where user_id = users[1];
    end if;
  end if;

  for i in 1 .. cardinality(users) loop
    if users[i] is distinct from recipients[nth] then
      nth := nth + 1;
      recipients[nth] := users[i];
      totals[nth] := 1;
    else
      totals[nth] := totals[nth] + 1;
    end if;
  end loop;

  -- The channel is found by its key: in trigger functions, which forbid the scan of a table, any other plan seems so dear
  -- that Postgres compiles it (jit), for milliseconds.
  with raised as (
    insert into glimpse.streams as s (user_id, head, head_at, oldest_at)
    select user_id, total, stamp, stamp from unnest(recipients, totals) as r (user_id, total)
    on conflict (user_id) do update
      set head = greatest(s.head, 0) + excluded.head, head_at = excluded.head_at, previous_at = s.head_at,
          oldest_at = coalesce(s.oldest_at, excluded.oldest_at)
    returning user_id, head, previous_at
  )
  select array_agg(user_id), array_agg(head), array_agg(glimpse.microseconds(previous_at)),
         (select channel from glimpse.history where singleton)
    into named, heads, previous, secret
    from raised;
  -- Nothing promises in which order RETURNING gives rows: a head belongs to the recipient of its name.
  if named <> recipients then
    select array_agg(user_id), array_agg(head), array_agg(at) into named, heads, previous
      from (select * from unnest(named, heads, previous) as r (user_id, head, at) order by user_id collate "C") as sorted;
  end if;

  loop
    if named <> recipients then
      raise exception 'glimpse.log_events: users must be sorted';
    end if;
    nth := 0;
    payload := null;
    payloads := null;
    for i in 1 .. cardinality(users) loop
      if users[i] is distinct from recipients[nth] then
        nth := nth + 1;
        seq := heads[nth] - totals[nth] + 1;
        line := case when seq = 1 then '0' else coalesce(previous[nth]::text, '-') end;
      else
        seq := seq + 1;
        line := '';
      end if;
      body := '{"seq":' || seq || tails[i];
      seqs[i] := seq;
      bodies[i] := body;
      if announce then
        line := users[i] || E'\t' || seq || E'\t' || line || E'\t'
                || case when octet_length(body) <= inline_limit then body else '' end;
        if payload is null then
          payload := line;
        elsif octet_length(payload) + octet_length(line) < payload_limit then
          payload := payload || E'\n' || line;
        else
          payloads := payloads || (payload || trailer);
          payload := line;
        end if;
      end if;
    end loop;

    -- Looking each number up costs more than a subtransaction does around many. A few go without one: of those that a
    -- transaction has had, 64 are cheap, and it may have thousands of such statements.
    if cardinality(users) < 20 then
      insert into glimpse.events (user_id, seq, body, logged_at) select made.*, stamp from unnest(users, seqs, bodies) as made
      on conflict do nothing;
      get diagnostics logged = row_count;
      exit when logged = cardinality(users);
    else
      begin
        insert into glimpse.events (user_id, seq, body, logged_at) select made.*, stamp from unnest(users, seqs, bodies) as made;
        exit;
      exception when unique_violation then
      end;
    end if;

    -- The log has numbers that were given now: somebody has changed streams by hand.
    delete from glimpse.events e using unnest(users, seqs, bodies) as mine (user_id, seq, body)
     where e.user_id = mine.user_id and e.seq = mine.seq and e.body = mine.body and e.logged_at = stamp;
    perform glimpse.restore_heads(recipients, totals);
    select array_agg(user_id), array_agg(head), array_agg(glimpse.microseconds(previous_at))
      into named, heads, previous
      from (select s.* from unnest(recipients) as r (user_id) join glimpse.streams s using (user_id) order by user_id) as sorted;
  end loop;

  -- Without a channel events wait in the log, as they do while the queue is half full.
  if not announce or secret is null then
    return;
  end if;
  if payloads is not null then
    perform pg_notify(secret, packed) from unnest(payloads) as packed;
  end if;
  line := pg_notify(secret, payload || trailer);
end $$;

-- Checks the events of a call and gives each as log_events() takes it, in the order of users and, of one user, of the call.
-- named: the function that is blamed.
create function glimpse.checked_events(named text, new_events glimpse.new_event[], out users text[], out tails text[])
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  max_bytes constant integer := 65536;
  fault text;
begin
  select format('%s: type %L for user %L: the type must be lower-case words joined by dots and not '
                'begin with stream., data and at must not be null', named, e.type, e.user_id)
    into fault
    from unnest(new_events) as e
   where e.type ~ '^(?!stream\.)[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' is not true
      or e.data is null or glimpse.is_rfc3339(e.at) is not true
   limit 1;
  if fault is not null then
    raise exception using errcode = 'invalid_parameter_value', message = fault;
  end if;

  -- Raw newlines and tabs can only stand between JSON tokens, and would cut a payload line or an SSE field.
  select array_agg(user_id), array_agg(tail)
    into users, tails
    from (select user_id, glimpse.event_tail(type, translate(data::text, E'\n\r\t', '   '), glimpse.rfc3339(at)) as tail
            from unnest(new_events) with ordinality as e (user_id, type, data, at, nth) order by user_id, nth) as sorted;

  -- The number in front of a tail takes at most 26 bytes.
  select format('%s: an event for user %L has %s bytes; it may have at most %s', named, user_id, octet_length(tail) + 26, max_bytes)
    into fault
    from unnest(users, tails) as e (user_id, tail) where octet_length(tail) + 26 > max_bytes limit 1;
  if fault is not null then
    raise exception using errcode = 'invalid_parameter_value', message = fault;
  end if;
end $$;
revoke execute on function glimpse.checked_events from public;

-- As before (0002); an event has at most 64 KiB, so that a page of them can be bounded.
create or replace function glimpse.append(variadic new_events glimpse.new_event[]) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  users text[];
  tails text[];
begin
  select c.users, c.tails into users, tails from glimpse.checked_events('glimpse.append', new_events) c;
  perform glimpse.log_events(users, tails);
end $$;

-- Whether this transaction makes no events: after `set local glimpse.quiet = on`, for a backfill. For triggers of one's own:
-- `if glimpse.is_quiet() then return null; end if;`
create function glimpse.is_quiet() returns boolean language sql stable parallel safe
  return coalesce(lower(current_setting('glimpse.quiet', true)) in ('on', 'true', 'yes', '1'), false);

-- As before (0003), and: only the table that the function was made for may call it. Whoever may use the schema could
-- otherwise put it behind a table of their own, and have events made of what never happened. A quiet transaction makes no
-- events; that is no condition of the triggers, because a condition is planned anew for each statement, which costs more than
-- calling a function that returns at once.
create or replace function glimpse.story_posted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  patience constant text := current_setting('lock_timeout');
begin
  if tg_relid <> 'glimpse.stories'::regclass then
    raise exception using errcode = 'insufficient_privilege', message = 'this function serves glimpse.stories alone';
  end if;
  -- On a row that is being updated, ON CONFLICT would wait for whoever holds it: posting a story must not. Nor must it for
  -- somebody who makes the same stream at this moment, which then is there without us: two transactions with new authors in
  -- opposite order would deadlock.
  if exists (select from inserted where not exists (select from glimpse.streams where user_id = author_id)) then
    begin
      perform set_config('lock_timeout', '5ms', true);
      insert into glimpse.streams (user_id)
      select distinct author_id from inserted
       where not exists (select from glimpse.streams where user_id = author_id) order by author_id
      on conflict do nothing;
      perform set_config('lock_timeout', patience, true);
    exception when lock_not_available or serialization_failure or deadlock_detected then
    end;
  end if;
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

-- EXECUTE on a new function is PUBLIC's. Firing a trigger asks for no right, making one does.
revoke execute on function glimpse.story_posted, glimpse.story_viewed, glimpse.story_reacted from public;

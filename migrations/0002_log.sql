-- The log: every user's stream of events, numbered 1, 2, 3 … without a hole.

-- head: the last seq given out; oldest: the seq of the oldest event kept (head + 1 where none is); oldest_at: when
-- that one was logged or shortly before, null where none is kept, by which trimming finds its work without reading the
-- log. Half of each page stays free, so that raising a head stays a HOT update that touches no index.
create table glimpse.streams (
  user_id   glimpse.user_id primary key,
  head      bigint      not null default 0,
  oldest    bigint      not null default 1,
  oldest_at timestamptz
) with (fillfactor = 50);
create index streams_oldest_at on glimpse.streams (oldest_at) where oldest_at is not null;

-- body is the event's final JSON without its id: {"seq":…,"type":…,"data":…,"timestamp":…}. logged_at, unlike the
-- time inside, is the database's own clock under the stream's lock: a view back-dated by its writer is not trimmed at
-- once, and what is older in a stream has the lower numbers.
create table glimpse.events (
  user_id   text        collate "C" not null,
  seq       bigint      not null,
  body      text        not null,
  logged_at timestamptz not null default clock_timestamp(),
  primary key (user_id, seq)
);

-- Names this history of the database: another cluster, another timeline (a failover, a restore), another database
-- or a re-created log is another history, and a cursor from one says nothing about the other. The timeline comes
-- from the WAL's file name, because the control file lags behind until the checkpoint after a promotion.
create function glimpse.epoch() returns text language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select left(encode(sha256(convert_to(concat_ws('/',
    (select system_identifier from pg_control_system()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (select oid from pg_database where datname = current_database()),
    'glimpse.events'::regclass::oid
  ), 'UTF8')), 'hex'), 12)
$$;

create type glimpse.new_event as (
  user_id text collate "C",  -- whose stream it goes into
  type    text,              -- lower-case words joined by dots, such as story.viewed
  data    json,
  at      timestamptz
);

create function glimpse.rfc3339(at timestamptz) returns text language sql stable parallel safe
  return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- Numbers events, writes them into the log and announces them, in the transaction that made them. Event i goes into the
-- stream of users[i]; tails[i] is its body from after the number on. Events of one user must stand together, users in
-- sorted order, so that batches can't deadlock. Of no events (null) nothing is made.
--
-- The upsert on streams locks each recipient's row until commit: per user the order of seq is the order of commits,
-- and no number is skipped or filled in late.
--
-- NOTIFY is a hint, packed as lines `user <tab> seq <tab> body` into as few payloads as fit. Postgres takes at most
-- 7,999 bytes in one, and one more rolls the writer back: a large body is left out, and its line alone makes the
-- instances read the log. While the cluster's NOTIFY queue is half full nothing is announced, because a full queue
-- would fail every writer's COMMIT; the instances' sweep delivers from the log. Each payload ends in a postmark, a line
-- `<tab> microseconds since 1970` on this server's clock, by which the instances measure how long it took from here; where
-- the session names a trace in glimpse.traceparent (W3C Trace Context), `<tab> traceparent` follows.
--
-- Two statements and a loop: in one statement, numbering and packing with window functions cost twice as much.
create function glimpse.log_events(users text[], tails text[]) returns void
  language plpgsql strict security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan as $$
declare
  payload_limit constant integer := 7999 - 80;  -- the postmark has at most 74
  inline_limit  constant integer := 3500;
  announce   constant boolean := pg_notification_queue_usage() < 0.5;
  trace      constant text := E'\t' || substring(current_setting('glimpse.traceparent', true)
                                                 from '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
  postmark   text;
  recipients text[];
  totals     bigint[];
  heads      bigint[];
  nth        integer := 0;
  seqs       bigint[];
  seq        bigint;
  bodies     text[];
  body       text;
  line       text;
  payload    text;
begin
  for i in 1 .. cardinality(users) loop
    if users[i] is distinct from recipients[nth] then
      nth := nth + 1;
      recipients[nth] := users[i];
      totals[nth] := 1;
    else
      totals[nth] := totals[nth] + 1;
    end if;
  end loop;

  with raised as (
    insert into glimpse.streams as s (user_id, head, oldest_at)
    select user_id, total, statement_timestamp() from unnest(recipients, totals) as r (user_id, total)
    on conflict (user_id) do update
      set head = s.head + excluded.head, oldest_at = coalesce(s.oldest_at, excluded.oldest_at)
    returning head
  )
  select array_agg(head) into heads from raised;

  postmark := concat(E'\n\t', (extract(epoch from clock_timestamp()) * 1000000)::bigint, trace);
  nth := 0;
  for i in 1 .. cardinality(users) loop
    if users[i] is distinct from recipients[nth] then
      nth := nth + 1;
      seq := heads[nth] - totals[nth];
    end if;
    seq := seq + 1;
    body := '{"seq":' || seq || tails[i];
    seqs[i] := seq;
    bodies[i] := body;
    if announce then
      line := users[i] || E'\t' || seq || E'\t' || case when octet_length(body) <= inline_limit then body else '' end;
      if payload is null then
        payload := line;
      elsif octet_length(payload) + octet_length(line) < payload_limit then
        payload := payload || E'\n' || line;
      else
        perform pg_notify('glimpse_events', payload || postmark);
        payload := line;
      end if;
    end if;
  end loop;

  insert into glimpse.events (user_id, seq, body) select * from unnest(users, seqs, bodies);
  if announce then
    perform pg_notify('glimpse_events', payload || postmark);
  end if;
end $$;
revoke execute on function glimpse.log_events from public;

-- What follows an event's number in its body.
create function glimpse.event_tail(type text, data text, at text) returns text language sql immutable parallel safe
  return ',"type":"' || type || '","data":' || data || ',"timestamp":"' || at || '"}';

-- Appends events of any type to the streams of their users; for a trigger on a table of one's own.
create function glimpse.append(variadic new_events glimpse.new_event[]) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  fault text;
begin
  select format('glimpse.append: type %L for user %L: the type must be lower-case words joined by dots and not '
                'begin with stream., data and at must not be null', e.type, e.user_id)
    into fault
    from unnest(new_events) as e
   where e.type ~ '^(?!stream\.)[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' is not true
      or e.data is null or glimpse.is_rfc3339(e.at) is not true
   limit 1;
  if fault is not null then
    raise exception using errcode = 'invalid_parameter_value', message = fault;
  end if;

  -- Raw newlines and tabs can only stand between JSON tokens, and would cut a payload line or an SSE field.
  perform glimpse.log_events(array_agg(user_id),
            array_agg(glimpse.event_tail(type, translate(data::text, E'\n\r\t', '   '), glimpse.rfc3339(at))))
    from (select * from unnest(new_events) with ordinality as e (user_id, type, data, at, nth) order by user_id, nth) as sorted;
end $$;
revoke execute on function glimpse.append from public;

-- The log: every user's stream of events, numbered 1, 2, 3 … without a hole.

-- head: the last seq given out; oldest: the seq of the oldest event kept (head + 1 where none is); oldest_at: when
-- that one was logged or shortly before, null where none is kept, by which trimming finds its work without reading the
-- log. Half of each page stays free, so that raising a head stays a HOT update that touches no index.
create table glimpse.streams (
  user_id   text        primary key check (glimpse.is_user_id(user_id)),
  head      bigint      not null default 0,
  oldest    bigint      not null default 1,
  oldest_at timestamptz
) with (fillfactor = 50);
create index streams_oldest_at on glimpse.streams (oldest_at) where oldest_at is not null;

-- body is the event's final JSON without its id: {"seq":…,"type":…,"data":…,"timestamp":…}. logged_at, unlike the
-- time inside, is the database's own clock under the stream's lock: a view back-dated by its writer is not trimmed at
-- once, and what is older in a stream has the lower numbers.
create table glimpse.events (
  user_id   text        not null,
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
  user_id text,        -- whose stream it goes into
  type    text,        -- lower-case words joined by dots, such as story.viewed
  data    json,
  at      timestamptz
);

create function glimpse.rfc3339(at timestamptz) returns text language sql stable parallel safe
  return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- Numbers events, writes them into the log and announces them, in the transaction that made them.
--
-- The upsert on streams locks each recipient's row until commit: per user the order of seq is the order of commits,
-- and no number is skipped or filled in late. Recipients are locked in sorted order, so that batches can't deadlock.
--
-- NOTIFY is a hint, packed as lines `user <tab> seq <tab> body` into as few payloads as fit. Postgres takes at most
-- 7,999 bytes in one, and one more rolls the writer back: a large body is left out, and its line alone makes the
-- instances read the log. While the cluster's NOTIFY queue is half full nothing is announced, because a full queue
-- would fail every writer's COMMIT; the instances' sweep delivers from the log. Each payload ends in a postmark, a line
-- `<tab> microseconds since 1970` on this server's clock, by which the instances measure how long it took from here; where
-- the session names a trace in glimpse.traceparent (W3C Trace Context), `<tab> traceparent` follows.
create function glimpse.append(variadic new_events glimpse.new_event[]) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  payload_limit constant integer := 7999 - 80;  -- the postmark has at most 74
  inline_limit  constant integer := 3500;
  announce boolean := pg_notification_queue_usage() < 0.5;
  trace    text := E'\t' || substring(current_setting('glimpse.traceparent', true)
                                     from '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
  payload  text;
  fault    text;
begin
  -- The two types of 0003 are known to be well formed: a pattern match per event would cost a quarter of the insert.
  select format('glimpse.append: type %L for user %L: the type must be lower-case words joined by dots and not '
                'begin with stream., data and at must not be null', e.type, e.user_id)
    into fault
    from unnest(new_events) as e
   where (e.type in ('story.viewed', 'story.reacted') or e.type ~ '^(?!stream\.)[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$') is not true
      or e.data is null or glimpse.is_rfc3339(e.at) is not true
   limit 1;
  if fault is not null then
    raise exception using errcode = 'invalid_parameter_value', message = fault;
  end if;

  for payload in
    with added as (
      select e.user_id, e.type, e.data, e.at,
             row_number() over (partition by e.user_id order by e.nth) as nth,
             count(*) over (partition by e.user_id) as total
        from unnest(new_events) with ordinality as e (user_id, type, data, at, nth)
    ),
    raised as (
      insert into glimpse.streams as s (user_id, head, oldest_at)
      select user_id, count(*), statement_timestamp() from added group by user_id order by user_id
      on conflict (user_id) do update
        set head = s.head + excluded.head, oldest_at = coalesce(s.oldest_at, excluded.oldest_at)
      returning user_id, head
    ),
    logged as (
      insert into glimpse.events (user_id, seq, body)
      select user_id, n.seq,
             '{"seq":' || n.seq || ',"type":"' || type || '","data":'
             -- Raw newlines and tabs can only stand between JSON tokens, and would cut a payload line or an SSE field.
             || translate(data::text, E'\n\r\t', '   ') || ',"timestamp":"' || glimpse.rfc3339(at) || '"}'
        from added join raised using (user_id), lateral (select head - total + nth as seq) as n
      returning user_id, seq, body
    ),
    line as (
      select user_id, seq,
             user_id || E'\t' || seq || E'\t' || case when octet_length(body) <= inline_limit then body else '' end as text
        from logged
    ),
    placed as (
      -- A payload takes lines until it is full; the longest line may reach over the edge, so the edge is that much short.
      select text, user_id, seq,
             sum(octet_length(text) + 1) over (order by user_id, seq)
             / (payload_limit - max(octet_length(text) + 1) over ()) as nth_payload
        from line
    )
    select string_agg(text, E'\n' order by user_id, seq) from placed group by nth_payload order by nth_payload
  loop
    if announce then
      perform pg_notify('glimpse_events', concat(
        payload, E'\n\t', (extract(epoch from clock_timestamp()) * 1000000)::bigint, trace));
    end if;
  end loop;
end $$;
revoke execute on function glimpse.append from public;

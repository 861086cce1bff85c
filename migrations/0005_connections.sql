-- Who is connected, over all instances: soft state that the instances write down in batches and can write again at any
-- time. UNLOGGED, because losing it costs nothing: after a crash of Postgres, or on a promoted standby, both tables are
-- empty, and each instance finds itself missing and registers anew.

-- seen_at is renewed every two seconds by the database's own clock; an instance that did not for some seconds is dead,
-- and its connections with it.
create unlogged table glimpse.instances (
  instance text        collate "C" primary key,
  seen_at  timestamptz not null default clock_timestamp()
);

-- closing: why its instance is to end it, where anybody asked for that.
create unlogged table glimpse.connections (
  id        uuid        primary key,
  user_id   text        collate "C" not null,
  instance  text        collate "C" not null,
  transport text        not null,
  opened_at timestamptz not null,
  closing   text        check (closing in ('replaced', 'closed'))
);
create index connections_user on glimpse.connections (user_id);
create index connections_closing on glimpse.connections (instance) where closing is not null;

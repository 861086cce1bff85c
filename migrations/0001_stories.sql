-- Stories, who viewed them, who reacted. Any writer may write here: the triggers of 0003 make the events.
-- All of Glimpse lives in the schema glimpse, so that it can stand beside an application's own tables.

create schema if not exists glimpse;

-- A user id travels in NOTIFY payloads between tabs and newlines, and into JWTs and URLs: a control character in
-- one would cut a payload in the wrong place, so no table lets one in. (Not strict, here and below: that would keep
-- Postgres from inlining the function into the check.)
create function glimpse.is_user_id(id text) returns boolean
  language sql immutable parallel safe
  return char_length(id) between 1 and 128 and id !~ '[\u0001-\u001f\u007f-\u009f]';

-- RFC 3339 writes four digits for the year; infinity and far dates have no such form.
create function glimpse.is_rfc3339(at timestamptz) returns boolean
  language sql immutable parallel safe
  return at >= timestamptz '0001-01-01 00:00:00+00' and at < timestamptz '9999-12-31 00:00:00+00';

-- As types, because a CHECK of a table is planned anew for every statement that writes there (a third of what a lone
-- view cost), and that of a type once a session.
--
-- Keys are compared as bytes, whatever the database's collation: an upgrade of libc or ICU may change the order of a
-- language's, and leaves indexes by it broken, so that a user's stream would not be found.
create domain glimpse.user_id as text collate "C" check (glimpse.is_user_id(value));
create domain glimpse.event_time as timestamptz check (glimpse.is_rfc3339(value));

create table glimpse.stories (
  id         uuid        primary key default gen_random_uuid(),
  author_id  glimpse.user_id not null,
  text       text        check (char_length(text) <= 2000),
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  expires_at timestamptz not null default date_trunc('milliseconds', now()) + interval '24 hours'
);
create index stories_expires_at on glimpse.stories (expires_at);

create table glimpse.story_views (
  story_id  uuid        not null references glimpse.stories on delete cascade,
  viewer_id glimpse.user_id    not null,
  viewed_at glimpse.event_time not null default date_trunc('milliseconds', now()),
  primary key (story_id, viewer_id)
);

create table glimpse.story_reactions (
  story_id   uuid        not null references glimpse.stories on delete cascade,
  user_id    glimpse.user_id    not null,
  emoji      text        not null check (octet_length(emoji) between 1 and 128),
  reacted_at glimpse.event_time not null default date_trunc('milliseconds', now()),
  primary key (story_id, user_id)
);

-- Tickets: good for one connection, on any instance, for half a minute, so that long-lived tokens stay out of URLs and
-- the logs that keep them. Only digests are kept, so that whoever reads the table can open nothing. UNLOGGED: lost in a
-- crash they are refused, and their clients ask for others.
create unlogged table glimpse.tickets (
  digest        text        collate "C" primary key, -- SHA-256 of the ticket, base64url
  user_id       text        not null,
  token_ends_at float8      not null,    -- when the token behind it ends, and the connection with it: ms since 1970
  expires_at    timestamptz not null
);

-- How far a user has read: the last seq, on whichever device; 0 for nothing yet. Because seq has no holes, what is
-- unread is a subtraction. It stands beside head, so that whoever reads where a stream stands reads both in one row.
alter table glimpse.streams add column read bigint not null default 0;

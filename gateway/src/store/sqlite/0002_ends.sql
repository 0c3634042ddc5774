-- Grants may end at a time, milliseconds since 1970-01-01 UTC.
alter table authority add column until integer;

create index authority_until on authority (until) where until is not null and ended is null;

-- Times are milliseconds since 1970-01-01 UTC by the gateway's clock. Cases are 16 bytes.

create table meta (
    key text primary key,
    value blob not null
) strict, without rowid;

-- The key under which a case's content is sealed, wrapped by a key of its tenant.
create table case_key (
    id blob primary key,
    tenant text not null,
    wrapped_by text not null,
    wrapped blob not null
) strict, without rowid;

-- Rotation looks for what is not wrapped by the newest key yet.
create index case_key_of_tenant on case_key (tenant, wrapped_by);

-- Receipts: what is left of a case whose key was destroyed.
create table shredded (
    id blob primary key,
    tenant text not null,
    requested_by text not null,
    approved_by text not null,
    reason integer not null,
    at integer not null
) strict, without rowid;

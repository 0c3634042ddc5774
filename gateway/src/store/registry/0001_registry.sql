-- Times are milliseconds since 1970-01-01 UTC by the gateway's clock. Ids are 16 bytes, hashes SHA-256.

create table operator (
    name text primary key,
    -- 1 operator, 2 auditor, 4 supervisor, added up
    roles integer not null,
    -- whose affairs he may touch; all when null
    tenant text,
    token_hash blob not null,
    added_at integer not null
) strict, without rowid;

create table device (
    id blob primary key,
    tenant text not null,
    unit text not null,
    -- numbers of the wire
    role integer not null,
    label text not null,
    enrolled_at integer not null,
    revoked_at integer,
    revoked_for integer,
    revoked_by text,
    last_seen integer
) strict, without rowid;

create index device_of_tenant on device (tenant, unit);

-- All that were ever issued to it: revocation lists name those that have not ended by themselves.
create table certificate (
    -- in the order of their issue, which the clock does not tell
    id integer primary key,
    serial text not null unique,
    device blob not null,
    fingerprint blob not null,
    -- of the public key
    key_hash blob not null,
    issued_at integer not null,
    not_after integer not null
) strict;

create index certificate_of_device on certificate (device);

create table invite (
    code_hash blob primary key,
    tenant text not null,
    unit text not null,
    role integer not null,
    label text not null,
    invited_by text not null,
    created_at integer not null,
    expires_at integer not null,
    -- how often it was presented without success
    attempts integer not null default 0,
    used_at integer,
    -- the device that it made, and the hash of its first public key
    used_by blob,
    used_key_hash blob
) strict, without rowid;

create table approval (
    id integer primary key,
    tenant text not null,
    kind text not null,
    subject text not null,
    requested_by text not null,
    requested_at integer not null,
    expires_at integer not null,
    approved_by text,
    approved_at integer
) strict;

create index approval_of_subject on approval (kind, subject);

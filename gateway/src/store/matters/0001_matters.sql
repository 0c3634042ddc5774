-- Times are milliseconds since 1970-01-01 UTC by the gateway's clock.

-- What a supervisor decides. Kinds: 1 evidence, 2 emergency access.
create table review (
    id blob primary key check (length(id) = 16),
    log text not null,
    kind integer not null,
    document blob not null check (length(document) = 17),
    -- of evidence
    changes integer not null,
    tenant text not null,
    unit text not null,
    device blob not null check (length(device) = 16),
    role integer not null,
    user blob check (length(user) = 16),
    at integer not null,
    -- feldakte_core::access::BreakGlassReason
    reason integer,
    until integer,
    content blob,
    -- null while it waits
    verdict integer,
    decided_by text,
    decided integer
) strict, without rowid;

create index review_waiting on review (log, at) where verdict is null;

-- The last order to destroy what a device holds.
create table wipe (
    device blob primary key check (length(device) = 16),
    wipe_order blob not null check (length(wipe_order) = 16),
    ordered integer not null,
    done integer
) strict, without rowid;

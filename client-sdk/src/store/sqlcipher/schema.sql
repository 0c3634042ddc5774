-- Schema 1 of the device's store. Numbers in columns are format: see the enums named beside them.

create table store (
    one integer primary key check (one = 1),
    -- Random id of this store, 16 bytes.
    id blob not null check (length(id) = 16),
    -- The cursor; both null before the first session.
    epoch blob check (length(epoch) = 16),
    position integer,
    check ((epoch is null) = (position is null))
) strict;

create table document (
    row integer primary key,
    -- feldakte_core::ids::DocumentId::to_bytes.
    id blob not null unique check (length(id) = 17),
    generation integer not null default 0,
    bootstrap_pending integer not null default 0,
    revoked integer not null default 0,
    -- How many rows of `change` are in each state, so that listing reads no change.
    local integer not null default 0 check (local >= 0),
    durable integer not null default 0 check (durable >= 0),
    refused integer not null default 0 check (refused >= 0)
) strict;

create table snapshot (
    document integer primary key references document (row),
    -- Hashes of the changes in it, 32 bytes each, ascending.
    covered blob not null,
    -- Automerge chunks.
    chunks blob not null
) strict;

-- Ascending rows are the order in which changes were stored. Own changes are never deleted: a restored gateway may
-- ask for them again.
create table change (
    row integer primary key autoincrement,
    document integer not null references document (row),
    hash blob not null check (length(hash) = 32),
    bytes blob not null,
    -- 1 local, 2 durable, 3 refused, 5 refused and done again in another change: own changes; 4 received: somebody
    -- else's. See ChangeState.
    state integer not null check (state between 1 and 5),
    -- Durable and received: where it stands in the log, or a later place.
    position integer,
    -- Refused: feldakte_proto::Reason.
    reason integer,
    -- Own: what the user did.
    intent blob not null,
    -- The snapshot contains it; only own changes are kept then.
    covered integer not null default 0,
    unique (document, hash)
) strict;

create index change_shown on change (document, row) where covered = 0;
create index change_unsent on change (row) where state = 1;
create index change_refused on change (document, row) where state = 3;

create table binding (
    document integer not null references document (row),
    actor blob not null check (length(actor) = 16),
    device blob not null check (length(device) = 16),
    unit text not null,
    -- feldakte_core::access::Role.
    role integer not null,
    -- Null when nobody had signed in.
    user blob check (length(user) = 16),
    -- Null when the device is of the log's own tenant.
    home text,
    primary key (document, actor)
) strict, without rowid;

create table quarantine (
    document integer not null references document (row),
    hash blob not null check (length(hash) = 32),
    -- feldakte_core::log::QuarantineReason.
    reason integer not null,
    primary key (document, hash)
) strict, without rowid;

pragma user_version = 1;

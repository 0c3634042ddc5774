-- Schema 1 of the device's store. Numbers in columns are format: see the enums named beside them.

create table store (
    one integer primary key check (one = 1),
    -- Random id of this store, 16 bytes.
    id blob not null check (length(id) = 16),
    -- Who uses the device; null when nobody has signed in.
    user blob check (length(user) = 16),
    -- As whom he reads: see readership.rs.
    reader blob not null default x'' check (length(reader) in (0, 1, 16))
) strict;

-- How far the log was read, by each reader: see readership.rs.
create table reader (
    user blob primary key check (length(user) in (0, 1, 16)),
    epoch blob not null check (length(epoch) = 16),
    position integer not null
) strict, without rowid;

-- Users this device knows.
create table user (
    id blob primary key check (length(id) = 16),
    -- See crate::pin; both null for a user with tokens.
    salt blob check (length(salt) = 16),
    hash blob check (length(hash) = 32),
    -- Wrong PINs in a row.
    wrong integer not null default 0,
    -- What delivers his work while somebody else uses the device.
    ticket blob,
    -- feldakte_core::access::Role: as what the gateway has believed him last.
    role integer
) strict, without rowid;

-- The order to destroy everything; no row without one.
create table wipe (
    one integer primary key check (one = 1),
    id blob not null check (length(id) = 16),
    -- 1 ordered, 2 carried out, 3 confirmed by the gateway. See WipeStage.
    stage integer not null check (stage between 1 and 3),
    -- Sessions that have begun since it was given.
    sessions integer not null default 0
) strict;

-- When the gateway was last heard of; no row before the first session. Milliseconds by the gateway's clock.
create table clock (
    one integer primary key check (one = 1),
    -- Gateway clock minus device clock, then.
    offset_ms integer not null,
    contact_ms integer not null,
    -- The latest time that is known to have passed.
    high_ms integer not null
) strict;

create table document (
    row integer primary key,
    -- feldakte_core::ids::DocumentId::to_bytes.
    id blob not null unique check (length(id) = 17),
    -- Where the generations of its authors begin.
    generation integer not null default 0
) strict;

-- Who may see a document: see readership.rs.
create table readership (
    document integer not null references document (row),
    reader blob not null check (length(reader) in (0, 1, 16)),
    -- 1 he may; 2 he may, and a snapshot has to be fetched; 3 the gateway is asked whether he may; 4 it has ended.
    state integer not null check (state between 1 and 4),
    primary key (document, reader)
) strict, without rowid;

-- What each user of the device has written in a document.
create table author (
    document integer not null references document (row),
    -- Empty for the device without a user.
    user blob not null check (length(user) in (0, 16)),
    generation integer not null,
    -- How many of his rows in `change` are in each state, so that listing reads no change.
    local integer not null default 0 check (local >= 0),
    durable integer not null default 0 check (durable >= 0),
    refused integer not null default 0 check (refused >= 0),
    kept integer not null default 0 check (kept >= 0),
    primary key (document, user)
) strict, without rowid;

-- The key that wraps the documents' keys. One row, overwritten in place and never moved: see seal.rs.
create table sealing (
    one integer primary key check (one = 1),
    key blob not null check (length(key) = 32)
) strict;

-- The key under which a document's content is sealed, wrapped: nonce, AES-256-GCM, tag.
create table document_key (
    document integer primary key references document (row),
    key blob not null check (length(key) = 60)
) strict;

-- Documents whose content was destroyed after the device's access had ended.
create table purged (
    -- feldakte_core::ids::DocumentId::to_bytes.
    id blob primary key check (length(id) = 17),
    -- The last one used in it: no actor is ever used again.
    generation integer not null,
    -- The gateway has taken the receipt.
    is_confirmed integer not null default 0
) strict, without rowid;

create table snapshot (
    document integer primary key references document (row),
    -- Hashes of the changes in it, 32 bytes each, ascending.
    covered blob not null,
    -- Automerge chunks, sealed.
    chunks blob not null
) strict;

-- Ascending rows are the order in which changes were stored. Own changes are deleted with their document alone: a
-- restored gateway may ask for them again. `bytes` and `intent` are sealed.
create table change (
    row integer primary key autoincrement,
    document integer not null references document (row),
    hash blob not null check (length(hash) = 32),
    bytes blob not null,
    -- 1 local, 2 durable, 3 refused, 5 refused and done again in another change, 6 kept for a supervisor: own changes;
    -- 4 received: somebody else's. See ChangeState.
    state integer not null check (state between 1 and 6),
    -- Durable and received: where it stands in the log, or a later place.
    position integer,
    -- Refused and kept: feldakte_proto::Reason.
    reason integer,
    -- Own: what the user did.
    intent blob not null,
    -- Own: who made it; null when nobody had signed in.
    user blob check (length(user) = 16),
    -- The snapshot contains it; only own changes are kept then.
    covered integer not null default 0,
    unique (document, hash)
) strict;

create index change_shown on change (document, row) where covered = 0;
create index change_unsent on change (row) where state = 1;
create index change_refused on change (document, row) where state in (3, 6);

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

-- Who has looked at what, until the gateway has been told. Times by the device's clock.
create table reading (
    document blob not null check (length(document) = 17),
    -- Empty when nobody had signed in.
    user blob not null check (length(user) in (0, 16)),
    first integer not null,
    last integer not null,
    count integer not null,
    primary key (document, user)
) strict, without rowid;

-- Emergencies without network, until the gateway has been told. Times by the device's clock.
create table opened (
    row integer primary key,
    case_id blob not null check (length(case_id) = 16),
    -- Empty when nobody had signed in.
    user blob not null check (length(user) in (0, 16)),
    -- feldakte_core::access::BreakGlassReason.
    reason integer not null,
    -- For the supervisor.
    text text not null,
    at integer not null
) strict;

-- Who has signed in with a PIN, tried to, or left, until the gateway has been told. Times by the device's clock.
create table login (
    row integer primary key,
    user blob not null check (length(user) = 16),
    -- feldakte_proto::LoginEvent.
    what integer not null,
    at integer not null
) strict;

pragma user_version = 3;

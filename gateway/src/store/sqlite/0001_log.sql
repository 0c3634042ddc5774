-- Entry ids are (tenant << 44) | position. Documents and subjects: see key.rs.

create table meta (
    key text primary key,
    value blob not null
) strict, without rowid;

create table tenant (
    id integer primary key,
    name text not null unique,
    -- Where the log ended when it was restored into the present epoch.
    restored_to integer
) strict;

-- The log. A document's entries are a chain: each names the one before it, and the document names the last.
-- An index over documents would touch one page per document and commit, and was most of a commit's cost.
create table entry (
    id integer primary key,
    previous integer,
    changes integer not null,
    len integer not null,
    digest blob not null,
    payload blob not null
) strict;

-- Case ids begin with their time of creation, so the documents in use share few pages.
create table document (
    id blob primary key,
    tenant integer not null,
    created integer not null,
    last integer not null,
    changes integer not null,
    -- The entry up to which the snapshot reaches, 0 without one.
    projected integer not null
) strict, without rowid;

-- One row per subject and document: where its last grant began and, unless it is valid, ended.
create table authority (
    tenant integer not null,
    subject text not null,
    document blob not null,
    began integer not null,
    ended integer,
    primary key (tenant, subject, document)
) strict, without rowid;

-- Derived from the log; actors is an encoded entry that holds bindings and quarantined changes only.
create table snapshot (
    document blob primary key,
    position integer not null,
    digest blob not null,
    actors blob not null,
    chunks blob not null
) strict;

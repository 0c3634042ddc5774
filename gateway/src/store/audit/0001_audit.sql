create table row (
    chain text not null,
    seq integer not null,
    previous blob not null,
    record blob not null,
    hash blob not null,
    primary key (chain, seq)
) strict, without rowid;

create table checkpoint (
    id integer primary key,
    chain text not null,
    seq integer not null,
    hash blob not null,
    time integer not null,
    signature blob not null
) strict;

create index checkpoint_of_chain on checkpoint (chain, seq);

-- Against accidents. Whoever can write the file can drop them: what proves the rows is the chain.
create trigger row_is_never_changed before update on row begin select raise(abort, 'audit rows are never changed'); end;
create trigger row_is_never_removed before delete on row begin select raise(abort, 'audit rows are never removed'); end;
create trigger checkpoint_is_never_changed before update on checkpoint
begin select raise(abort, 'audit checkpoints are never changed'); end;
create trigger checkpoint_is_never_removed before delete on checkpoint
begin select raise(abort, 'audit checkpoints are never removed'); end;

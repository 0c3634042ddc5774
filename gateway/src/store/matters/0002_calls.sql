-- Calls, desks on duty and what they were granted: JSON, as crate::exchange writes it.
create table call_state (
    name text primary key,
    state text not null
) strict, without rowid;

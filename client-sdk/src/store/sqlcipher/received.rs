//! Entries of the log, stored together with the cursor they lead to.

use feldakte_core::{
    ids::{ChangeHash, Position, TenantId},
    log::{Binding, Quarantine},
};
use feldakte_proto::Reason;
use sqlx::SqliteConnection;

use super::{
    change::{ChangeState, Known, NewRow, Tally, find, next_generation},
    document, readership, snapshot,
};
use crate::store::{LocalStoreError, Received, ReceivedEntry};

pub(super) async fn save(connection: &mut SqliteConnection, received: &Received) -> Result<(), LocalStoreError> {
    let Received { cursor, entries, bootstrap } = received;
    for entry in entries {
        save_entry(connection, entry).await?;
    }
    for id in bootstrap {
        let row = document::row_or_new(connection, *id).await?;
        // What is sent to us is granted to us, also after a grant that ended.
        readership::promised(connection, row).await?;
    }
    match cursor {
        Some(cursor) => document::set_cursor(connection, *cursor).await,
        None => Ok(()),
    }
}

async fn save_entry(connection: &mut SqliteConnection, entry: &ReceivedEntry) -> Result<(), LocalStoreError> {
    let ReceivedEntry { position, document, revoked, bindings, quarantined, changes } = entry;
    let brings_content = !(bindings.is_empty() && quarantined.is_empty() && changes.is_empty());
    let row = match document::row_of(connection, *document).await? {
        Some(row) => row,
        None if brings_content => document::row_or_new(connection, *document).await?,
        None => return Ok(()),
    };
    if brings_content {
        readership::sent(connection, row).await?;
    }
    if let Some(revoked) = revoked {
        readership::end(connection, row, (*revoked, *position)).await?;
    }
    save_bindings(connection, row, bindings).await?;
    let newly_quarantined = save_quarantined(connection, row, quarantined).await?;
    park(connection, row, &newly_quarantined).await?;
    save_changes(connection, row, *position, changes).await?;
    for hash in newly_quarantined {
        if snapshot::covers(connection, row, hash).await? {
            readership::incomplete(connection, row).await?;
        }
    }
    Ok(())
}

pub(super) async fn save_bindings(
    connection: &mut SqliteConnection,
    document: i64,
    bindings: &[Binding],
) -> Result<(), LocalStoreError> {
    let sql = "insert or replace into binding (document, actor, device, unit, role, user, home)
        values (?, ?, ?, ?, ?, ?, ?)";
    for Binding { actor, device, home, unit, role, user } in bindings {
        sqlx::query(sql)
            .bind(document)
            .bind(actor.0.as_slice())
            .bind(device.as_bytes().as_slice())
            .bind(unit.as_str())
            .bind(i64::from(*role as u32))
            .bind(user.as_ref().map(|user| user.as_bytes().as_slice()))
            .bind(home.as_ref().map(TenantId::as_str))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Gives back those that were not quarantined before.
pub(super) async fn save_quarantined(
    connection: &mut SqliteConnection,
    document: i64,
    quarantined: &[Quarantine],
) -> Result<Vec<ChangeHash>, LocalStoreError> {
    let mut new = Vec::new();
    for Quarantine { change, reason } in quarantined {
        let added = sqlx::query("insert or ignore into quarantine (document, hash, reason) values (?, ?, ?)")
            .bind(document)
            .bind(change.0.as_slice())
            .bind(i64::from(*reason as u32))
            .execute(&mut *connection)
            .await?;
        if added.rows_affected() == 1 {
            new.push(*change);
        }
    }
    Ok(new)
}

/// What the user did and nobody may apply must not vanish in silence: own changes among these are parked, and the
/// next edit is written under a new actor, since this one's history is cut off.
pub(super) async fn park(
    connection: &mut SqliteConnection,
    document: i64,
    quarantined: &[ChangeHash],
) -> Result<(), LocalStoreError> {
    let mut tally = Tally::default();
    for hash in quarantined {
        if let Some(known) = find(connection, document, *hash).await?
            && matches!(known.state, ChangeState::Local | ChangeState::Durable)
        {
            park_one(connection, &mut tally, document, known).await?;
        }
    }
    tally.save(connection, document).await
}

/// The log holds an own change: it is durable, unless it is quarantined.
pub(super) async fn confirm(
    connection: &mut SqliteConnection,
    tally: &mut Tally,
    document: i64,
    (hash, known): (ChangeHash, Known),
    position: Position,
) -> Result<(), LocalStoreError> {
    let sql = "select exists (select 1 from quarantine where document = ? and hash = ?)";
    let query = sqlx::query_scalar(sql).bind(document).bind(hash.0.as_slice());
    match (query.fetch_one(&mut *connection).await?, known.state) {
        (false, _) => tally.set_durable(connection, known, Some(position)).await,
        (true, ChangeState::Refused | ChangeState::Replaced | ChangeState::Kept) => Ok(()),
        (true, _) => park_one(connection, tally, document, known).await,
    }
}

async fn park_one(
    connection: &mut SqliteConnection,
    tally: &mut Tally,
    document: i64,
    known: Known,
) -> Result<(), LocalStoreError> {
    tally.set_refused(connection, known, Reason::DependencyRefused).await?;
    next_generation(connection, document, known.user).await
}

async fn save_changes(
    connection: &mut SqliteConnection,
    document: i64,
    position: Position,
    changes: &[(ChangeHash, bytes::Bytes)],
) -> Result<(), LocalStoreError> {
    let mut tally = Tally::default();
    for (hash, bytes) in changes {
        match find(connection, document, *hash).await? {
            Some(known) if known.state.is_unsettled() => {
                confirm(connection, &mut tally, document, (*hash, known), position).await?;
            }
            Some(_) => {}
            None if snapshot::covers(connection, document, *hash).await? => {}
            None => {
                let state = ChangeState::Received;
                let new = NewRow {
                    hash: *hash,
                    bytes,
                    intent: &[],
                    state,
                    position: Some(position),
                    covered: false,
                    user: None,
                };
                tally.insert(connection, document, new).await?;
            }
        }
    }
    tally.save(connection, document).await
}

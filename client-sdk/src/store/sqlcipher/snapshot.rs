//! A document's snapshot: stored, replaced, and what it covers.
//!
//! Replacing a snapshot never loses a change: what only the old one holds keeps the old one's chunks in place
//! before the new ones, and loading both is the same as loading their union.

use std::collections::BTreeSet;

use feldakte_core::ids::{ChangeHash, DocumentId};
use sqlx::SqliteConnection;
use tracing::debug;

use super::{
    change::{Known, Tally, hash_of, to_known},
    document, readership, received,
    seal::{Column, Sealer},
};
use crate::store::{LocalStoreError, ReceivedSnapshot};

pub(super) async fn save(
    connection: &mut SqliteConnection,
    snapshot: &ReceivedSnapshot,
) -> Result<(), LocalStoreError> {
    let ReceivedSnapshot { document, position, chunks, covered, bindings, quarantined } = snapshot;
    let row = document::row_or_new(connection, *document).await?;
    received::save_bindings(connection, row, bindings).await?;
    let newly_quarantined = received::save_quarantined(connection, row, quarantined).await?;
    received::park(connection, row, &newly_quarantined).await?;
    let covered: BTreeSet<_> = covered.iter().copied().collect();
    let mut tally = Tally::default();
    for (hash, known) in changes(connection, row).await? {
        if covered.contains(&hash) && known.state.is_unsettled() {
            received::confirm(connection, &mut tally, row, (hash, known), *position).await?;
        }
    }
    tally.save(connection, row).await?;
    replace(connection, row, chunks, covered).await?;
    readership::complete(connection, row).await
}

/// Only what is durable and may be applied goes into a compacted snapshot: what is inside cannot be taken out again
/// when the gateway refuses it. A compaction that was overtaken by a refusal or a quarantine is left undone.
pub(super) async fn compact(
    connection: &mut SqliteConnection,
    document: DocumentId,
    chunks: &[u8],
    covered: &[ChangeHash],
) -> Result<(), LocalStoreError> {
    let Some(row) = document::row_of(connection, document).await? else { return Ok(()) };
    if !readership::is_readable(connection, row).await? {
        // Who sees his own work alone has not seen the document.
        return Ok(());
    }
    let covered: BTreeSet<_> = covered.iter().copied().collect();
    let quarantined = quarantined(connection, row).await?;
    let unsafe_to_cover = |(hash, known): &(ChangeHash, Known)| covered.contains(hash) && known.state.is_unsettled();
    if !quarantined.is_disjoint(&covered) || changes(connection, row).await?.iter().any(unsafe_to_cover) {
        debug!(%document, "compaction holds changes that are not settled, left undone");
        return Ok(());
    }
    replace(connection, row, chunks, covered).await
}

/// Whether the document's snapshot contains the change.
pub(super) async fn covers(
    connection: &mut SqliteConnection,
    document: i64,
    hash: ChangeHash,
) -> Result<bool, LocalStoreError> {
    // A search in bytes finds whole hashes only: half of one and half of the next equal no SHA-256 by accident.
    Ok(sqlx::query_scalar("select exists (select 1 from snapshot where document = ? and instr(covered, ?) > 0)")
        .bind(document)
        .bind(hash.0.as_slice())
        .fetch_one(connection)
        .await?)
}

async fn replace(
    connection: &mut SqliteConnection,
    document: i64,
    chunks: &[u8],
    mut covered: BTreeSet<ChangeHash>,
) -> Result<(), LocalStoreError> {
    let changes = changes(connection, document).await?;
    let mut chunks = chunks.to_vec();
    if let Some((old_covered, old_chunks)) = current(connection, document).await? {
        let mut only_old = &old_covered - &covered;
        for (hash, _) in &changes {
            only_old.remove(hash);
        }
        if !(&only_old - &quarantined(connection, document).await?).is_empty() {
            chunks = [old_chunks, chunks].concat();
            covered.extend(old_covered);
        }
    }
    let list: Vec<u8> = covered.iter().flat_map(|hash| hash.0).collect();
    sqlx::query("insert or replace into snapshot (document, covered, chunks) values (?, ?, ?)")
        .bind(document)
        .bind(list)
        .bind(Sealer::of(connection, document).await?.seal(Column::Snapshot, &chunks)?)
        .execute(&mut *connection)
        .await?;
    for (hash, known) in changes {
        settle(connection, known, covered.contains(&hash)).await?;
    }
    Ok(())
}

/// A received change that the snapshot covers is deleted; an own one is kept and marked.
async fn settle(connection: &mut SqliteConnection, known: Known, covered: bool) -> Result<(), LocalStoreError> {
    if covered && !known.state.is_own() {
        sqlx::query("delete from change where row = ?").bind(known.row).execute(connection).await?;
    } else if covered != known.covered {
        sqlx::query("update change set covered = ? where row = ?")
            .bind(covered)
            .bind(known.row)
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn current(
    connection: &mut SqliteConnection,
    document: i64,
) -> Result<Option<(BTreeSet<ChangeHash>, Vec<u8>)>, LocalStoreError> {
    let found: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("select covered, chunks from snapshot where document = ?")
        .bind(document)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((covered, chunks)) = found else { return Ok(None) };
    let covered: Result<_, _> = covered.chunks(32).map(hash_of).collect();
    Ok(Some((covered?, Sealer::of(connection, document).await?.open(Column::Snapshot, chunks)?)))
}

async fn changes(
    connection: &mut SqliteConnection,
    document: i64,
) -> Result<Vec<(ChangeHash, Known)>, LocalStoreError> {
    let rows: Vec<HashedRow> =
        sqlx::query_as("select hash, row, state, covered, user from change where document = ? order by row")
            .bind(document)
            .fetch_all(connection)
            .await?;
    let known =
        |(hash, row, state, covered, user): HashedRow| Ok((hash_of(&hash)?, to_known((row, state, covered, user))?));
    rows.into_iter().map(known).collect()
}

/// Hash, row, state, covered, user.
type HashedRow = (Vec<u8>, i64, i64, bool, Option<Vec<u8>>);

async fn quarantined(
    connection: &mut SqliteConnection,
    document: i64,
) -> Result<BTreeSet<ChangeHash>, LocalStoreError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select hash from quarantine where document = ?")
        .bind(document)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|hash| hash_of(hash)).collect()
}

//! Documents destroyed after the device's access has ended, and what the gateway has to be told of it.

use feldakte_core::{ids::DocumentId, limits};
use feldakte_proto::Receipts;
use sqlx::SqliteConnection;

use super::{
    document, reads,
    seal::{self, Column, Sealer},
    wipe,
};
use crate::store::{DocumentState, LocalStoreError, WipeStage};

pub(super) async fn purge(
    connection: &mut SqliteConnection,
    documents: &[DocumentId],
) -> Result<Vec<DocumentId>, LocalStoreError> {
    let mut purged = Vec::new();
    for id in documents {
        let Some(state) = document::one(connection, *id).await? else { continue };
        if state.may_be_purged() {
            purge_one(connection, state).await?;
            purged.push(*id);
        }
    }
    if !purged.is_empty() {
        seal::forget_deleted_keys(connection).await?;
    }
    Ok(purged)
}

async fn purge_one(connection: &mut SqliteConnection, state: DocumentState) -> Result<(), LocalStoreError> {
    let id = state.document.to_bytes();
    sqlx::query("insert or replace into purged (id, generation) values (?, ?)")
        .bind(id.as_slice())
        .bind(state.generation)
        .execute(&mut *connection)
        .await?;
    for sql in DELETE {
        sqlx::query(*sql).bind(id.as_slice()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Everything that stands under a document, and the document.
const DELETE: &[&str] = &[
    "delete from document_key where document = (select row from document where id = ?)",
    "delete from snapshot where document = (select row from document where id = ?)",
    "delete from change where document = (select row from document where id = ?)",
    "delete from binding where document = (select row from document where id = ?)",
    "delete from quarantine where document = (select row from document where id = ?)",
    "delete from document where id = ?",
];

pub(super) async fn evict(
    connection: &mut SqliteConnection,
    documents: &[DocumentId],
) -> Result<Vec<DocumentId>, LocalStoreError> {
    let mut evicted = Vec::new();
    for id in documents {
        let Some(row) = document::row_of(connection, *id).await? else { continue };
        if holds_what_is_safe(connection, row).await? {
            evict_one(connection, row).await?;
            evicted.push(*id);
        }
    }
    if !evicted.is_empty() {
        seal::forget_deleted_keys(connection).await?;
    }
    Ok(evicted)
}

async fn holds_what_is_safe(connection: &mut SqliteConnection, row: i64) -> Result<bool, LocalStoreError> {
    let sql = "select exists (select 1 from snapshot where document = ?1)
        or exists (select 1 from change where document = ?1 and state not in (1, 3))";
    Ok(sqlx::query_scalar(sql).bind(row).fetch_one(connection).await?)
}

/// What stays is sealed under a new key.
async fn evict_one(connection: &mut SqliteConnection, row: i64) -> Result<(), LocalStoreError> {
    for sql in EVICT {
        sqlx::query(*sql).bind(row).execute(&mut *connection).await?;
    }
    let old = Sealer::of(connection, row).await?;
    seal::add_key(connection, row).await?;
    let new = Sealer::of(connection, row).await?;
    let left: Vec<(i64, Vec<u8>, Vec<u8>)> = sqlx::query_as("select row, bytes, intent from change where document = ?")
        .bind(row)
        .fetch_all(&mut *connection)
        .await?;
    for (change, bytes, intent) in left {
        sqlx::query("update change set bytes = ?, intent = ?, covered = 0 where row = ?")
            .bind(new.seal(Column::Change, &old.open(Column::Change, bytes)?)?)
            .bind(new.seal(Column::Intent, &old.open(Column::Intent, intent)?)?)
            .bind(change)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The next edit is written under a new actor: this one's history is not here any more.
const EVICT: &[&str] = &[
    "delete from snapshot where document = ?",
    "delete from change where document = ? and state not in (1, 3)",
    "delete from binding where document = ?",
    "delete from quarantine where document = ?",
    "update document set bootstrap_pending = 1, generation = generation + 1, durable = 0, kept = 0 where row = ?",
];

pub(super) async fn receipts(connection: &mut SqliteConnection) -> Result<Receipts, LocalStoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("select id from purged where is_confirmed = 0 order by id limit ?")
        .bind(limits::RECEIPTS_MAX as i64)
        .fetch_all(&mut *connection)
        .await?;
    let to_id = |id: &Vec<u8>| DocumentId::from_slice(id).map_err(|_| LocalStoreError::Damaged("a document id"));
    let purged = ids.iter().map(to_id).collect::<Result<_, _>>()?;
    let wipe = wipe::current(connection).await?.filter(|wipe| wipe.stage == WipeStage::Destroyed);
    let reads = reads::unconfirmed(connection).await?;
    Ok(Receipts { purged, wiped: wipe.map(|wipe| wipe.order), reads, ..Receipts::default() })
}

pub(super) async fn confirm(connection: &mut SqliteConnection, receipts: &Receipts) -> Result<(), LocalStoreError> {
    for id in &receipts.purged {
        sqlx::query("update purged set is_confirmed = 1 where id = ?")
            .bind(id.to_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    reads::confirm(connection, &receipts.reads).await?;
    match receipts.wiped {
        Some(order) => wipe::confirm(connection, order).await,
        None => Ok(()),
    }
}

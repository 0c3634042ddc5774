//! Documents destroyed after the device's access has ended, and what the gateway has to be told of it.

use feldakte_core::{ids::DocumentId, limits};
use feldakte_proto::Receipts;
use sqlx::SqliteConnection;

use super::{
    document, emergency, logins, reads,
    seal::{self, Column, Sealer},
    wipe,
};
use crate::store::{LocalStoreError, WipeStage};

pub(super) async fn purge(connection: &mut SqliteConnection) -> Result<Vec<DocumentId>, LocalStoreError> {
    let ended: Vec<(Vec<u8>, u32)> = sqlx::query_as(
        "select id, max(document.generation, coalesce((select max(generation) from author where document = row), 0))
         from document where exists (select 1 from readership where document = row)
           and not exists (select 1 from readership where document = row and state != 4)
           and not exists (select 1 from author where document = row and local + refused > 0)
         order by id",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (id, generation) in &ended {
        sqlx::query("insert or replace into purged (id, generation) values (?, ?)")
            .bind(id)
            .bind(generation)
            .execute(&mut *connection)
            .await?;
        for sql in DELETE {
            sqlx::query(*sql).bind(id).execute(&mut *connection).await?;
        }
    }
    if !ended.is_empty() {
        seal::forget_deleted_keys(connection).await?;
    }
    ended.iter().map(|(id, _)| document::id_of(id)).collect()
}

/// Everything that stands under a document, and the document.
const DELETE: &[&str] = &[
    "delete from document_key where document = (select row from document where id = ?)",
    "delete from snapshot where document = (select row from document where id = ?)",
    "delete from change where document = (select row from document where id = ?)",
    "delete from binding where document = (select row from document where id = ?)",
    "delete from quarantine where document = (select row from document where id = ?)",
    "delete from author where document = (select row from document where id = ?)",
    "delete from readership where document = (select row from document where id = ?)",
    "delete from document where id = ?",
];

pub(super) async fn evict(connection: &mut SqliteConnection) -> Result<Vec<DocumentId>, LocalStoreError> {
    let safe: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select row, id from document where exists (select 1 from snapshot where document = document.row)
           or exists (select 1 from change where document = document.row and state not in (1, 3)) order by id",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (row, _) in &safe {
        evict_one(connection, *row).await?;
    }
    if !safe.is_empty() {
        seal::forget_deleted_keys(connection).await?;
    }
    safe.iter().map(|(_, id)| document::id_of(id)).collect()
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
    "update readership set state = 2 where document = ? and state = 1",
    "update document set generation = generation + 1 where row = ?",
    "update author set generation = generation + 1, durable = 0, kept = 0 where document = ?",
];

pub(super) async fn receipts(connection: &mut SqliteConnection) -> Result<Receipts, LocalStoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("select id from purged where is_confirmed = 0 order by id limit ?")
        .bind(limits::RECEIPTS_MAX as i64)
        .fetch_all(&mut *connection)
        .await?;
    let purged = ids.iter().map(|id| document::id_of(id)).collect::<Result<_, _>>()?;
    let reads = reads::unconfirmed(connection).await?;
    let opened = emergency::unconfirmed(connection).await?;
    let logins = logins::unconfirmed(connection).await?;
    // Last: what is owed goes with the files once the gateway knows.
    let is_last = reads.len().max(opened.len()).max(logins.len()) < limits::RECEIPTS_MAX;
    let wipe = wipe::current(connection).await?.filter(|wipe| wipe.stage == WipeStage::Destroyed && is_last);
    Ok(Receipts { request: 0, purged, wiped: wipe.map(|wipe| wipe.order), reads, opened, logins })
}

pub(super) async fn confirm(connection: &mut SqliteConnection, receipts: &Receipts) -> Result<(), LocalStoreError> {
    for id in &receipts.purged {
        sqlx::query("update purged set is_confirmed = 1 where id = ?")
            .bind(id.to_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    reads::confirm(connection, &receipts.reads).await?;
    emergency::confirm(connection, &receipts.opened).await?;
    logins::confirm(connection, &receipts.logins).await?;
    match receipts.wiped {
        Some(order) => wipe::confirm(connection, order).await,
        None => Ok(()),
    }
}

//! The order to destroy everything: written down first, so that a power cut at any point only delays it.

use sqlx::SqliteConnection;

use super::seal;
use crate::store::{LocalStoreError, Wipe, WipeStage};

pub(super) async fn current(connection: &mut SqliteConnection) -> Result<Option<Wipe>, LocalStoreError> {
    let found: Option<(Vec<u8>, i64, u32)> =
        sqlx::query_as("select id, stage, sessions from wipe").fetch_optional(connection).await?;
    let Some((order, stage, sessions)) = found else { return Ok(None) };
    let damaged = LocalStoreError::Damaged("a wipe order");
    let stages = [WipeStage::Ordered, WipeStage::Destroyed, WipeStage::Confirmed];
    let stage = stages.into_iter().find(|known| *known as i64 == stage);
    match (<[u8; 16]>::try_from(order.as_slice()), stage) {
        (Ok(order), Some(stage)) => Ok(Some(Wipe { order, stage, sessions })),
        _ => Err(damaged),
    }
}

pub(super) async fn order(connection: &mut SqliteConnection, order: [u8; 16]) -> Result<(), LocalStoreError> {
    let sql = "insert into wipe (one, id, stage, sessions) values (1, ?, ?, 1)
        on conflict do update set sessions = sessions + 1";
    sqlx::query(sql).bind(order.as_slice()).bind(WipeStage::Ordered as i64).execute(connection).await?;
    Ok(())
}

pub(super) async fn wipe(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    let is_ordered = current(connection).await?.is_some_and(|wipe| wipe.stage == WipeStage::Ordered);
    if !is_ordered {
        return Ok(());
    }
    for sql in DELETE {
        sqlx::query(*sql).execute(&mut *connection).await?;
    }
    seal::forget_deleted_keys(connection).await?;
    sqlx::query("update wipe set stage = ?").bind(WipeStage::Destroyed as i64).execute(connection).await?;
    Ok(())
}

/// All there is but the order itself.
const DELETE: &[&str] = &[
    "delete from document_key",
    "delete from snapshot",
    "delete from change",
    "delete from binding",
    "delete from quarantine",
    "delete from author",
    "delete from readership",
    "delete from purged",
    "delete from emergency",
    "delete from document",
    "delete from reader",
    "delete from user",
    "update store set user = null, reader = x''",
    // Who has looked at what is owed all the same; what was written about it may name a patient.
    "update opened set text = ''",
];

pub(super) async fn confirm(connection: &mut SqliteConnection, order: [u8; 16]) -> Result<(), LocalStoreError> {
    sqlx::query("update wipe set stage = ? where id = ? and stage = ?")
        .bind(WipeStage::Confirmed as i64)
        .bind(order.as_slice())
        .bind(WipeStage::Destroyed as i64)
        .execute(connection)
        .await?;
    Ok(())
}

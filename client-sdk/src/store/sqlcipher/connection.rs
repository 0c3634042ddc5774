//! The one connection, and the transaction around every operation.
//!
//! The driver's own transactions are not used: they lose count when SQLite rolls back by itself, as it does when
//! the disk is full.

use sqlx::{Connection, SqliteConnection};
use tracing::warn;

use super::error;
use crate::store::LocalStoreError;

/// The connection while the store is open.
pub(super) struct Slot {
    connection: Option<SqliteConnection>,
    /// Set from `begin` until `commit` or `rollback` was answered.
    in_transaction: bool,
    /// The store closed itself because a page is damaged.
    damaged: bool,
}

impl Slot {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection: Some(connection), in_transaction: false, damaged: false }
    }

    /// Starts a transaction. One that a caller left behind by no longer waiting for it is rolled back first.
    pub(super) async fn begin(&mut self) -> Result<&mut SqliteConnection, LocalStoreError> {
        let damaged = self.damaged;
        let connection = self.connection.as_mut().ok_or_else(|| match damaged {
            true => LocalStoreError::Damaged(error::PAGE),
            false => error::closed(),
        })?;
        if self.in_transaction {
            rollback(connection).await;
        }
        self.in_transaction = true;
        sqlx::query("begin").execute(&mut *connection).await?;
        Ok(connection)
    }

    /// Commits when the operation succeeded, rolls back when not. After an error of the disk itself or a damaged
    /// page nothing that SQLite keeps in memory is to be trusted: the store closes, and opening it again recovers.
    pub(super) async fn end<T>(&mut self, outcome: Result<T, LocalStoreError>) -> Result<T, LocalStoreError> {
        let connection = self.connection.as_mut().ok_or_else(error::closed)?;
        let ended = match outcome {
            Ok(value) => sqlx::query("commit").execute(&mut *connection).await.map(|_| value).map_err(Into::into),
            Err(error) => Err(error),
        };
        if ended.is_err() {
            rollback(connection).await;
        }
        self.in_transaction = false;
        self.damaged = ended.as_ref().is_err_and(error::is_damaged_page);
        if self.damaged || ended.as_ref().is_err_and(error::is_disk_failure) {
            warn!(damaged = self.damaged, "the local store closes after a disk failure");
            self.connection = None;
        }
        ended
    }

    /// [`truncate_log`], when the store is open.
    pub(super) async fn truncate_log(&mut self) -> Result<(), LocalStoreError> {
        match self.connection.as_mut() {
            Some(connection) => truncate_log(connection).await,
            None => Err(error::closed()),
        }
    }

    pub(super) async fn close(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if let Err(error) = connection.close().await {
            warn!(%error, "the local store did not close cleanly");
        }
    }
}

/// Brings all pages into the file itself and empties the log beside it, which holds pages as they were before.
pub(super) async fn truncate_log(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    sqlx::query("pragma wal_checkpoint(truncate)").execute(connection).await?;
    Ok(())
}

/// Fails when there is no transaction (any more), which is what is wanted.
async fn rollback(connection: &mut SqliteConnection) {
    let _ = sqlx::query("rollback").execute(connection).await;
}

//! The log's tables, and its incarnation.

use feldakte_core::ids::Epoch;
use sqlx::SqliteConnection;

use super::migrate::Schema;
use crate::store::StoreError;

/// Brings the database to the newest schema; a new one gets its epoch.
pub(super) async fn migrate(connection: &mut SqliteConnection, new_epoch: Epoch) -> Result<(), StoreError> {
    SCHEMA.migrate(connection, async |connection| write_epoch(connection, new_epoch).await).await
}

/// The log's incarnation.
pub(super) async fn read_epoch(connection: &mut SqliteConnection) -> Result<Epoch, StoreError> {
    let bytes: Vec<u8> = sqlx::query_scalar("select value from meta where key = 'epoch'").fetch_one(connection).await?;
    Epoch::from_slice(&bytes).map_err(|_| StoreError::Damaged("the epoch"))
}

/// Gives the log a new incarnation.
pub(super) async fn write_epoch(connection: &mut SqliteConnection, epoch: Epoch) -> Result<(), StoreError> {
    sqlx::query("insert or replace into meta (key, value) values ('epoch', ?)")
        .bind(&epoch.as_bytes()[..])
        .execute(connection)
        .await?;
    Ok(())
}

/// "FELD": tells our files from other programs'.
pub(super) const SCHEMA: Schema =
    Schema { application_id: 0x4645_4c44, migrations: &[include_str!("0001_log.sql"), include_str!("0002_ends.sql")] };

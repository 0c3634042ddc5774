//! The registry's tables.

use sqlx::SqliteConnection;

use crate::store::{StoreError, sqlite::migrate::Schema};

/// Brings the file to the newest schema.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    SCHEMA.migrate(connection, async |_| Ok(())).await
}

/// "FELR": tells registries from the log and from other programs' files.
pub(super) const SCHEMA: Schema =
    Schema { application_id: 0x4645_4c52, migrations: &[include_str!("0001_registry.sql")] };

//! How a SQLite file of an earlier release becomes one of this: the same for the log, the audit log and the registry.
//!
//! Migrations are forever: a released one is never edited, a new one is added with the next number.

use sqlx::{Executor, SqliteConnection};

use super::error::DatabaseError;
use crate::store::StoreError;

/// The tables of one kind of file.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Schema {
    /// Tells files of this kind from others.
    pub application_id: i64,
    /// Numbered from 1, ascending.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// Brings the file to the newest version; a new one also gets what `begin` writes. One transaction: a crash in the
    /// middle of the first start leaves an empty file, not half a schema.
    pub async fn migrate(
        self,
        connection: &mut SqliteConnection,
        begin: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let found = self.check_version(connection).await?;
        if found == self.newest() {
            return Ok(());
        }
        connection.execute("begin immediate").await?;
        for (number, sql) in (1i64..).zip(self.migrations).filter(|(number, _)| *number > found) {
            connection.execute(*sql).await?;
            connection.execute(sqlx::AssertSqlSafe(format!("pragma user_version = {number}"))).await?;
        }
        if found == 0 {
            let sql = format!("pragma application_id = {}", self.application_id);
            connection.execute(sqlx::AssertSqlSafe(sql)).await?;
            begin(&mut *connection).await?;
        }
        connection.execute("commit").await?;
        Ok(())
    }

    /// The version of the file, 0 for an empty one.
    ///
    /// # Errors
    /// [`DatabaseError::NewerSchema`] or [`DatabaseError::Foreign`].
    pub async fn check_version(self, connection: &mut SqliteConnection) -> Result<i64, StoreError> {
        let found: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *connection).await?;
        let application: i64 = sqlx::query_scalar("pragma application_id").fetch_one(&mut *connection).await?;
        let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_schema").fetch_one(&mut *connection).await?;
        if tables > 0 && application != self.application_id {
            return Err(DatabaseError::Foreign.into());
        }
        if found > self.newest() {
            return Err(DatabaseError::NewerSchema { found, supported: self.newest() }.into());
        }
        Ok(found)
    }

    fn newest(self) -> i64 {
        i64::try_from(self.migrations.len()).expect("a handful of migrations")
    }
}

//! The audit file's tables and how a file of an earlier release becomes one of this.
//!
//! Migrations are forever: a released one is never edited, a new one is added with the next number.

use sqlx::{Executor, SqliteConnection};

use crate::store::{StoreError, sqlite::error::DatabaseError};

/// Brings the file to the newest schema.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found = check_version(connection).await?;
    if found == NEWEST {
        return Ok(());
    }
    // One transaction: a crash in the middle of the first start leaves an empty file, not half a schema.
    connection.execute("begin immediate").await?;
    for (number, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > found) {
        connection.execute(*sql).await?;
        connection.execute(sqlx::AssertSqlSafe(format!("pragma user_version = {number}"))).await?;
    }
    connection.execute(sqlx::AssertSqlSafe(format!("pragma application_id = {APPLICATION_ID}"))).await?;
    connection.execute("commit").await?;
    Ok(())
}

/// The schema version of the file, 0 for an empty one.
///
/// # Errors
/// [`DatabaseError::NewerSchema`] or [`DatabaseError::Foreign`].
pub(super) async fn check_version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let found: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *connection).await?;
    let application: i64 = sqlx::query_scalar("pragma application_id").fetch_one(&mut *connection).await?;
    let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_schema").fetch_one(&mut *connection).await?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(DatabaseError::Foreign.into());
    }
    if found > NEWEST {
        return Err(DatabaseError::NewerSchema { found, supported: NEWEST }.into());
    }
    Ok(found)
}

/// "FELA": tells audit files from the log and from other programs' files.
const APPLICATION_ID: i64 = 0x4645_4c41;

const MIGRATIONS: [(i64, &str); 1] = [(1, include_str!("../0001_audit.sql"))];

const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

//! Opening the file: key, lock, pragmas that are read back, schema.

use std::{path::Path, time::Duration};

use feldakte_core::ids::Epoch;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{connection, emergency, error, seal};
use crate::{
    key::{KeyProvider, sync_directory_of},
    store::{LocalStoreError, provider},
};

/// The schema this build writes; newer ones are refused.
const SCHEMA: i64 = 3;

/// How long to wait for a lock: covers the moment in which a store that was dropped, not closed, lets go.
const LOCK_WAIT: Duration = Duration::from_secs(1);

pub(super) async fn open(
    path: &Path,
    key: &dyn KeyProvider,
    new_store: Epoch,
) -> Result<SqliteConnection, LocalStoreError> {
    provider::link();
    // Statements are not logged, and the options never shown: the key is in neither, but intents and ids would be.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(LOCK_WAIT)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    match prepare(&mut connection, path, key, new_store).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // Closed before the answer, so that the file is free when the caller tries again.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

async fn prepare(
    connection: &mut SqliteConnection,
    path: &Path,
    key: &dyn KeyProvider,
    new_store: Epoch,
) -> Result<(), LocalStoreError> {
    unlock(connection, key).await?;
    configure(connection).await?;
    migrate(connection, new_store).await?;
    emergency::prepare(connection).await?;
    // What a power cut has left in the log is older than what was destroyed.
    connection::truncate_log(connection).await?;
    sync_directory_of(path).map_err(|error| LocalStoreError::Failed(Box::new(error)))
}

/// Sets the key and proves it by the first read, which also takes the lock.
async fn unlock(connection: &mut SqliteConnection, key: &dyn KeyProvider) -> Result<(), LocalStoreError> {
    // A library does not write to the app's stderr; what SQLCipher has to say comes back as an error.
    sqlx::query("pragma cipher_log_level = none").execute(&mut *connection).await?;
    {
        let key = key.database_key().map_err(|error| LocalStoreError::Failed(Box::new(error)))?;
        let mut handle = connection.lock_handle().await?;
        provider::set_key(&mut handle, &key).map_err(|error| LocalStoreError::Failed(Box::new(error)))?;
    }
    // `cipher_memory_security` stays off: SQLCipher wipes and masks its keys anyway, and wiping every page SQLite
    // frees would guard content that the app holds in the clear right beside it.
    //
    // The file format stays that of SQLCipher 4 whatever a later SQLCipher prefers.
    sqlx::query("pragma cipher_compatibility = 4").execute(&mut *connection).await?;
    sqlx::query("pragma locking_mode = exclusive").execute(&mut *connection).await?;
    match sqlx::query("select count(*) from sqlite_schema").execute(connection).await {
        Err(error) if error::is_wrong_key(&error) => Err(LocalStoreError::WrongKey),
        read => Ok(read.map(|_| ())?),
    }
}

async fn configure(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    let mode: String = sqlx::query_scalar("pragma journal_mode = wal").fetch_one(&mut *connection).await?;
    sqlx::query("pragma synchronous = full").execute(&mut *connection).await?;
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *connection).await?;
    // Sorting and statement journals spill in plain text.
    sqlx::query("pragma temp_store = memory").execute(&mut *connection).await?;
    let temp_store: i64 = sqlx::query_scalar("pragma temp_store").fetch_one(&mut *connection).await?;
    // What is deleted is overwritten.
    let secure_delete: i64 = sqlx::query_scalar("pragma secure_delete = on").fetch_one(&mut *connection).await?;
    match (mode.as_str(), synchronous, temp_store, secure_delete) {
        ("wal", 2, 2, 1) => Ok(()),
        _ => Err(LocalStoreError::Failed("SQLite does not take the settings that make the store safe".into())),
    }
}

/// Creates the schema in one transaction; a power cut in between leaves an empty file, which is created anew.
async fn migrate(connection: &mut SqliteConnection, new_store: Epoch) -> Result<(), LocalStoreError> {
    let found: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *connection).await?;
    match found {
        SCHEMA => return Ok(()),
        0 => {}
        older if older < SCHEMA => return Err(LocalStoreError::OlderSchema { found, known: SCHEMA }),
        _ => return Err(LocalStoreError::NewerSchema { found, known: SCHEMA }),
    }
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *transaction).await?;
    sqlx::query("insert into store (one, id) values (1, ?)")
        .bind(new_store.as_bytes().as_slice())
        .execute(&mut *transaction)
        .await?;
    seal::create(&mut transaction).await?;
    Ok(transaction.commit().await?)
}

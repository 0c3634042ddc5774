//! Connections to the database file.
//!
//! No connection is used before its pragmas were read back: a `synchronous` that SQLite did not take loses
//! acknowledged commits at the next power cut, and nothing else would tell.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions},
};

use super::error::DatabaseError;

/// What a connection is for; decides its pragmas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Purpose {
    /// Appends to the log. Every commit is on the disk when it returns.
    Log,
    /// Appends to a small database beside the log. Every commit is on the disk when it returns; checkpoints run inside
    /// commits.
    Side,
    /// The same for secrets: what is deleted leaves nothing behind in the file.
    Secret,
    /// Writes what can be derived again from the log. A power cut may take the last commits, never order or shape.
    Derived,
    /// Copies the write-ahead log into the database file.
    Checkpoint,
    /// Reads.
    Read,
    /// Copies a database whole. Writes nothing to it, but is not `query_only`: that would forbid the copy too.
    Copy,
}

impl Purpose {
    /// Pragmas and the value SQLite must read back, in the order they are set.
    fn pragmas(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Checkpoints run beside the writer, never inside one of its commits: wal_autocheckpoint is off.
            Purpose::Log => &[
                ("page_size", PAGE_SIZE),
                ("journal_mode", "wal"),
                ("synchronous", "2"),
                ("wal_autocheckpoint", "0"),
                ("temp_store", "2"),
                ("foreign_keys", "0"),
                ("cache_size", "-32768"),
            ],
            Purpose::Side => &[
                ("journal_mode", "wal"),
                ("synchronous", "2"),
                ("wal_autocheckpoint", "1000"),
                ("temp_store", "2"),
                ("foreign_keys", "0"),
            ],
            Purpose::Secret => &[
                ("journal_mode", "wal"),
                ("synchronous", "2"),
                ("wal_autocheckpoint", "1000"),
                ("temp_store", "2"),
                ("foreign_keys", "0"),
                ("secure_delete", "1"),
            ],
            Purpose::Derived => &[
                ("journal_mode", "wal"),
                ("synchronous", "1"),
                ("wal_autocheckpoint", "0"),
                ("temp_store", "2"),
                ("foreign_keys", "0"),
            ],
            Purpose::Checkpoint => &[("journal_mode", "wal"), ("synchronous", "2"), ("wal_autocheckpoint", "0")],
            Purpose::Copy => &[("synchronous", "2"), ("temp_store", "2")],
            Purpose::Read => &[("query_only", "1"), ("temp_store", "2"), ("cache_size", "-8192")],
        }
    }
}

/// Opens one connection and checks its pragmas.
pub(in crate::store) async fn connect(path: &Path, purpose: Purpose) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options(path, purpose).connect().await?;
    verify(&mut connection, purpose).await?;
    Ok(connection)
}

/// The pool of read-only connections, all of them open and checked.
pub(super) async fn readers(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .min_connections(READERS)
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(READER_WITHIN)
        .after_connect(|connection, _| Box::pin(verify(connection, Purpose::Read)))
        .connect_with(options(path, Purpose::Read))
        .await
}

fn options(path: &Path, purpose: Purpose) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(matches!(purpose, Purpose::Log | Purpose::Side | Purpose::Secret))
        .read_only(matches!(purpose, Purpose::Read | Purpose::Copy))
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROW_BUFFER)
        .thread_name(move |id| format!("sqlite-{purpose:?}-{id}"))
        .disable_statement_logging();
    purpose.pragmas().iter().fold(options, |options, (name, value)| options.pragma(*name, *value))
}

async fn verify(connection: &mut SqliteConnection, purpose: Purpose) -> Result<(), sqlx::Error> {
    for (name, expected) in purpose.pragmas() {
        let found = pragma(connection, name).await?;
        if found != *expected {
            let error = DatabaseError::Pragma { name, found, expected };
            return Err(sqlx::Error::Configuration(error.into()));
        }
    }
    Ok(())
}

async fn pragma(connection: &mut SqliteConnection, name: &'static str) -> Result<String, sqlx::Error> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("pragma {name}"))).fetch_one(connection).await?;
    row.try_get_unchecked(0)
}

/// Small enough that a commit of one entry writes little, large enough for a dozen entries.
const PAGE_SIZE: &str = "4096";

/// Long reads (a backup, a document's whole log) leave connections for short ones.
const READERS: u32 = 3;

/// A reader that waits this long for a connection finds the store failing.
const READER_WITHIN: Duration = Duration::from_secs(30);

/// Rows that SQLite's thread may be ahead of us: most reads then wake each side once.
const ROW_BUFFER: usize = 1024;

/// Only another process (backup, inspection) ever holds a lock the writer must wait for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    async fn log_and_directory() -> (SqliteConnection, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let log = connect(&directory.path().join("a.db"), Purpose::Log).await.expect("a new database");
        (log, directory)
    }

    #[tokio::test]
    async fn only_commits_of_derived_data_may_return_before_the_disk_has_them() {
        let (mut log, directory) = log_and_directory().await;
        let path = directory.path().join("a.db");
        assert_eq!(pragma(&mut log, "synchronous").await.expect("a pragma"), "2");
        assert_eq!(pragma(&mut log, "journal_mode").await.expect("a pragma"), "wal");
        for (purpose, synchronous) in [(Purpose::Derived, "1"), (Purpose::Checkpoint, "2")] {
            let mut connection = connect(&path, purpose).await.expect("a connection");
            assert_eq!(pragma(&mut connection, "synchronous").await.expect("a pragma"), synchronous);
            assert_eq!(pragma(&mut connection, "wal_autocheckpoint").await.expect("a pragma"), "0");
        }
    }

    #[tokio::test]
    async fn no_pooled_reader_can_write() {
        let (mut log, directory) = log_and_directory().await;
        sqlx::query("create table t (x)").execute(&mut log).await.expect("a table");
        let pool = readers(&directory.path().join("a.db")).await.expect("readers");
        let mut connections = Vec::new();
        for _ in 0..READERS {
            let mut connection = pool.acquire().await.expect("a reader");
            assert_eq!(pragma(&mut connection, "query_only").await.expect("a pragma"), "1");
            let insert = sqlx::query("insert into t values (1)").execute(&mut *connection).await;
            assert!(insert.is_err());
            connections.push(connection);
        }
    }

    #[tokio::test]
    async fn a_pragma_that_reads_back_differently_is_refused() {
        let (mut log, _directory) = log_and_directory().await;
        sqlx::query("pragma synchronous = normal").execute(&mut log).await.expect("a pragma");
        let refused = verify(&mut log, Purpose::Log).await.expect_err("synchronous is not full");
        assert!(refused.to_string().contains("pragma synchronous is 1, expected 2"), "{refused}");
    }
}

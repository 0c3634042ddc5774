//! What SQLite's errors mean for whoever reads or writes the log.

use crate::store::StoreError;

/// Why a database cannot be opened, copied or written any more.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Written by a later release.
    #[error("the database has schema version {found}, this release knows versions up to {supported}")]
    NewerSchema {
        /// What the file says.
        found: i64,
        /// The newest this release can read.
        supported: i64,
    },
    /// A SQLite file of another program.
    #[error("the file is not a Feldakte database")]
    Foreign,
    /// SQLite did not take a setting that durability rests on.
    #[error("pragma {name} is {found}, expected {expected}")]
    Pragma {
        /// Which.
        name: &'static str,
        /// What SQLite reads back.
        found: String,
        /// What was set.
        expected: &'static str,
    },
    /// A backup or restore would overwrite something.
    #[error("the target exists already")]
    TargetExists,
    /// SQLite's own check found the file damaged.
    #[error("the database does not pass its integrity check")]
    Integrity,
    /// A commit failed half-way, or its caller was gone before it returned. Only reopening tells what is on the disk.
    #[error("writing has stopped after an interrupted commit; reopen the store")]
    Interrupted,
    /// [`close`](crate::store::Store::close) was called before.
    #[error("the store is closed")]
    Closed,
    /// Its content is sealed with keys that stand in another file.
    #[error("the log was sealed with another keyring: put that one back, or name it under [keys] path")]
    OtherKeyring,
    /// A snapshot of a document that no entry is about.
    #[error("the document is unknown")]
    UnknownDocument,
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Interrupted => StoreError::Unknown(error.into()),
            error => StoreError::Failed(error.into()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match Cause::of(&error) {
            Cause::Full => StoreError::Full,
            Cause::Damaged => StoreError::Damaged("the database file"),
            Cause::Disk | Cause::Other => StoreError::Failed(error.into()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => StoreError::Full,
            _ => StoreError::Failed(error.into()),
        }
    }
}

/// The kinds of trouble that are answered differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Cause {
    /// No room: the transaction is gone, the next may succeed.
    Full,
    /// The disk or the connection failed: nobody knows what it has kept.
    Disk,
    /// The file is not what was written.
    Damaged,
    /// A refused statement: nothing has happened.
    Other,
}

impl Cause {
    pub(in crate::store) fn of(error: &sqlx::Error) -> Cause {
        match error {
            sqlx::Error::Database(database) => {
                let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
                // The low byte is the primary code; the rest says where it happened.
                match code & 0xff {
                    SQLITE_FULL => Cause::Full,
                    SQLITE_IOERR => Cause::Disk,
                    SQLITE_CORRUPT | SQLITE_NOTADB => Cause::Damaged,
                    _ => Cause::Other,
                }
            }
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => Cause::Disk,
            _ => Cause::Other,
        }
    }
}

const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;

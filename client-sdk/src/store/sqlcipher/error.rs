//! SQLite's result codes, and stored values out of range, as [`LocalStoreError`].

use crate::store::LocalStoreError;

const ERROR: u32 = 1;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const IO: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const NOT_A_DATABASE: u32 = 26;

impl From<sqlx::Error> for LocalStoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(FULL) => LocalStoreError::Full,
            Some(BUSY | LOCKED) => LocalStoreError::InUse,
            // A page whose authentication fails is reported as ERROR, without an extended code. All our statements
            // are fixed and run in the tests, so nothing else is.
            Some(ERROR | CORRUPT | NOT_A_DATABASE) => LocalStoreError::Damaged("a page"),
            _ => match error {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => LocalStoreError::Damaged("a row"),
                error => LocalStoreError::Failed(Box::new(error)),
            },
        }
    }
}

/// Whether the first read with a key says that the key does not fit.
pub(super) fn is_wrong_key(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(ERROR | NOT_A_DATABASE))
}

/// Whether the disk failed to read, write or sync.
pub(super) fn is_disk_failure(error: &LocalStoreError) -> bool {
    let LocalStoreError::Failed(source) = error else { return false };
    source.downcast_ref().and_then(primary_code) == Some(IO)
}

/// What every method says after the store was closed.
pub(super) fn closed() -> LocalStoreError {
    LocalStoreError::Failed("the store is closed".into())
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

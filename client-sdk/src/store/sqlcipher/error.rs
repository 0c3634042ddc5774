//! SQLite's result codes, and stored values out of range, as [`LocalStoreError`].

use crate::store::LocalStoreError;

const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const IO: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const NOT_A_DATABASE: u32 = 26;

/// What is damaged when a page is.
pub(super) const PAGE: &str = "a page";

impl From<sqlx::Error> for LocalStoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(FULL) => LocalStoreError::Full,
            Some(BUSY | LOCKED) => LocalStoreError::InUse,
            // A page whose authentication fails, or whose content makes no sense.
            Some(CORRUPT | NOT_A_DATABASE) => LocalStoreError::Damaged(PAGE),
            _ => match error {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => LocalStoreError::Damaged("a row"),
                error => LocalStoreError::Failed(Box::new(error)),
            },
        }
    }
}

/// Whether the first read with a key says that the key does not fit.
pub(super) fn is_wrong_key(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(NOT_A_DATABASE)
}

/// Whether a page is damaged. SQLCipher then refuses everything else on that connection, too.
pub(super) fn is_damaged_page(error: &LocalStoreError) -> bool {
    matches!(error, LocalStoreError::Damaged(what) if *what == PAGE)
}

/// Whether the disk failed to read, write or sync.
pub(super) fn is_disk_failure(error: &LocalStoreError) -> bool {
    let LocalStoreError::Failed(source) = error else { return false };
    source.downcast_ref().and_then(primary_code) == Some(IO)
}

/// What every method says after the store was closed, or closed itself after a disk failure.
pub(super) fn closed() -> LocalStoreError {
    LocalStoreError::Failed("the store is closed".into())
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

//! A small database beside the log: one connection, one reader or writer at a time.
//!
//! A write that is given up in the middle is taken back; after a commit whose outcome is not known the file is opened anew
//! and tells what it has kept.

use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::{
    backup, checkpoint,
    connect::{self, Purpose},
    error::DatabaseError,
    migrate::Schema,
};
use crate::store::StoreError;

/// One open file.
#[derive(Debug)]
pub(in crate::store) struct SideFile {
    path: PathBuf,
    purpose: Purpose,
    schema: Schema,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Open(SqliteConnection),
    /// Somebody gave up in the middle of a write; the file tells what it has kept.
    Lost,
    Closed,
}

/// A transaction. Dropping it takes everything back.
pub(in crate::store) struct Writing<'f> {
    slot: MutexGuard<'f, Slot>,
    connection: SqliteConnection,
}

impl SideFile {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When it is of a later release or another kind of file, or SQLite does not take a setting.
    pub async fn open(path: &Path, purpose: Purpose, schema: Schema) -> Result<Self, StoreError> {
        let slot = Mutex::new(Slot::Open(connect(path, purpose, schema).await?));
        Ok(Self { path: path.to_owned(), purpose, schema, slot })
    }

    /// Writes a consistent copy of such a file, which another process may have open, to one that must not exist yet.
    ///
    /// # Errors
    /// [`DatabaseError::TargetExists`], [`DatabaseError::Foreign`] or what SQLite says.
    pub async fn backup(source: &Path, target: &Path, schema: Schema) -> Result<(), StoreError> {
        let mut copied = connect::connect(source, Purpose::Copy).await?;
        schema.check_version(&mut copied).await?;
        backup::copy(copied, target).await
    }

    /// The connection, to read.
    ///
    /// # Errors
    /// When the file is closed or does not open again.
    pub async fn read(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let slot = self.ready().await?;
        MutexGuard::try_map(slot, Slot::open).map_err(|_| DatabaseError::Closed.into())
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the file is closed, does not open again, or is locked.
    pub async fn begin(&self) -> Result<Writing<'_>, StoreError> {
        let mut slot = self.ready().await?;
        let Slot::Open(connection) = std::mem::replace(&mut *slot, Slot::Lost) else {
            return Err(DatabaseError::Closed.into());
        };
        let mut writing = Writing { slot, connection };
        sqlx::query("begin immediate").execute(writing.connection()).await?;
        Ok(writing)
    }

    /// Empties the write-ahead log; `false` while somebody else reads the file.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn empty_write_ahead_log(&self) -> Result<bool, StoreError> {
        Ok(checkpoint::truncate(&mut *self.read().await?).await?)
    }

    /// Lets go of the file. Nothing may be called afterwards.
    pub async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Open(connection) = slot
            && let Err(error) = connection.close().await
        {
            // Nothing is lost: the next start reads the write-ahead log.
            tracing::warn!(%error, path = %self.path.display(), "a database did not close");
        }
    }

    async fn ready(&self) -> Result<MutexGuard<'_, Slot>, StoreError> {
        let mut slot = self.slot.lock().await;
        match *slot {
            Slot::Open(_) => {}
            Slot::Lost => *slot = Slot::Open(connect(&self.path, self.purpose, self.schema).await?),
            Slot::Closed => return Err(DatabaseError::Closed.into()),
        }
        Ok(slot)
    }
}

impl Slot {
    fn open(&mut self) -> Option<&mut SqliteConnection> {
        match self {
            Slot::Open(connection) => Some(connection),
            Slot::Lost | Slot::Closed => None,
        }
    }
}

impl Writing<'_> {
    /// What to write with.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Full`], or [`StoreError::Unknown`].
    pub async fn commit(self) -> Result<(), StoreError> {
        self.end("commit").await.map_err(|error| match StoreError::from(error) {
            StoreError::Full => StoreError::Full,
            error => StoreError::Unknown(error.into()),
        })
    }

    /// Takes everything back and keeps the connection: for refusals, which are normal.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn undo(self) -> Result<(), StoreError> {
        Ok(self.end("rollback").await?)
    }

    async fn end(self, sql: &'static str) -> Result<(), sqlx::Error> {
        let Self { mut slot, mut connection } = self;
        sqlx::query(sql).execute(&mut connection).await?;
        *slot = Slot::Open(connection);
        Ok(())
    }
}

async fn connect(path: &Path, purpose: Purpose, schema: Schema) -> Result<SqliteConnection, StoreError> {
    let mut connection = connect::connect(path, purpose).await?;
    schema.migrate(&mut connection, async |_| Ok(())).await?;
    Ok(connection)
}

//! Who belongs to the gateway: operators, devices and their certificates, invitations, and what awaits a second operator.
//!
//! A SQLite file of its own beside the log, small and rarely written. Codes and tokens stand in it as hashes alone. A
//! write that is given up half-way takes its connection with it; the next one opens the file anew.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::{
    StoreError,
    sqlite::{
        backup,
        connect::{self, Purpose},
        error::DatabaseError,
    },
};

pub mod approvals;
pub mod devices;
pub mod invites;
pub mod operators;
mod row;
mod schema;

pub use self::{
    approvals::{Approval, ApprovalError, NewApproval},
    devices::{Certificate, Device, Revocation, RevocationReason},
    invites::{Invite, NewInvite},
    operators::{Operator, OperatorRole, OperatorRoles, TokenHash},
};

/// The registry of one gateway.
#[derive(Debug)]
pub struct RegistryStore {
    path: PathBuf,
    connection: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Open(SqliteConnection),
    /// Somebody gave up in the middle of a write; the file tells what it has kept.
    Lost,
    Closed,
}

/// A transaction. Dropping it takes everything back.
struct Writing<'r> {
    slot: MutexGuard<'r, Slot>,
    connection: SqliteConnection,
}

impl RegistryStore {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When it is of a later release or not a registry, or SQLite does not take a setting.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        let connection = Mutex::new(Slot::Open(connect(path).await?));
        Ok(Arc::new(Self { path: path.to_owned(), connection }))
    }

    /// Writes a consistent copy of a registry, which another process may have open, to a file that must not exist yet.
    ///
    /// # Errors
    /// [`DatabaseError::TargetExists`], [`DatabaseError::Foreign`] or what SQLite says.
    pub async fn backup(source: &Path, target: &Path) -> Result<(), StoreError> {
        let mut copied = connect::connect(source, Purpose::Copy).await?;
        schema::SCHEMA.check_version(&mut copied).await?;
        backup::copy(copied, target).await
    }

    /// Lets go of the file. Nothing may be called afterwards.
    pub async fn close(&self) {
        let slot = std::mem::replace(&mut *self.connection.lock().await, Slot::Closed);
        if let Slot::Open(connection) = slot
            && let Err(error) = connection.close().await
        {
            // Nothing is lost: the next start reads the write-ahead log.
            tracing::warn!(%error, "the registry did not close");
        }
    }

    async fn read(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let slot = self.ready().await?;
        MutexGuard::try_map(slot, Slot::open).map_err(|_| DatabaseError::Closed.into())
    }

    async fn begin(&self) -> Result<Writing<'_>, StoreError> {
        let mut slot = self.ready().await?;
        let Slot::Open(connection) = std::mem::replace(&mut *slot, Slot::Lost) else {
            return Err(DatabaseError::Closed.into());
        };
        let mut writing = Writing { slot, connection };
        sqlx::query("begin immediate").execute(writing.connection()).await?;
        Ok(writing)
    }

    async fn ready(&self) -> Result<MutexGuard<'_, Slot>, StoreError> {
        let mut slot = self.connection.lock().await;
        match *slot {
            Slot::Open(_) => {}
            Slot::Lost => *slot = Slot::Open(connect(&self.path).await?),
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
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Durable when it returns.
    async fn commit(self) -> Result<(), StoreError> {
        self.end("commit").await.map_err(|error| match StoreError::from(error) {
            StoreError::Full => StoreError::Full,
            error => StoreError::Unknown(error.into()),
        })
    }

    /// Takes everything back and keeps the connection: for refusals, which are normal.
    async fn undo(self) -> Result<(), StoreError> {
        Ok(self.end("rollback").await?)
    }

    async fn end(self, sql: &'static str) -> Result<(), sqlx::Error> {
        let Self { mut slot, mut connection } = self;
        sqlx::query(sql).execute(&mut connection).await?;
        *slot = Slot::Open(connection);
        Ok(())
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = connect::connect(path, Purpose::Side).await?;
    schema::migrate(&mut connection).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests;

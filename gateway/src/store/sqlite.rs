//! The store on one machine: SQLite in WAL mode, every commit of the log fsynced before it returns.
//!
//! One connection appends, three read, one copies the write-ahead log into the database beside them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use async_trait::async_trait;
use feldakte_core::ids::{DocumentId, Epoch, Position, TenantId};
use sqlx::SqlitePool;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Append, Changed, DocumentLog, Head, Reader, Store, StoreError, Stored, StoredSnapshot};

pub(super) mod backup;
mod batch;
mod checkpoint;
pub(super) mod connect;
pub(super) mod error;
mod key;
pub(super) mod migrate;
mod read;
pub(super) mod row;
mod schema;
pub(super) mod side;
mod snapshot;
mod tenants;
mod writer;

pub use error::DatabaseError;

use self::{
    batch::Batch,
    checkpoint::{Checkpointer, Meter},
    connect::Purpose,
    read::Range,
    snapshot::SnapshotRow,
    tenants::Tenants,
    writer::Writer,
};

/// The log in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    epoch: Epoch,
    /// As of the last commit. Never locked across an `.await`.
    tenants: RwLock<Tenants>,
    /// `None` once closed.
    writer: Arc<Mutex<Option<Writer>>>,
    readers: SqlitePool,
    meter: Arc<Meter>,
    checkpoints: std::sync::Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
}

impl SqliteStore {
    /// Opens the database, or creates it; only a new one takes the epoch.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with a [`DatabaseError`] when the file is of a later release or not ours at all, or when
    /// SQLite does not take a setting.
    pub async fn open(path: &Path, new_epoch: Epoch) -> Result<Arc<Self>, StoreError> {
        let mut log = connect::connect(path, Purpose::Log).await?;
        schema::migrate(&mut log, new_epoch).await?;
        let epoch = schema::read_epoch(&mut log).await?;
        let tenants = Tenants::load(&mut log).await?;
        let derived = connect::connect(path, Purpose::Derived).await?;
        let writer = Arc::new(Mutex::new(Some(Writer::new(log, derived))));
        let readers = connect::readers(path).await?;
        let (meter, stop) = (Arc::new(Meter::default()), CancellationToken::new());
        let checkpointer = Checkpointer::open(path, Arc::clone(&meter), Arc::clone(&writer)).await?;
        let checkpoints = tokio::spawn(checkpointer.run(stop.clone()));
        Ok(Arc::new(Self {
            path: path.to_owned(),
            epoch,
            tenants: RwLock::new(tenants),
            writer,
            readers,
            meter,
            checkpoints: std::sync::Mutex::new(Some(checkpoints)),
            stop,
        }))
    }

    /// Writes down that content is sealed with the keyring of that id; from then on the log goes with no other.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`DatabaseError::OtherKeyring`] when it was sealed with another one.
    pub async fn seal_with(&self, keyring: Uuid) -> Result<(), StoreError> {
        open_writer(&mut self.writer.lock().await)?.seal_with(keyring).await
    }

    /// Writes a consistent copy to a file that must not exist yet; appends go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`DatabaseError::TargetExists`], or what SQLite says.
    pub async fn backup_to(&self, target: &Path) -> Result<(), StoreError> {
        Self::backup(&self.path, target).await
    }

    /// Like [`SqliteStore::backup_to`], for a database that another process may have open.
    ///
    /// # Errors
    /// The same.
    pub async fn backup(source: &Path, target: &Path) -> Result<(), StoreError> {
        backup::backup(source, target).await
    }

    /// Makes a new database from a backup: the same log in a new epoch. [`Head::restored_to`] says where it ended.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with a [`DatabaseError`] when `target` exists, or the backup is damaged or not ours.
    pub async fn restore(backup: &Path, target: &Path, new_epoch: Epoch) -> Result<(), StoreError> {
        backup::restore(backup, target, new_epoch).await
    }

    /// Limits the database to so many pages of 4 KiB; beyond it writing fails with [`StoreError::Full`], as on a disk
    /// without room. It never becomes smaller than it is.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        open_writer(&mut self.writer.lock().await)?.limit_pages(pages).await
    }

    fn tenants(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tenant's number and the range, unless nothing can be in it.
    fn range(&self, tenant: &TenantId, after: Position, up_to: Position) -> Option<(i64, Range)> {
        let number = self.tenants().number(tenant)?;
        let range = Range::new(number, after, up_to);
        (!range.is_empty()).then_some((number, range))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.epoch)
    }

    async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        Ok(self.tenants().head(tenant))
    }

    async fn append(&self, entries: &[Append]) -> Result<Vec<Position>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut guard = self.writer.lock().await;
        let writer = open_writer(&mut guard)?;
        let batch = Batch::plan(&self.tenants(), entries)?;
        writer.append(&batch).await?;
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        for (tenant, row) in &batch.tenants {
            tenants.advance(tenant, *row);
        }
        drop(tenants);
        self.meter.add(batch.write_ahead_len());
        Ok(batch.positions)
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentLog>, StoreError> {
        read::document(&self.readers, document).await
    }

    async fn entries_after(&self, document: DocumentId, after: Position) -> Result<Vec<Stored>, StoreError> {
        read::entries_after(&self.readers, document, after).await
    }

    async fn changed(
        &self,
        reader: &Reader,
        after: Position,
        up_to: Position,
        now_ms: i64,
    ) -> Result<Vec<Changed>, StoreError> {
        match self.range(&reader.tenant, after, up_to) {
            Some((tenant, range)) => read::changed(&self.readers, tenant, reader, (range, now_ms)).await,
            None => Ok(Vec::new()),
        }
    }

    async fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Position>, StoreError> {
        match self.range(tenant, after, up_to) {
            Some((_, range)) => read::positions(&self.readers, documents, range).await,
            None => Ok(Vec::new()),
        }
    }

    async fn read(&self, tenant: &TenantId, positions: &[Position]) -> Result<Vec<Stored>, StoreError> {
        let number = self.tenants().number(tenant);
        match number {
            Some(number) => read::entries_at(&self.readers, number, positions).await,
            None => Ok(Vec::new()),
        }
    }

    async fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> Result<bool, StoreError> {
        let number = self.tenants().number(&reader.tenant);
        match number {
            Some(number) => read::may_read(&self.readers, number, reader, (document, now_ms)).await,
            None => Ok(false),
        }
    }

    async fn lapsed(
        &self,
        now_ms: i64,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        read::lapsed(&self.readers, now_ms, after, limit).await
    }

    async fn snapshot(&self, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError> {
        read::snapshot(&self.readers, document).await
    }

    async fn put_snapshot(&self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        let row = SnapshotRow::new(document, snapshot);
        let len = row.chunks.len() + row.actors.len();
        let writer = Arc::clone(&self.writer);
        let write = async move { open_writer(&mut writer.lock().await)?.put_snapshot(document, row).await };
        to_the_end(write).await?;
        self.meter.add(len as u64);
        Ok(())
    }

    async fn unprojected(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        read::unprojected(&self.readers, limit).await
    }

    /// The append before this call shows that commits succeed; without one since the last probe, one small commit is
    /// made, with its one fsync.
    async fn probe(&self) -> Result<(), StoreError> {
        let writer = Arc::clone(&self.writer);
        to_the_end(async move { open_writer(&mut writer.lock().await)?.probe().await }).await
    }

    async fn close(&self) {
        self.stop.cancel();
        let checkpoints = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = match checkpoints {
            Some(task) => Some(task.await),
            None => None,
        } {
            tracing::error!(%error, "the checkpoint task died");
        }
        let Some(writer) = self.writer.lock().await.take() else {
            return;
        };
        self.readers.close().await;
        if let Err(error) = writer.close().await {
            // Nothing is lost: the next start reads the write-ahead log.
            tracing::warn!(%error, "the last checkpoint failed");
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Goes on with a write when its caller goes away: a commit whose outcome nobody looks at would hide a failing disk.
async fn to_the_end(write: impl Future<Output = Result<(), StoreError>> + Send + 'static) -> Result<(), StoreError> {
    tokio::spawn(write).await.unwrap_or_else(|error| Err(StoreError::Failed(error.into())))
}

fn open_writer<'g>(guard: &'g mut MutexGuard<'_, Option<Writer>>) -> Result<&'g mut Writer, StoreError> {
    guard.as_mut().ok_or_else(|| DatabaseError::Closed.into())
}

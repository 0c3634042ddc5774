//! A store with a test's hand in it: a call waits, fails or panics when the test says so.

use std::sync::Arc;

use async_trait::async_trait;
use feldakte_core::ids::{DocumentId, Epoch, Position, TenantId};
use feldakte_gateway::store::{
    Append, Changed, DocumentLog, Head, Reader, SharedStore, Store, StoreError, Stored, StoredSnapshot,
};
use tokio::sync::Semaphore;

/// A call that a test may have a hand in.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// [`Store::append`].
    Append(&'a [Append]),
    /// [`Store::snapshot`].
    Snapshot(DocumentId),
    /// [`Store::put_snapshot`].
    PutSnapshot(DocumentId),
}

/// What comes of a call.
#[derive(Debug)]
pub enum Act {
    /// The store does it.
    Pass,
    /// The store does it once the semaphore gives a permit.
    Hold(Arc<Semaphore>),
    /// The store does not do it, and says this.
    Fail(StoreError),
    /// A bug.
    Panic,
}

/// The store.
pub struct FaultyStore {
    inner: SharedStore,
    decide: Box<dyn Fn(Call<'_>) -> Act + Send + Sync>,
}

impl FaultyStore {
    /// `inner`, as far as `decide` lets it.
    pub fn new(inner: SharedStore, decide: impl Fn(Call<'_>) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { inner, decide: Box::new(decide) })
    }

    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        match (self.decide)(call) {
            Act::Pass => Ok(()),
            Act::Hold(semaphore) => {
                semaphore.acquire().await.expect("nobody closes it").forget();
                Ok(())
            }
            Act::Fail(error) => Err(error),
            Act::Panic => panic!("the test wants it"),
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.inner.epoch().await
    }

    async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        self.inner.head(tenant).await
    }

    async fn append(&self, entries: &[Append]) -> Result<Vec<Position>, StoreError> {
        self.before(Call::Append(entries)).await?;
        self.inner.append(entries).await
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentLog>, StoreError> {
        self.inner.document(document).await
    }

    async fn entries_after(&self, document: DocumentId, after: Position) -> Result<Vec<Stored>, StoreError> {
        self.inner.entries_after(document, after).await
    }

    async fn changed(
        &self,
        reader: &Reader,
        after: Position,
        up_to: Position,
        now_ms: i64,
    ) -> Result<Vec<Changed>, StoreError> {
        self.inner.changed(reader, after, up_to, now_ms).await
    }

    async fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.positions(tenant, documents, after, up_to).await
    }

    async fn read(&self, tenant: &TenantId, positions: &[Position]) -> Result<Vec<Stored>, StoreError> {
        self.inner.read(tenant, positions).await
    }

    async fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> Result<bool, StoreError> {
        self.inner.may_read(reader, document, now_ms).await
    }

    async fn lapsed(
        &self,
        now_ms: i64,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.inner.lapsed(now_ms, after, limit).await
    }

    async fn snapshot(&self, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError> {
        self.before(Call::Snapshot(document)).await?;
        self.inner.snapshot(document).await
    }

    async fn put_snapshot(&self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        self.before(Call::PutSnapshot(document)).await?;
        self.inner.put_snapshot(document, snapshot).await
    }

    async fn unprojected(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        self.inner.unprojected(limit).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.inner.probe().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

//! The gateway's store under observation: it reports commits to the witness, takes time to read, and fails on order.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use feldakte_core::{
    access::Subject,
    ids::{DocumentId, Epoch, Position, TenantId},
};
use feldakte_gateway::store::{Append, Changed, DocumentLog, Head, Reader, Store, StoreError, Stored, StoredSnapshot};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::witness::{Invariant, Witness};
use crate::memory_store::MemoryStore;

/// Whether the store keeps to its contract about grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permits {
    /// It reports the grants there are.
    Checked,
    /// It reports everything in the tenant as granted to everybody: the negative control of *authority*.
    Ignored,
}

/// What goes wrong with the store's next commits. Survives restarts of the gateway.
#[derive(Debug, Default)]
pub struct CommitFaults {
    /// The machine loses power while the next commit is under way.
    pub crash_in_next: AtomicBool,
    /// Set when that moment has come.
    pub crash_now: AtomicBool,
    /// The next commit is written, but nobody learns it.
    pub lose_next_outcome: AtomicBool,
}

/// The store as the gateway sees it.
pub struct WatchedStore {
    inner: Arc<MemoryStore>,
    witness: Arc<Witness>,
    faults: Arc<CommitFaults>,
    permits: Permits,
    /// The most entries that honest tablets can have under way together.
    batch_max: usize,
    known: Mutex<Known>,
}

struct Known {
    rng: StdRng,
    subjects: BTreeSet<Subject>,
}

impl WatchedStore {
    /// Watches `inner` for one life of the gateway.
    pub fn new(
        inner: Arc<MemoryStore>,
        witness: Arc<Witness>,
        faults: Arc<CommitFaults>,
        permits: Permits,
        batch_max: usize,
        seed: u64,
    ) -> Self {
        let subjects = inner.entries().iter().flat_map(|(_, _, append)| subjects_of(append)).collect();
        let known = Known { rng: StdRng::seed_from_u64(seed), subjects };
        Self { inner, witness, faults, permits, batch_max, known: Mutex::new(known) }
    }

    /// A read takes its time: what was checked before it may have changed after it.
    async fn seek(&self) {
        let micros = self.known().rng.random_range(0..3_000);
        if micros > 1_000 {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }

    fn reader(&self, reader: &Reader) -> Reader {
        match self.permits {
            Permits::Checked => reader.clone(),
            Permits::Ignored => {
                let subjects = self.known().subjects.iter().cloned().chain(reader.subjects.iter().cloned()).collect();
                Reader { subjects, ..reader.clone() }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subjects_of(append: &Append) -> impl Iterator<Item = Subject> + '_ {
    append.entry.grants.iter().map(|grant| grant.subject.clone())
}

#[async_trait]
impl Store for WatchedStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.inner.epoch().await
    }

    async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        self.seek().await;
        self.inner.head(tenant).await
    }

    async fn append(&self, entries: &[Append]) -> Result<Vec<Position>, StoreError> {
        if entries.len() > self.batch_max {
            let what = format!("{} entries in one commit, at most {} can wait", entries.len(), self.batch_max);
            self.witness.violate(Invariant::Bounds, what);
        }
        if self.faults.crash_in_next.swap(false, Ordering::Relaxed) {
            self.faults.crash_now.store(true, Ordering::Relaxed);
        }
        let positions = self.inner.append(entries).await?;
        self.known().subjects.extend(entries.iter().flat_map(subjects_of));
        if self.faults.lose_next_outcome.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Unknown("the connection was lost during the commit".into()));
        }
        self.witness.committed(entries, &positions);
        Ok(positions)
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentLog>, StoreError> {
        self.seek().await;
        self.inner.document(document).await
    }

    async fn entries_after(&self, document: DocumentId, after: Position) -> Result<Vec<Stored>, StoreError> {
        self.seek().await;
        self.inner.entries_after(document, after).await
    }

    async fn changed(
        &self,
        reader: &Reader,
        after: Position,
        up_to: Position,
        now_ms: i64,
    ) -> Result<Vec<Changed>, StoreError> {
        self.seek().await;
        self.inner.changed(&self.reader(reader), after, up_to, now_ms).await
    }

    async fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Position>, StoreError> {
        self.seek().await;
        self.inner.positions(tenant, documents, after, up_to).await
    }

    async fn read(&self, tenant: &TenantId, positions: &[Position]) -> Result<Vec<Stored>, StoreError> {
        self.seek().await;
        self.inner.read(tenant, positions).await
    }

    async fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> Result<bool, StoreError> {
        self.seek().await;
        self.inner.may_read(&self.reader(reader), document, now_ms).await
    }

    async fn lapsed(
        &self,
        now_ms: i64,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.seek().await;
        self.inner.lapsed(now_ms, after, limit).await
    }

    async fn snapshot(&self, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError> {
        self.seek().await;
        self.inner.snapshot(document).await
    }

    async fn put_snapshot(&self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        self.seek().await;
        self.inner.put_snapshot(document, snapshot).await
    }

    async fn unprojected(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        self.seek().await;
        self.inner.unprojected(limit).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.inner.probe().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

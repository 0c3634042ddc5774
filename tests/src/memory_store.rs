//! The gateway's store in memory, for simulations: it loses at a crash what it had not synced.
//!
//! The same store goes on after [`MemoryStore::crash`]: it is the disk, not the process.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use feldakte_core::ids::{DocumentId, Epoch, Position, TenantId};
use feldakte_gateway::store::{Append, Changed, DocumentLog, Head, Reader, Store, StoreError, Stored, StoredSnapshot};
use tokio::{sync::watch, time::Instant};

mod image;

use image::Image;

/// A log that is durable in the simulation's sense. Same calls, same answers.
pub struct MemoryStore {
    epoch: Epoch,
    /// How long the next sync takes.
    sync_delay: Box<dyn Fn() -> Duration + Send + Sync>,
    honesty: Honesty,
    /// One append at a time, in the order they came.
    turn: tokio::sync::Mutex<()>,
    crashes: watch::Sender<u64>,
    state: Mutex<State>,
}

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Honesty {
    AfterSync,
    BeforeSync,
}

/// How many entries of each tenant.
type Lengths = BTreeMap<TenantId, usize>;

#[derive(Debug, Default)]
struct State {
    image: Image,
    synced: Lengths,
    /// Of a lying store: what will be synced, and when.
    promised: VecDeque<(Instant, Lengths)>,
    /// What a crash puts back in place of snapshots written since the last sync.
    overwritten: BTreeMap<DocumentId, Option<StoredSnapshot>>,
    disk_full: bool,
}

/// The simulated machine went down.
#[derive(Debug, thiserror::Error)]
#[error("crashed")]
struct Crashed;

impl MemoryStore {
    /// An empty log whose syncs take as long as `sync_delay` says each time it is asked.
    pub fn new(epoch: Epoch, sync_delay: impl Fn() -> Duration + Send + Sync + 'static) -> Arc<Self> {
        Self::with(epoch, sync_delay, Honesty::AfterSync)
    }

    /// A store that acknowledges at once and syncs afterwards: a simulation that does not notice proves nothing.
    pub fn acks_before_sync(epoch: Epoch, sync_delay: impl Fn() -> Duration + Send + Sync + 'static) -> Arc<Self> {
        Self::with(epoch, sync_delay, Honesty::BeforeSync)
    }

    fn with(epoch: Epoch, sync_delay: impl Fn() -> Duration + Send + Sync + 'static, honesty: Honesty) -> Arc<Self> {
        let (turn, state) = (tokio::sync::Mutex::default(), Mutex::default());
        let crashes = watch::Sender::new(0);
        Arc::new(Self { epoch, sync_delay: Box::new(sync_delay), honesty, turn, crashes, state })
    }

    /// Drops everything that is not synced and fails the append under way.
    pub fn crash(&self) {
        let mut state = self.state();
        state.settle(Instant::now());
        let State { image, synced, promised, overwritten, .. } = &mut *state;
        promised.clear();
        image.truncate(synced);
        for (document, before) in std::mem::take(overwritten) {
            image.restore_snapshot(document, before);
        }
        drop(state);
        self.crashes.send_modify(|count| *count += 1);
    }

    /// Whether writing fails with [`StoreError::Full`].
    pub fn disk_full(&self, full: bool) {
        self.state().disk_full = full;
    }

    /// Acknowledged and durable entries of all tenants, each as it was written: what a simulation checks against.
    pub fn entries(&self) -> Vec<(TenantId, Position, Append)> {
        self.state().image.entries()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic leaves this store half-written")
    }

    /// Waits for the disk.
    async fn sync(&self) -> Result<(), StoreError> {
        let mut crashes = self.crashes.subscribe();
        tokio::select! {
            biased;
            _ = crashes.changed() => Err(StoreError::Unknown(Crashed.into())),
            () = tokio::time::sleep((self.sync_delay)()) => Ok(()),
        }
    }
}

impl State {
    fn room(&self) -> Result<(), StoreError> {
        if self.disk_full { Err(StoreError::Full) } else { Ok(()) }
    }

    fn settle(&mut self, now: Instant) {
        while let Some((_, lengths)) = self.promised.pop_front_if(|(due, _)| *due <= now) {
            self.on_synced(lengths);
        }
    }

    fn on_synced(&mut self, lengths: Lengths) {
        self.synced = lengths;
        self.overwritten.clear();
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.epoch)
    }

    async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        Ok(Head { position: self.state().image.head(tenant), restored_to: None })
    }

    async fn append(&self, entries: &[Append]) -> Result<Vec<Position>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.turn.lock().await;
        self.state().room()?;
        if self.honesty == Honesty::AfterSync {
            self.sync().await?;
        }
        let mut state = self.state();
        state.room()?;
        let positions = state.image.append(entries)?;
        let lengths = state.image.lengths();
        match self.honesty {
            Honesty::AfterSync => state.on_synced(lengths),
            Honesty::BeforeSync => {
                let now = Instant::now();
                state.settle(now);
                state.promised.push_back((now + (self.sync_delay)(), lengths));
            }
        }
        Ok(positions)
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentLog>, StoreError> {
        Ok(self.state().image.document(document))
    }

    async fn entries_after(&self, document: DocumentId, after: Position) -> Result<Vec<Stored>, StoreError> {
        let log = self.state().image.document(document);
        let entries = log.map(|log| log.entries).unwrap_or_default();
        Ok(entries.into_iter().filter(|entry| entry.position > after).collect())
    }

    async fn changed(
        &self,
        reader: &Reader,
        after: Position,
        up_to: Position,
        now_ms: i64,
    ) -> Result<Vec<Changed>, StoreError> {
        Ok(self.state().image.changed(reader, after, up_to, now_ms))
    }

    async fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Position>, StoreError> {
        Ok(self.state().image.positions(tenant, documents, after, up_to))
    }

    async fn read(&self, tenant: &TenantId, positions: &[Position]) -> Result<Vec<Stored>, StoreError> {
        Ok(self.state().image.read(tenant, positions))
    }

    async fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> Result<bool, StoreError> {
        Ok(self.state().image.may_read(reader, document, now_ms))
    }

    async fn lapsed(
        &self,
        now_ms: i64,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        Ok(self.state().image.lapsed(now_ms, after, limit))
    }

    async fn snapshot(&self, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError> {
        Ok(self.state().image.snapshot(document).cloned())
    }

    async fn put_snapshot(&self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        let mut state = self.state();
        state.room()?;
        let before = state.image.snapshot(document).cloned();
        state.image.put_snapshot(document, snapshot)?;
        state.overwritten.entry(document).or_insert(before);
        Ok(())
    }

    async fn unprojected(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        Ok(self.state().image.unprojected(limit))
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.state().room()
    }

    async fn close(&self) {}
}

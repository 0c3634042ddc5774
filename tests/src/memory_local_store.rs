//! A device's store for the simulation: in memory, on simulated time, and it loses what was not synced.
//!
//! A write takes effect when its simulated sync ends, never before, so whatever was answered survives
//! [`MemoryLocalStore::crash`]. With [`Durability::AcksBeforeSync`] it answers at once and syncs later: the negative
//! control that shows whether a test would notice lost writes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use feldakte_client_sdk::store::{
    Answer, ClockState, DocumentEdit, DocumentState, LocalDocument, LocalState, LocalStore, LocalStoreError, LocalUser,
    OwnChange, Parked, Reader, Received, ReceivedSnapshot, Unsent,
};
use feldakte_core::ids::{CaseId, ChangeHash, Cursor, DocumentId, Epoch, Part, Position, UserId};
use feldakte_proto::{Login, OpenedOffline, Receipts, Seen};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::tables::Tables;

mod tables;

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After it was synced, as it must be.
    SyncsFirst,
    /// Before: wrong on purpose.
    AcksBeforeSync,
}

/// One opening of a simulated store. Ends with [`MemoryLocalStore::crash`] or `close`; then
/// [`MemoryLocalStore::reopen`] finds what was synced.
pub struct MemoryLocalStore {
    disk: Arc<Mutex<Disk>>,
    fsync: Duration,
    durability: Durability,
    /// One operation at a time, in the order of arrival, as on one connection.
    turn: tokio::sync::Mutex<()>,
    ended: CancellationToken,
}

struct Disk {
    tables: Tables,
    /// For each answered write that is not synced yet: when it will be, and the tables before it.
    unsynced: VecDeque<(Instant, Tables)>,
}

impl MemoryLocalStore {
    /// An empty store with this id, whose syncs take `fsync`.
    pub fn new(store: Epoch, fsync: Duration, durability: Durability) -> Arc<Self> {
        let disk = Disk { tables: Tables::new(store), unsynced: VecDeque::new() };
        Self::on(Arc::new(Mutex::new(disk)), fsync, durability)
    }

    fn on(disk: Arc<Mutex<Disk>>, fsync: Duration, durability: Durability) -> Arc<Self> {
        let (turn, ended) = (tokio::sync::Mutex::new(()), CancellationToken::new());
        Arc::new(Self { disk, fsync, durability, turn, ended })
    }

    /// Power cut: what was not synced is gone, calls under way and all later ones fail.
    pub fn crash(&self) {
        self.ended.cancel();
        let mut disk = self.disk();
        disk.forget_synced();
        if let Some((_, before)) = disk.unsynced.pop_front() {
            disk.tables = before;
            disk.unsynced.clear();
        }
    }

    /// Opens what was synced, after a crash or `close`.
    ///
    /// # Errors
    /// [`LocalStoreError::InUse`] while this opening has not ended.
    pub fn reopen(&self) -> Result<Arc<Self>, LocalStoreError> {
        match self.ended.is_cancelled() {
            true => {
                self.disk().tables.forget_what_is_not_stored();
                Ok(Self::on(Arc::clone(&self.disk), self.fsync, self.durability))
            }
            false => Err(LocalStoreError::InUse),
        }
    }

    async fn read<T>(&self, operation: impl FnOnce(&Tables) -> T) -> Result<T, LocalStoreError> {
        self.until_ended(async {
            let _turn = self.turn.lock().await;
            operation(&self.disk().tables)
        })
        .await
    }

    async fn write<T>(&self, operation: impl FnOnce(&mut Tables) -> T) -> Result<T, LocalStoreError> {
        self.until_ended(async {
            let _turn = self.turn.lock().await;
            if self.durability == Durability::AcksBeforeSync {
                return self.disk().write_unsynced(Instant::now() + self.fsync, operation);
            }
            if !self.fsync.is_zero() {
                sleep(self.fsync).await;
            }
            operation(&mut self.disk().tables)
        })
        .await
    }

    async fn until_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, LocalStoreError> {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(LocalStoreError::Failed("the store is closed".into())),
            done = work => Ok(done),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("operations on the tables do not panic")
    }
}

impl Disk {
    fn write_unsynced<T>(&mut self, synced_at: Instant, operation: impl FnOnce(&mut Tables) -> T) -> T {
        self.forget_synced();
        self.unsynced.push_back((synced_at, self.tables.clone()));
        operation(&mut self.tables)
    }

    fn forget_synced(&mut self) {
        let now = Instant::now();
        while self.unsynced.front().is_some_and(|(synced_at, _)| *synced_at <= now) {
            self.unsynced.pop_front();
        }
    }
}

#[async_trait]
impl LocalStore for MemoryLocalStore {
    async fn state(&self) -> Result<LocalState, LocalStoreError> {
        self.read(Tables::state).await
    }

    async fn documents(&self) -> Result<Vec<DocumentState>, LocalStoreError> {
        self.read(Tables::documents).await
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentState>, LocalStoreError> {
        self.read(|tables| tables.document(document)).await
    }

    async fn first_generation(&self, document: DocumentId) -> Result<u32, LocalStoreError> {
        self.read(|tables| tables.first_generation(document)).await
    }

    async fn is_hidden(&self, document: DocumentId) -> Result<bool, LocalStoreError> {
        self.read(|tables| tables.is_hidden(document)).await
    }

    async fn pending(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.read(Tables::pending).await
    }

    async fn load(&self, document: DocumentId) -> Result<Option<LocalDocument>, LocalStoreError> {
        self.read(|tables| tables.load(document)).await
    }

    async fn save_edits(&self, edits: &[DocumentEdit]) -> Result<(), LocalStoreError> {
        self.write(|tables| edits.iter().for_each(|edit| tables.save_edit(edit.document, &edit.changes))).await
    }

    async fn save_received(&self, received: &Received) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.save_received(received)).await
    }

    async fn save_snapshot(&self, snapshot: &ReceivedSnapshot) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.save_snapshot(snapshot)).await
    }

    async fn unsent(&self, after: u64, limit_bytes: usize) -> Result<Vec<Unsent>, LocalStoreError> {
        self.read(|tables| tables.unsent(after, limit_bytes)).await
    }

    async fn save_answer(&self, answer: &Answer) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.save_answer(answer)).await
    }

    async fn parked(&self, document: DocumentId) -> Result<Vec<Parked>, LocalStoreError> {
        self.read(|tables| tables.parked(document)).await
    }

    async fn save_redone(
        &self,
        document: DocumentId,
        replaced: &[ChangeHash],
        changes: &[OwnChange],
    ) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.save_redone(document, replaced, changes)).await
    }

    async fn begin_epoch(&self, cursor: Cursor, restored_to: Position) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.begin_epoch(cursor, restored_to)).await
    }

    async fn compact(
        &self,
        document: DocumentId,
        chunks: &[u8],
        covered: &[ChangeHash],
    ) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.compact(document, chunks, covered)).await
    }

    async fn purge(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.write(|tables| tables.purge()).await
    }

    async fn evict(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.write(|tables| tables.evict()).await
    }

    async fn set_active(&self, user: Option<UserId>, reader: Reader) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.set_active(user, reader)).await
    }

    async fn cursor_of(&self, reader: Reader) -> Result<Option<Cursor>, LocalStoreError> {
        self.read(|tables| tables.cursor_of(reader)).await
    }

    async fn users(&self) -> Result<Vec<LocalUser>, LocalStoreError> {
        self.read(Tables::users).await
    }

    async fn save_user(&self, user: &LocalUser) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.save_user(user)).await
    }

    async fn unsafe_of_others(&self) -> Result<u64, LocalStoreError> {
        self.read(Tables::unsafe_of_others).await
    }

    async fn order_wipe(&self, order: [u8; 16]) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.order_wipe(order)).await
    }

    async fn wipe(&self) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.wipe()).await
    }

    async fn save_clock(&self, clock: ClockState) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.save_clock(clock)).await
    }

    async fn note_reads(&self, reads: &[Seen]) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.note_reads(reads)).await
    }

    async fn note_login(&self, login: Login) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.note_login(login)).await
    }

    async fn hidden_cases(&self) -> Result<Vec<CaseId>, LocalStoreError> {
        self.read(Tables::hidden_cases).await
    }

    async fn begin_emergency(
        &self,
        opened: &OpenedOffline,
        parts: &[Part],
    ) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.write(|tables| tables.begin_emergency(opened, parts)).await
    }

    async fn end_emergency(&self, case: CaseId) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.end_emergency(case)).await
    }

    async fn receipts(&self) -> Result<Receipts, LocalStoreError> {
        self.read(Tables::receipts).await
    }

    async fn confirm(&self, receipts: &Receipts) -> Result<(), LocalStoreError> {
        self.write(|tables| tables.confirm(receipts)).await
    }

    /// Syncs what is under way, then ends.
    async fn close(&self) {
        let _turn = self.turn.lock().await;
        self.disk().unsynced.clear();
        self.ended.cancel();
    }
}

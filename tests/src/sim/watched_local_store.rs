//! A tablet's store under observation: whatever reaches the tablet passes here on its way to the disk.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use feldakte_client_sdk::store::{
    Answer, ClockState, DocumentEdit, DocumentState, LocalDocument, LocalState, LocalStore, LocalStoreError, LocalUser,
    OwnChange, Parked, Reader, Received, ReceivedSnapshot, Unsent,
};
use feldakte_core::{
    case::GENESIS_ACTOR,
    change::Change,
    crdt::Document,
    ids::{CaseId, ChangeHash, Cursor, DocumentId, Part, Position, UserId},
};
use feldakte_proto::{Login, OpenedOffline, Receipts, Seen};

use super::witness::Witness;

/// What goes wrong with a tablet's disk. Survives restarts.
#[derive(Debug, Default)]
pub struct DiskFaults {
    /// It takes no writes.
    pub is_full: AtomicBool,
    /// The tablet loses power while the next save is under way.
    pub crash_in_next: AtomicBool,
    /// Set when that moment has come.
    pub crash_now: AtomicBool,
}

/// The store as the client sees it.
pub struct WatchedLocalStore {
    /// What keeps the data.
    pub inner: Arc<dyn LocalStore>,
    /// Who is told.
    pub witness: Arc<Witness>,
    /// Whose store this is.
    pub tablet: usize,
    /// What goes wrong.
    pub faults: Arc<DiskFaults>,
}

impl WatchedLocalStore {
    fn room(&self) -> Result<(), LocalStoreError> {
        match self.faults.is_full.load(Ordering::Relaxed) {
            true => Err(LocalStoreError::Full),
            false => Ok(()),
        }
    }
}

/// Every change the store holds, in whatever state.
///
/// # Errors
/// When the store fails.
pub async fn contents(store: &dyn LocalStore) -> Result<BTreeSet<(DocumentId, ChangeHash)>, LocalStoreError> {
    let mut held = BTreeSet::new();
    for state in store.documents().await? {
        let id = state.document;
        for chunk in store.load(id).await?.map(|stored| stored.chunks).unwrap_or_default() {
            match Change::parse(chunk.clone()) {
                Ok(change) => {
                    held.insert((id, change.hash));
                }
                Err(_) => {
                    let loaded = Document::load(&chunk, GENESIS_ACTOR);
                    let mut loaded = loaded.map_err(|_| LocalStoreError::Damaged("a snapshot"))?;
                    held.extend(loaded.change_hashes().into_iter().map(|hash| (id, hash)));
                }
            }
        }
        held.extend(store.parked(id).await?.into_iter().map(|parked| (id, parked.hash)));
    }
    let unsent = store.unsent(0, usize::MAX).await?;
    held.extend(unsent.into_iter().map(|unsent| (unsent.document, unsent.hash)));
    Ok(held)
}

#[async_trait]
impl LocalStore for WatchedLocalStore {
    async fn state(&self) -> Result<LocalState, LocalStoreError> {
        self.inner.state().await
    }

    async fn documents(&self) -> Result<Vec<DocumentState>, LocalStoreError> {
        self.inner.documents().await
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentState>, LocalStoreError> {
        self.inner.document(document).await
    }

    async fn first_generation(&self, document: DocumentId) -> Result<u32, LocalStoreError> {
        self.inner.first_generation(document).await
    }

    async fn is_hidden(&self, document: DocumentId) -> Result<bool, LocalStoreError> {
        self.inner.is_hidden(document).await
    }

    async fn pending(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.inner.pending().await
    }

    async fn load(&self, document: DocumentId) -> Result<Option<LocalDocument>, LocalStoreError> {
        self.inner.load(document).await
    }

    async fn save_edits(&self, edits: &[DocumentEdit]) -> Result<(), LocalStoreError> {
        self.room()?;
        if self.faults.crash_in_next.swap(false, Ordering::Relaxed) {
            self.faults.crash_now.store(true, Ordering::Relaxed);
        }
        self.inner.save_edits(edits).await?;
        for DocumentEdit { document, changes } in edits {
            self.witness.saved(self.tablet, *document, changes.iter().map(|change| change.hash));
        }
        Ok(())
    }

    async fn save_received(&self, received: &Received) -> Result<(), LocalStoreError> {
        self.witness.received(self.tablet, received);
        self.room()?;
        self.inner.save_received(received).await
    }

    async fn save_snapshot(&self, snapshot: &ReceivedSnapshot) -> Result<(), LocalStoreError> {
        self.witness.received_snapshot(self.tablet, snapshot);
        self.room()?;
        self.inner.save_snapshot(snapshot).await
    }

    async fn unsent(&self, after: u64, limit_bytes: usize) -> Result<Vec<Unsent>, LocalStoreError> {
        self.inner.unsent(after, limit_bytes).await
    }

    async fn save_answer(&self, answer: &Answer) -> Result<(), LocalStoreError> {
        self.witness.answered(self.tablet, answer);
        self.room()?;
        self.inner.save_answer(answer).await
    }

    async fn parked(&self, document: DocumentId) -> Result<Vec<Parked>, LocalStoreError> {
        self.inner.parked(document).await
    }

    async fn save_redone(
        &self,
        document: DocumentId,
        replaced: &[ChangeHash],
        changes: &[OwnChange],
    ) -> Result<(), LocalStoreError> {
        self.room()?;
        if self.faults.crash_in_next.swap(false, Ordering::Relaxed) {
            self.faults.crash_now.store(true, Ordering::Relaxed);
        }
        self.witness.redoing(self.tablet, document, replaced);
        self.inner.save_redone(document, replaced, changes).await?;
        self.witness.saved(self.tablet, document, changes.iter().map(|change| change.hash));
        Ok(())
    }

    async fn begin_epoch(&self, cursor: Cursor, restored_to: Position) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.begin_epoch(cursor, restored_to).await
    }

    async fn compact(
        &self,
        document: DocumentId,
        chunks: &[u8],
        covered: &[ChangeHash],
    ) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.compact(document, chunks, covered).await
    }

    async fn purge(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.room()?;
        self.inner.purge().await
    }

    async fn evict(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.room()?;
        self.inner.evict().await
    }

    async fn set_active(&self, user: Option<UserId>, reader: Reader) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.set_active(user, reader).await
    }

    async fn cursor_of(&self, reader: Reader) -> Result<Option<Cursor>, LocalStoreError> {
        self.inner.cursor_of(reader).await
    }

    async fn users(&self) -> Result<Vec<LocalUser>, LocalStoreError> {
        self.inner.users().await
    }

    async fn save_user(&self, user: &LocalUser) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.save_user(user).await
    }

    async fn unsafe_of_others(&self) -> Result<u64, LocalStoreError> {
        self.inner.unsafe_of_others().await
    }

    async fn order_wipe(&self, order: [u8; 16]) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.order_wipe(order).await
    }

    async fn wipe(&self) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.wipe().await
    }

    async fn save_clock(&self, clock: ClockState) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.save_clock(clock).await
    }

    async fn note_reads(&self, reads: &[Seen]) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.note_reads(reads).await
    }

    async fn note_login(&self, login: Login) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.note_login(login).await
    }

    async fn hidden_cases(&self) -> Result<Vec<CaseId>, LocalStoreError> {
        self.inner.hidden_cases().await
    }

    async fn begin_emergency(
        &self,
        opened: &OpenedOffline,
        parts: &[Part],
    ) -> Result<Vec<DocumentId>, LocalStoreError> {
        self.room()?;
        self.inner.begin_emergency(opened, parts).await
    }

    async fn end_emergency(&self, case: CaseId) -> Result<(), LocalStoreError> {
        self.inner.end_emergency(case).await
    }

    async fn receipts(&self) -> Result<Receipts, LocalStoreError> {
        self.inner.receipts().await
    }

    async fn confirm(&self, receipts: &Receipts) -> Result<(), LocalStoreError> {
        self.room()?;
        self.inner.confirm(receipts).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

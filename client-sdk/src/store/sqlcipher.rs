//! The device's store in one SQLCipher file.
//!
//! Content is sealed once more, under a key per document: see `seal.rs`. A raw 256-bit key, a write-ahead log,
//! `synchronous = FULL`: what a method has returned survives a power cut, and no file holds plain text. One connection holds the file's exclusive lock from opening to closing, which is what
//! keeps a second process out (and there is no shared-memory file). An app that is suspended with the store open
//! keeps that lock: platforms that punish this (iOS, for files shared between apps) must close it first.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use feldakte_core::ids::{CaseId, ChangeHash, Cursor, DocumentId, Epoch, Part, Position, UserId};
use feldakte_proto::{Login, OpenedOffline, Receipts, Seen};
use tokio::sync::Mutex;

use self::connection::Slot;
use super::{
    Answer, ClockState, DocumentEdit, DocumentState, LocalDocument, LocalState, LocalStore, LocalStoreError, LocalUser,
    OwnChange, Parked, Reader, Received, ReceivedSnapshot, Unsent,
};
use crate::key::KeyProvider;

mod change;
mod connection;
mod document;
mod emergency;
mod error;
mod logins;
mod open;
mod own;
mod purge;
mod readership;
mod reads;
mod received;
mod seal;
mod snapshot;
mod users;
mod wipe;

/// [`LocalStore`] on SQLCipher.
pub struct SqlCipherStore {
    slot: Mutex<Slot>,
}

impl SqlCipherStore {
    /// Opens the store in the file `path`, which is created when it is missing; `new_store` becomes the id of a
    /// created store and is ignored otherwise.
    ///
    /// # Errors
    /// [`LocalStoreError::WrongKey`] when the key does not fit the first page of the file (a file whose first page
    /// is damaged looks the same), [`LocalStoreError::InUse`] when the store is open elsewhere.
    pub async fn open(path: &Path, key: &dyn KeyProvider, new_store: Epoch) -> Result<Arc<Self>, LocalStoreError> {
        let connection = open::open(path, key, new_store).await?;
        Ok(Arc::new(Self { slot: Mutex::new(Slot::new(connection)) }))
    }

    /// Removes the closed store's files and destroys its key: what is left to do after a wipe that the gateway knows of
    /// ([`WipeStage::Confirmed`](super::WipeStage)). Done again after a power cut it ends what it began.
    ///
    /// # Errors
    /// When a file cannot be removed or the key cannot be destroyed.
    pub fn destroy(path: &Path, key: &dyn KeyProvider) -> Result<(), LocalStoreError> {
        // The key first: without it the files are worthless.
        key.destroy().map_err(|error| LocalStoreError::Failed(Box::new(error)))?;
        for suffix in ["", "-wal", "-journal"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LocalStoreError::Failed(Box::new(error)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl LocalStore for SqlCipherStore {
    async fn state(&self) -> Result<LocalState, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = document::store_state(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn documents(&self) -> Result<Vec<DocumentState>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = document::all(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn document(&self, document: DocumentId) -> Result<Option<DocumentState>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = document::one(slot.begin().await?, document).await;
        slot.end(outcome).await
    }

    async fn first_generation(&self, document: DocumentId) -> Result<u32, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = document::first_generation(slot.begin().await?, document).await;
        slot.end(outcome).await
    }

    async fn is_hidden(&self, document: DocumentId) -> Result<bool, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = readership::is_hidden(slot.begin().await?, document).await;
        slot.end(outcome).await
    }

    async fn pending(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = readership::pending(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn load(&self, document: DocumentId) -> Result<Option<LocalDocument>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = document::load(slot.begin().await?, document).await;
        slot.end(outcome).await
    }

    async fn save_edits(&self, edits: &[DocumentEdit]) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = own::save_edits(slot.begin().await?, edits).await;
        slot.end(outcome).await
    }

    async fn save_received(&self, received: &Received) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = received::save(slot.begin().await?, received).await;
        slot.end(outcome).await
    }

    async fn save_snapshot(&self, snapshot: &ReceivedSnapshot) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = snapshot::save(slot.begin().await?, snapshot).await;
        slot.end(outcome).await
    }

    async fn unsent(&self, after: u64, limit_bytes: usize) -> Result<Vec<Unsent>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = own::unsent(slot.begin().await?, after, limit_bytes).await;
        slot.end(outcome).await
    }

    async fn save_answer(&self, answer: &Answer) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = own::save_answer(slot.begin().await?, answer).await;
        slot.end(outcome).await
    }

    async fn parked(&self, document: DocumentId) -> Result<Vec<Parked>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = own::parked(slot.begin().await?, document).await;
        slot.end(outcome).await
    }

    async fn save_redone(
        &self,
        document: DocumentId,
        replaced: &[ChangeHash],
        changes: &[OwnChange],
    ) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = own::save_redone(slot.begin().await?, document, replaced, changes).await;
        slot.end(outcome).await
    }

    async fn begin_epoch(&self, cursor: Cursor, restored_to: Position) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = own::begin_epoch(slot.begin().await?, cursor, restored_to).await;
        slot.end(outcome).await
    }

    async fn compact(
        &self,
        document: DocumentId,
        chunks: &[u8],
        covered: &[ChangeHash],
    ) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = snapshot::compact(slot.begin().await?, document, chunks, covered).await;
        slot.end(outcome).await
    }

    async fn purge(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = purge::purge(slot.begin().await?).await;
        let purged = slot.end(outcome).await?;
        if !purged.is_empty() {
            slot.truncate_log().await?;
        }
        Ok(purged)
    }

    async fn evict(&self) -> Result<Vec<DocumentId>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = purge::evict(slot.begin().await?).await;
        let evicted = slot.end(outcome).await?;
        if !evicted.is_empty() {
            slot.truncate_log().await?;
        }
        Ok(evicted)
    }

    async fn set_active(&self, user: Option<UserId>, reader: Reader) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = users::set_active(slot.begin().await?, (user, reader)).await;
        slot.end(outcome).await
    }

    async fn cursor_of(&self, reader: Reader) -> Result<Option<Cursor>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = users::cursor_of(slot.begin().await?, reader).await;
        slot.end(outcome).await
    }

    async fn users(&self) -> Result<Vec<LocalUser>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = users::all(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn save_user(&self, user: &LocalUser) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = users::save(slot.begin().await?, user).await;
        slot.end(outcome).await
    }

    async fn unsafe_of_others(&self) -> Result<u64, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = users::unsafe_of_others(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn order_wipe(&self, order: [u8; 16]) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = wipe::order(slot.begin().await?, order).await;
        slot.end(outcome).await
    }

    async fn wipe(&self) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = wipe::wipe(slot.begin().await?).await;
        slot.end(outcome).await?;
        slot.truncate_log().await
    }

    async fn save_clock(&self, clock: ClockState) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = document::save_clock(slot.begin().await?, clock).await;
        slot.end(outcome).await
    }

    async fn note_reads(&self, reads: &[Seen]) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = reads::note(slot.begin().await?, reads).await;
        slot.end(outcome).await
    }

    async fn note_login(&self, login: Login) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = logins::note(slot.begin().await?, login).await;
        slot.end(outcome).await
    }

    async fn hidden_cases(&self) -> Result<Vec<CaseId>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = emergency::hidden_cases(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn begin_emergency(
        &self,
        opened: &OpenedOffline,
        parts: &[Part],
    ) -> Result<Vec<DocumentId>, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = emergency::begin(slot.begin().await?, opened, parts).await;
        slot.end(outcome).await
    }

    async fn end_emergency(&self, case: CaseId) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = emergency::end(slot.begin().await?, case).await;
        slot.end(outcome).await
    }

    async fn receipts(&self) -> Result<Receipts, LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = purge::receipts(slot.begin().await?).await;
        slot.end(outcome).await
    }

    async fn confirm(&self, receipts: &Receipts) -> Result<(), LocalStoreError> {
        let mut slot = self.slot.lock().await;
        let outcome = purge::confirm(slot.begin().await?, receipts).await;
        slot.end(outcome).await
    }

    async fn close(&self) {
        self.slot.lock().await.close().await;
    }
}

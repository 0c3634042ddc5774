//! The device's store in one SQLCipher file.
//!
//! A raw 256-bit key, a write-ahead log, `synchronous = FULL`: what a method has returned survives a power cut, and
//! no file holds plain text. One connection holds the file's exclusive lock from opening to closing, which is what
//! keeps a second process out (and there is no shared-memory file). An app that is suspended with the store open
//! keeps that lock: platforms that punish this (iOS, for files shared between apps) must close it first.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use feldakte_core::ids::{ChangeHash, Cursor, DocumentId, Epoch, Position};
use tokio::sync::Mutex;

use self::connection::Slot;
use super::{
    Answer, DocumentEdit, DocumentState, LocalDocument, LocalState, LocalStore, LocalStoreError, OwnChange, Parked,
    Received, ReceivedSnapshot, Unsent,
};
use crate::key::KeyProvider;

mod change;
mod connection;
mod document;
mod error;
mod open;
mod own;
mod received;
mod snapshot;

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

    async fn close(&self) {
        self.slot.lock().await.close().await;
    }
}

//! What the device keeps: documents, unsent changes, refused ones, and the cursor.
//!
//! Every method is one transaction and returns after its commit has reached the disk: "saved on device" may be
//! told when it returns, a change may be sent when it returns. Two implementations stand behind this trait:
//! SQLCipher (feature `sqlcipher`) and, in the simulation, a memory that loses what was not synced.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    ids::{ChangeHash, Cursor, DocumentId, Epoch, Position},
    log::{Binding, Quarantine},
};
use feldakte_proto::Reason;

#[cfg(feature = "sqlcipher")]
mod provider;
#[cfg(feature = "sqlcipher")]
pub mod sqlcipher;

/// A shared store.
pub type SharedLocalStore = Arc<dyn LocalStore>;

/// The device's durable state.
#[async_trait]
pub trait LocalStore: Send + Sync + 'static {
    /// What is known before any document is opened.
    async fn state(&self) -> Result<LocalState, LocalStoreError>;

    /// All documents with the number of changes in each state, ascending by id.
    async fn documents(&self) -> Result<Vec<DocumentState>, LocalStoreError>;

    /// One document's row; `None` when the device does not hold it.
    async fn document(&self, document: DocumentId) -> Result<Option<DocumentState>, LocalStoreError>;

    /// The document's content: snapshot and changes as automerge chunks in stored order, without refused and
    /// quarantined ones. `None` when the device does not hold it.
    async fn load(&self, document: DocumentId) -> Result<Option<LocalDocument>, LocalStoreError>;

    /// Stores own changes, unsent (state local), in the order given, all of them in one transaction; opens documents
    /// that are new.
    async fn save_edits(&self, edits: &[DocumentEdit]) -> Result<(), LocalStoreError>;

    /// [`LocalStore::save_edits`] for a single document.
    async fn save_edit(&self, document: DocumentId, changes: &[OwnChange]) -> Result<(), LocalStoreError> {
        self.save_edits(&[DocumentEdit { document, changes: changes.to_vec() }]).await
    }

    /// Stores what the gateway sent, and moves the cursor, in one transaction. Known hashes are no-ops; an own
    /// change that comes back becomes durable. An own change that is marked as quarantined, here or in a snapshot, is
    /// parked like a refused one, with [`Reason::DependencyRefused`]: it must not vanish in silence.
    async fn save_received(&self, received: &Received) -> Result<(), LocalStoreError>;

    /// Stores a snapshot: replaces the previous one and the changes it covers that are durable or received; local,
    /// unsent changes stay. Clears "bootstrap pending".
    async fn save_snapshot(&self, snapshot: &ReceivedSnapshot) -> Result<(), LocalStoreError>;

    /// Own changes the gateway has not confirmed, oldest first, at most `limit_bytes` of content (but at least one
    /// change), starting after row `after` (0 for the beginning).
    async fn unsent(&self, after: u64, limit_bytes: usize) -> Result<Vec<Unsent>, LocalStoreError>;

    /// The gateway's answer to a push: these are durable at `position`, those are refused; the cursor moves when
    /// one is given. Refused changes are parked with reason and content; the document's generation rises by one
    /// when anything was refused, so that the next edit writes under a new actor.
    async fn save_answer(&self, answer: &Answer) -> Result<(), LocalStoreError>;

    /// Parked (refused) changes of a document, oldest first.
    async fn parked(&self, document: DocumentId) -> Result<Vec<Parked>, LocalStoreError>;

    /// Does refused work again: the refused changes `replaced` are no longer parked, and `changes`, which hold what the
    /// user did in them, are stored like an edit. All of it in one transaction. What is not refused is not replaced.
    async fn save_redone(
        &self,
        document: DocumentId,
        replaced: &[ChangeHash],
        changes: &[OwnChange],
    ) -> Result<(), LocalStoreError>;

    /// A new log epoch: own durable changes after `restored_to` become unsent again and the cursor is set.
    async fn begin_epoch(&self, cursor: Cursor, restored_to: Position) -> Result<(), LocalStoreError>;

    /// Replaces a document's stored snapshot by `chunks`, which contains exactly the changes `covered`; durable and
    /// received rows in `covered` are dropped. The caller has verified `chunks`.
    async fn compact(&self, document: DocumentId, chunks: &[u8], covered: &[ChangeHash])
    -> Result<(), LocalStoreError>;

    /// Finishes writing and lets go of files.
    async fn close(&self);
}

/// The device's state outside of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalState {
    /// Random id of this store, made when it was created: part of every actor id, so that a store that was lost
    /// never reuses an actor.
    pub store: Epoch,
    /// How far the device has read the log.
    pub cursor: Option<Cursor>,
}

/// A document and how safe it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentState {
    /// Which.
    pub document: DocumentId,
    /// Counts the actors this device has used in it.
    pub generation: u32,
    /// A snapshot has to be fetched before the document can be shown.
    pub bootstrap_pending: bool,
    /// The device's grant has ended.
    pub revoked: bool,
    /// Own changes not confirmed by the gateway.
    pub local: u64,
    /// Own changes the gateway has confirmed as durable.
    pub durable: u64,
    /// Own changes the gateway refused.
    pub refused: u64,
}

/// A document's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDocument {
    /// Its row.
    pub state: DocumentState,
    /// Automerge chunks, to be loaded in this order.
    pub chunks: Vec<Bytes>,
    /// Who the actors really are.
    pub bindings: Vec<Binding>,
}

/// What one save of the user changes in one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentEdit {
    /// Which.
    pub document: DocumentId,
    /// Its new changes, in the order in which they were made.
    pub changes: Vec<OwnChange>,
}

/// A change made on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChange {
    /// Its name.
    pub hash: ChangeHash,
    /// The uncompressed chunk.
    pub bytes: Bytes,
    /// What the user did, encoded by the SDK, so that a refused change can be shown and done again. Empty for
    /// genesis changes.
    pub intent: Bytes,
}

/// A frame of log entries, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Where the cursor is after this; `None` leaves it.
    pub cursor: Option<Cursor>,
    /// What happened, in log order.
    pub entries: Vec<ReceivedEntry>,
    /// Documents of which a snapshot has to be fetched.
    pub bootstrap: Vec<DocumentId>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedEntry {
    /// Its place.
    pub position: Position,
    /// The document.
    pub document: DocumentId,
    /// Set when this device's own grant ended here.
    pub revoked: bool,
    /// New actors.
    pub bindings: Vec<Binding>,
    /// Changes not to be applied.
    pub quarantined: Vec<Quarantine>,
    /// Name and bytes of each change.
    pub changes: Vec<(ChangeHash, Bytes)>,
}

/// A snapshot, decoded and verified: it loads, and contains exactly the changes `covered`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSnapshot {
    /// The document.
    pub document: DocumentId,
    /// As of which position.
    pub position: Position,
    /// Automerge chunks.
    pub chunks: Bytes,
    /// The changes in it.
    pub covered: Vec<ChangeHash>,
    /// Who the actors really are.
    pub bindings: Vec<Binding>,
    /// Changes not to be applied.
    pub quarantined: Vec<Quarantine>,
}

/// An own change that waits for the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Ascends with age; for `after`.
    pub row: u64,
    /// The document.
    pub document: DocumentId,
    /// Its name.
    pub hash: ChangeHash,
    /// The uncompressed chunk.
    pub bytes: Bytes,
}

/// The gateway's answer to one push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The document.
    pub document: DocumentId,
    /// Durable from here on.
    pub durable: Vec<ChangeHash>,
    /// At which position.
    pub position: Position,
    /// Not taken, and why.
    pub refused: Vec<(ChangeHash, Reason)>,
    /// Where the cursor is after this; `None` leaves it.
    pub cursor: Option<Cursor>,
}

/// A refused change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its name.
    pub hash: ChangeHash,
    /// Why.
    pub reason: Reason,
    /// What the user did.
    pub intent: Bytes,
}

/// What the local store could not do.
#[derive(Debug, thiserror::Error)]
pub enum LocalStoreError {
    /// The key does not open the file.
    #[error("the key does not open this store")]
    WrongKey,
    /// The file belongs to a newer SDK.
    #[error("the store has schema {found}, this build knows up to {known}: update the app")]
    NewerSchema {
        /// What the file has.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// No room on the device.
    #[error("the device's storage is full")]
    Full,
    /// Stored bytes are not what was written.
    #[error("stored data of {0} is damaged")]
    Damaged(&'static str),
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    InUse,
    /// Anything else the database says.
    #[error("the local store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

//! What survives power loss: the log, its documents and grants, and snapshots of documents.
//!
//! When [`Store::append`] returns, the entries are on the disk and will be there after a power cut. Nothing else
//! may be told to anybody as durable. Two implementations stand behind this trait: [`sqlite`] and, in the tests,
//! a memory that loses what was not synced; one conformance suite runs over both, and over both with their content
//! [`sealed`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    access::{PartSet, Subject},
    ids::{DocumentId, Epoch, Position, TenantId},
    log::{Binding, Entry, Quarantine},
};

pub mod audit;
pub mod keyring;
pub mod matters;
pub mod registry;
pub mod sealed;
pub mod sqlite;

/// A shared store.
pub type SharedStore = Arc<dyn Store>;

/// The log and what is derived from it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The log's incarnation.
    async fn epoch(&self) -> Result<Epoch, StoreError>;

    /// The last position of the tenant's log, and the position a restore went back to.
    async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError>;

    /// Makes the entries durable in one commit and gives each its position: per tenant gap-free and in the order
    /// given. Also records documents and grants, so that the reads below see them.
    ///
    /// # Errors
    /// None of the entries counts as durable. After [`StoreError::Unknown`] they may or may not be there.
    async fn append(&self, entries: &[Append]) -> Result<Vec<Position>, StoreError>;

    /// The tenant a document belongs to and all its entries in log order; `None` when nobody has written it.
    async fn document(&self, document: DocumentId) -> Result<Option<DocumentLog>, StoreError>;

    /// The document's entries after a position, in log order.
    async fn entries_after(&self, document: DocumentId, after: Position) -> Result<Vec<Stored>, StoreError>;

    /// Documents of these subjects in which something happened in `(after, up_to]`, by their last position. Must
    /// not read any document's content: a device that comes back with nothing new costs one indexed query. A grant whose
    /// time is over at `now_ms` is valid no more; its end is told when it is in the log.
    async fn changed(
        &self,
        reader: &Reader,
        after: Position,
        up_to: Position,
        now_ms: i64,
    ) -> Result<Vec<Changed>, StoreError>;

    /// Positions in `(after, up_to]` of entries of these documents, ascending.
    async fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Position>, StoreError>;

    /// The entries at these positions, ascending. Positions that do not exist are left out.
    async fn read(&self, tenant: &TenantId, positions: &[Position]) -> Result<Vec<Stored>, StoreError>;

    /// Whether any of the subjects holds a grant on the document that neither was ended nor has ended by itself.
    async fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> Result<bool, StoreError>;

    /// Documents with a grant whose time is over and whose end is not in the log yet, at most `limit` of them, ascending
    /// and after that one.
    async fn lapsed(&self, now_ms: i64, after: Option<DocumentId>, limit: usize)
    -> Result<Vec<DocumentId>, StoreError>;

    /// The newest snapshot of a document.
    async fn snapshot(&self, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError>;

    /// Replaces the document's snapshot, unless a newer one is there.
    async fn put_snapshot(&self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError>;

    /// Documents whose snapshot lags behind their log, at most `limit` of them.
    async fn unprojected(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError>;

    /// Whether a commit would succeed right now; drives readiness.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Finishes writing and lets go of files. Nothing may be called afterwards.
    async fn close(&self);
}

/// Where a tenant's log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last position, 0 for an empty log.
    pub position: Position,
    /// Where the log ended when it was restored from a backup into the present epoch.
    pub restored_to: Option<Position>,
}

/// An admitted entry on its way into the log.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone)]
pub struct Append {
    /// Whose log.
    pub tenant: TenantId,
    /// The entry, for documents and grants.
    pub entry: Entry,
    /// The entry as it is stored and sent: what `feldakte_proto::encode_entry(&entry)` gives.
    pub encoded: Bytes,
}

/// Who reads: the subjects whose grants count, in one tenant.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The tenant.
    pub tenant: TenantId,
    /// Its unit, itself and its user; in another tenant's log its unit as a guest.
    pub subjects: Vec<Subject>,
    /// Parts of which its role may have documents, whatever was granted. The store does not look at it: whoever sends does.
    pub parts: PartSet,
}

/// A document in which something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub document: DocumentId,
    /// Its first entry.
    pub created: Position,
    /// Where the reader's (earliest, still valid) grant began.
    pub granted: Position,
    /// Where the reader's last grant ended; set only when none is valid any more and the end lies in the range.
    pub ended: Option<Position>,
    /// Until when it may be read, in milliseconds by the gateway's clock: its last valid grant ends by itself then.
    pub until: Option<i64>,
    /// How many automerge changes lie in the range.
    pub changes: u64,
}

/// An entry as stored.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub position: Position,
    /// For `feldakte_proto::decode_entry`; length and SHA-256 were verified.
    pub encoded: Bytes,
}

/// All there is of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentLog {
    /// Whose document.
    pub tenant: TenantId,
    /// Its entries in log order.
    pub entries: Vec<Stored>,
}

/// A document as of a position, and what its readers need to know about its actors.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Every entry up to here is contained.
    pub position: Position,
    /// One automerge document chunk.
    pub chunks: Bytes,
    /// All actors up to here.
    pub bindings: Vec<Binding>,
    /// Changes that are durable but not contained.
    pub quarantined: Vec<Quarantine>,
}

feldakte_core::hide_content! { Append { tenant, entry }, Stored { position }, StoredSnapshot { position } }

/// What a store could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing was written; the store stays usable for reading.
    #[error("the disk is full")]
    Full,
    /// The outcome of a commit is not known: whoever wrote must write again after a restart.
    #[error("a commit was interrupted")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What content is sealed with cannot be had at the moment. Nothing was written.
    #[error("a key cannot be had")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key of the document's case was destroyed: there is no content, and will be none.
    #[error("the case was shredded")]
    Shredded,
    /// Stored bytes are not what was written. Content is not part of the message.
    #[error("stored data of {0} is damaged")]
    Damaged(&'static str),
    /// Anything else the database says.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

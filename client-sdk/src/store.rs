//! What the device keeps: documents, unsent changes, refused ones, and the cursor.
//!
//! Every method is one transaction and returns after its commit has reached the disk: "saved on device" may be
//! told when it returns, a change may be sent when it returns. Two implementations stand behind this trait:
//! SQLCipher (feature `sqlcipher`) and, in the simulation, a memory that loses what was not synced.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    access::Role,
    ids::{CaseId, ChangeHash, Cursor, DocumentId, Epoch, Part, Position, UserId},
    log::{Binding, Quarantine},
};
use feldakte_proto::{Login, OpenedOffline, Reason, Receipts, Seen};

use crate::pin::PinRecord;

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

    /// With which generation a document begins that the device does not hold: one above that of its last life here, so that
    /// no actor is ever used again.
    async fn first_generation(&self, document: DocumentId) -> Result<u32, LocalStoreError>;

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
    /// one is given. Refused changes are parked with reason and content, and those refused with
    /// [`Reason::Quarantined`] are kept: counted apart, since somebody has them. The document's generation rises by one
    /// when anything was refused, so that the next edit writes under a new actor.
    async fn save_answer(&self, answer: &Answer) -> Result<(), LocalStoreError>;

    /// Parked changes of a document, refused or kept for a supervisor, oldest first.
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

    /// Destroys the content of all documents whose grant has ended, for good: neither the file nor a later copy of it
    /// shows it, whoever has the store's key. Left alone is a document of which anything is unsent or parked, by whomever,
    /// but for what was kept for a supervisor. Gives back what was destroyed; the gateway is owed a receipt for each.
    async fn purge(&self) -> Result<Vec<DocumentId>, LocalStoreError>;

    /// Takes what is safe elsewhere off the device: everything that the gateway is known to have. Unsent and refused work
    /// stays; the documents are fetched again at the next contact. Gives back the documents of which something was
    /// removed; that is destroyed as in [`LocalStore::purge`].
    async fn evict(&self) -> Result<Vec<DocumentId>, LocalStoreError>;

    /// Somebody else uses the device from here on, and what is sent is sent to that reader. Own changes are his, and reads
    /// show him no unsent or refused change of anybody else, nor what that reader was not sent. [`LocalStore::unsent`] is
    /// of everybody.
    async fn set_active(&self, user: Option<UserId>, reader: Reader) -> Result<(), LocalStoreError>;

    /// How far the log was read by that reader.
    async fn cursor_of(&self, reader: Reader) -> Result<Option<Cursor>, LocalStoreError>;

    /// Documents that whoever uses the device has to fetch, or to ask about: an answer tells whether he may see them.
    async fn pending(&self) -> Result<Vec<DocumentId>, LocalStoreError>;

    /// Whether the document came for somebody else, and whoever uses the device may not see it.
    async fn is_hidden(&self, document: DocumentId) -> Result<bool, LocalStoreError>;

    /// All users this device knows, ascending.
    async fn users(&self) -> Result<Vec<LocalUser>, LocalStoreError>;

    /// Adds or replaces a user; [`LocalUser::unsent`] is not stored.
    async fn save_user(&self, user: &LocalUser) -> Result<(), LocalStoreError>;

    /// How many changes of everybody but whoever uses the device are not durable, nor kept for a supervisor.
    async fn unsafe_of_others(&self) -> Result<u64, LocalStoreError>;

    /// Everything is to be destroyed. The first order stands; each call counts a session in which it does.
    async fn order_wipe(&self, order: [u8; 16]) -> Result<(), LocalStoreError>;

    /// Carries the order out: destroys every document, every key, the cursor and every user. Who has looked at what is still
    /// owed to the gateway, but for the words of emergencies. Without an order it does nothing.
    async fn wipe(&self) -> Result<(), LocalStoreError>;

    /// Remembers when the gateway was heard of.
    async fn save_clock(&self, clock: ClockState) -> Result<(), LocalStoreError>;

    /// Somebody looks at these documents on the device; readings of one document by one user are put together.
    async fn note_reads(&self, reads: &[Seen]) -> Result<(), LocalStoreError>;

    /// Somebody has signed in with a PIN, has tried to, or has left. Of [`feldakte_core::limits::LOGINS_UNTOLD_MAX`] that the
    /// gateway was not told of the first are kept.
    async fn note_login(&self, login: Login) -> Result<(), LocalStoreError>;

    /// Cases of which the device holds documents that it was sent for others, and that whoever uses it may not see.
    /// Ascending.
    async fn hidden_cases(&self) -> Result<Vec<CaseId>, LocalStoreError>;

    /// Shows whoever uses the device what it holds of a case for others, as far as it is of these parts, after writing down
    /// that he asked for it; the gateway is owed a receipt. Gives back what is shown from here on: until
    /// [`LocalStore::end_emergency`], until somebody else uses the device, or until the store is closed. When there is nothing
    /// to show, nothing is written down.
    async fn begin_emergency(&self, opened: &OpenedOffline, parts: &[Part])
    -> Result<Vec<DocumentId>, LocalStoreError>;

    /// What was shown of the case in an emergency is hidden again.
    async fn end_emergency(&self, case: CaseId) -> Result<(), LocalStoreError>;

    /// What the gateway has to be told: [`feldakte_core::limits::RECEIPTS_MAX`] of each kind at most.
    async fn receipts(&self) -> Result<Receipts, LocalStoreError>;

    /// The gateway has been told this.
    async fn confirm(&self, receipts: &Receipts) -> Result<(), LocalStoreError>;

    /// Finishes writing and lets go of files.
    async fn close(&self);
}

/// The device's state outside of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalState {
    /// Random id of this store, made when it was created: part of every actor id, so that a store that was lost
    /// never reuses an actor.
    pub store: Epoch,
    /// Who uses the device.
    pub user: Option<UserId>,
    /// As whom he reads the log.
    pub reader: Reader,
    /// How far that reader has read it.
    pub cursor: Option<Cursor>,
    /// The order to destroy everything, once it was given.
    pub wipe: Option<Wipe>,
    /// When the gateway was last heard of.
    pub clock: Option<ClockState>,
}

/// As whom a device is sent the log. What came for one reader is shown to no other, but for what came for the device
/// alone: somebody with a PIN may see that, too, since the gateway lets him see all that the device may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// The device, and nobody uses it.
    Device,
    /// The device, and somebody with a PIN uses it: some gateways send nothing to a device that nobody uses.
    Local,
    /// Somebody with a token.
    User(UserId),
}

/// A user whom the device knows.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalUser {
    /// A pseudonym.
    pub user: UserId,
    /// What his PIN is checked against; `None` when he signs in with tokens.
    pub pin: Option<PinRecord>,
    /// What delivers his work while somebody else uses the device.
    pub ticket: Option<Bytes>,
    /// As what the gateway has believed him last.
    pub role: Option<Role>,
    /// Changes of his that the gateway has not confirmed.
    pub unsent: u64,
}

impl fmt::Debug for LocalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user: _, pin, ticket, role: _, unsent } = self;
        write!(f, "LocalUser(pin: {}, ticket: {}, {unsent} unsent)", pin.is_some(), ticket.is_some())
    }
}

/// An order to destroy everything on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wipe {
    /// Its name.
    pub order: [u8; 16],
    /// How far it is.
    pub stage: WipeStage,
    /// Sessions that have begun since it was given, the one that brought it among them.
    pub sessions: u32,
}

/// How far a wipe order is. Numbers are disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WipeStage {
    /// Given: what is unsent is being delivered.
    Ordered = 1,
    /// Carried out; the gateway has not confirmed that it knows.
    Destroyed = 2,
    /// The gateway knows: file and key can go.
    Confirmed = 3,
}

/// Time as far as it is known. Milliseconds since 1970-01-01 UTC by the gateway's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockState {
    /// Gateway clock minus device clock, at the last contact.
    pub offset_ms: i64,
    /// The last contact.
    pub contact_ms: i64,
    /// The latest time that is known to have passed.
    pub high_ms: i64,
}

/// A document, and how safe the changes of whoever uses the device are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentState {
    /// Which.
    pub document: DocumentId,
    /// Counts the actors this device has used in it.
    pub generation: u32,
    /// A snapshot has to be fetched before the document can be shown.
    pub bootstrap_pending: bool,
    /// The grant of whoever uses the device has ended, or he was shown the document in an emergency: he may not write it.
    pub revoked: bool,
    /// Own changes not confirmed by the gateway.
    pub local: u64,
    /// Own changes the gateway has confirmed as durable.
    pub durable: u64,
    /// Own changes the gateway refused.
    pub refused: u64,
    /// Own changes the gateway keeps for a supervisor.
    pub kept: u64,
}

/// A document's content.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
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
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
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
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedEntry {
    /// Its place.
    pub position: Position,
    /// The document.
    pub document: DocumentId,
    /// Set when access ended here.
    pub revoked: Option<Revoked>,
    /// New actors.
    pub bindings: Vec<Binding>,
    /// Changes not to be applied.
    pub quarantined: Vec<Quarantine>,
    /// Name and bytes of each change.
    pub changes: Vec<(ChangeHash, Bytes)>,
}

/// Whose access has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// Of the reader who is told.
    Reader,
    /// Of the device: of all readers who do not read the log beyond that. What they have in their own right they are told
    /// when they read on.
    Device,
    /// Of everybody, for good.
    Everybody,
}

/// A snapshot, decoded and verified: it loads, and contains exactly the changes `covered`.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
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
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Ascends with age; for `after`.
    pub row: u64,
    /// The document.
    pub document: DocumentId,
    /// Its name.
    pub hash: ChangeHash,
    /// The uncompressed chunk.
    pub bytes: Bytes,
    /// Whose work it is.
    pub user: Option<UserId>,
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
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its name.
    pub hash: ChangeHash,
    /// Why.
    pub reason: Reason,
    /// What the user did.
    pub intent: Bytes,
}

feldakte_core::hide_content! {
    LocalDocument { state },
    OwnChange { hash },
    ReceivedEntry { position, document, revoked },
    ReceivedSnapshot { document, position },
    Unsent { row, document, hash },
    Parked { hash, reason },
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
    /// The file was made before the first release, by a build whose stores are not carried over.
    #[error(
        "the store has schema {found} of a build before the first release, this build needs {known}: remove the file"
    )]
    OlderSchema {
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

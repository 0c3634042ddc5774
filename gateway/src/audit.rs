//! The audit log of a running gateway: acts go in, rows of a hash chain come out on the disk.
//!
//! [`Audit::record`] returns when the act is durable: what must not happen unrecorded waits for it. [`Audit::note`] never
//! waits: what has happened already, or happens thousands of times a second, is put together per session, document and
//! act, and written within [`limits::AUDIT_NOTE_WITHIN`]. Nothing is ever left out in silence; what becomes of the gateway
//! while the log cannot be written stands at [`AuditError::Unavailable`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use feldakte_core::{audit::Record, ids::SessionId, limits};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::notes::Notes;
use crate::{environment::Environment, store::audit::SharedAuditStore};

mod chains;
pub mod check;
pub mod key;
pub mod line;
mod notes;
mod scribe;
pub mod trail;

pub use self::{key::AuditKey, scribe::Scribe, trail::Trail};

/// A handle to the audit log. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

struct Shared {
    environment: Environment,
    store: SharedAuditStore,
    /// See [`limits::AUDIT_QUEUE`]; beyond it [`Audit::record`] waits.
    queue: mpsc::Sender<Submission>,
    /// Bounded by coalescing, see [`limits::AUDIT_NOTES`].
    notes: Mutex<Notes>,
    /// Something has become due earlier than the scribe knows.
    due: Notify,
    available: watch::Sender<bool>,
}

/// Records of one act, to be written together.
struct Submission {
    records: Vec<Record>,
    written: oneshot::Sender<Result<(), AuditError>>,
}

/// The act is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The log cannot be written at the moment. Whoever asked must not act: no document leaves, no grant begins. What has
    /// to go on all the same (pushes: losing them would be worse; ends of grants) is noted and written later.
    #[error("the audit log cannot be written")]
    Unavailable,
    /// The gateway is going down.
    #[error("the gateway is going down")]
    Closed,
}

impl Audit {
    /// A log that takes acts, and the task that has to be run for them to be written.
    pub fn new(store: SharedAuditStore, key: Arc<AuditKey>, environment: Environment) -> (Audit, Scribe) {
        let (queue, submissions) = mpsc::channel(limits::AUDIT_QUEUE);
        let audit = Audit(Arc::new(Shared {
            environment,
            store,
            queue,
            notes: Mutex::default(),
            due: Notify::new(),
            available: watch::Sender::new(true),
        }));
        let scribe = Scribe::new(audit.clone(), key, submissions);
        (audit, scribe)
    }

    /// Records an act; it is durable when this returns.
    ///
    /// # Errors
    /// The act must not be done. It may stand in the log all the same.
    pub async fn record(&self, record: Record) -> Result<(), AuditError> {
        self.record_all(vec![record]).await
    }

    /// Records acts in one commit, in this order.
    ///
    /// # Errors
    /// None of them must be done.
    pub async fn record_all(&self, mut records: Vec<Record>) -> Result<(), AuditError> {
        if records.is_empty() {
            return Ok(());
        }
        if !self.is_available() {
            return Err(AuditError::Unavailable);
        }
        self.stamp(&mut records);
        let (written, done) = oneshot::channel();
        self.0.queue.send(Submission { records, written }).await.map_err(|_| AuditError::Closed)?;
        done.await.map_err(|_| AuditError::Closed)?
    }

    /// Records what has happened already or may not be held up: durable when this returns, or as soon as it can be.
    pub async fn record_or_note(&self, record: Record) {
        if self.record(record.clone()).await.is_err() {
            self.note(record);
        }
    }

    /// Takes down an act. Acts of one session, document, kind and reason become one record with a count and the first and
    /// last position.
    pub fn note(&self, record: Record) {
        self.note_all([record]);
    }

    /// Takes down several.
    pub fn note_all(&self, records: impl IntoIterator<Item = Record>) {
        let when_ms = self.0.environment.now_ms();
        let mut notes = self.notes();
        let was_due = notes.due();
        records.into_iter().for_each(|record| notes.add(Record { when_ms, ..record }));
        let is_due = notes.due();
        drop(notes);
        if is_due.is_some_and(|due| was_due.is_none_or(|was| due < was)) {
            self.0.due.notify_one();
        }
    }

    /// Has what was noted of a session written at once: it is over.
    pub fn end_session(&self, session: SessionId) {
        self.notes().end(session);
        self.0.due.notify_one();
    }

    /// Whether acts can be written, as far as is known.
    pub fn is_available(&self) -> bool {
        *self.0.available.borrow()
    }

    /// Waits until acts can be written. Cancel-safe.
    pub async fn available(&self) {
        // The sender lives as long as this handle.
        let _ = self.0.available.subscribe().wait_for(|available| *available).await;
    }

    /// The store, for reading.
    pub fn store(&self) -> &SharedAuditStore {
        &self.0.store
    }

    fn stamp(&self, records: &mut [Record]) {
        let when_ms = self.0.environment.now_ms();
        records.iter_mut().for_each(|record| record.when_ms = when_ms);
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("available", &self.is_available()).finish_non_exhaustive()
    }
}

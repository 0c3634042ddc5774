//! Which documents lag behind their log, and when a new snapshot of them is worth its price.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use feldakte_core::{ids::DocumentId, limits};
use tokio::{sync::Notify, time::Instant};

/// Documents whose snapshot lags behind their log. One item per document, so it is bounded by them.
#[derive(Debug, Default)]
pub struct Backlog {
    pending: Mutex<BTreeMap<DocumentId, Pending>>,
    urgent: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    changes: usize,
    /// How many changes make a new snapshot worth its price: as many as the last one covered.
    enough: usize,
    touched: Instant,
}

impl Backlog {
    /// Notes that `changes` changes of the document have become durable.
    pub fn touch(&self, document: DocumentId, changes: usize) {
        let now = Instant::now();
        let mut pending = self.lock();
        let new = Pending { changes: 0, enough: limits::SNAPSHOT_EVERY, touched: now };
        let item = pending.entry(document).or_insert(new);
        item.changes += changes;
        item.touched = now;
        if item.changes >= item.enough {
            self.urgent.notify_one();
        }
    }

    /// Waits until a document has collected enough changes.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// Documents to be projected now. Those that are quiet, or have collected enough; all of them when draining.
    pub(super) fn due(&self, now: Instant, wanted: Wanted) -> Vec<DocumentId> {
        let is_due = |item: &Pending| match wanted {
            Wanted::All => true,
            Wanted::Due => item.changes >= item.enough || now >= item.touched + limits::SNAPSHOT_QUIET,
        };
        self.lock().iter().filter(|(_, item)| is_due(item)).map(|(document, _)| *document).collect()
    }

    /// The snapshot covers `covered` changes; what came meanwhile stays pending.
    pub(super) fn done(&self, document: DocumentId, started: Instant, covered: usize) {
        let mut pending = self.lock();
        let Some(item) = pending.get_mut(&document) else { return };
        if item.touched <= started {
            pending.remove(&document);
            return;
        }
        item.changes = 0;
        item.enough = covered.max(limits::SNAPSHOT_EVERY);
    }

    /// No snapshot until the next change; what came meanwhile is a reason to try again.
    pub(super) fn give_up(&self, document: DocumentId, started: Instant) {
        let mut pending = self.lock();
        if pending.get(&document).is_some_and(|item| item.touched <= started) {
            pending.remove(&document);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DocumentId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which documents to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Due,
    All,
}

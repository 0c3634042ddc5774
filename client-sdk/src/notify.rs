//! Tells observers what has changed, coalesced: what waits is bounded by the number of cases, however slow they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use feldakte_core::{
    case::Path,
    ids::{CaseId, ChangeHash, DocumentId, Part},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    view::{Changed, Event, LinkState, Observer},
    witness::{ChangeEvent, ChangeFact, Witness},
};

/// What has changed since observers were last told.
#[derive(Default)]
pub(crate) struct Notifier {
    changes: Mutex<Changes>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    witness: OnceLock<Arc<dyn Witness>>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Changes {
    link: Option<LinkState>,
    content: BTreeMap<CaseId, Changed>,
    sync: BTreeSet<CaseId>,
    removed: BTreeSet<CaseId>,
    expired: bool,
    user: bool,
    sign_in_ended: bool,
    wiped: bool,
}

impl Notifier {
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// The first witness stays.
    pub(crate) fn witness(&self, witness: Arc<dyn Witness>) {
        let _ = self.witness.set(witness);
    }

    /// Tells the witness, if there is one, before anybody else hears of it.
    pub(crate) fn testify<'a>(
        &self,
        document: DocumentId,
        changes: impl IntoIterator<Item = &'a ChangeHash>,
        fact: ChangeFact,
    ) {
        let Some(witness) = self.witness.get() else { return };
        for change in changes {
            witness.on_change(ChangeEvent { document, change: *change, fact });
        }
    }

    pub(crate) fn link(&self, state: LinkState) {
        self.changes().link = Some(state);
        self.wake.notify_one();
    }

    /// These paths of a document have changed; `None` when nobody knows which.
    pub(crate) fn content(&self, case: CaseId, paths: Option<(Part, Vec<Path>)>) {
        let mut changes = self.changes();
        let changed = changes.content.entry(case).or_default();
        match (&mut *changed, paths) {
            (Changed::Paths(known), Some((part, paths))) if known.len() + paths.len() <= PATHS_MAX => {
                known.extend(paths.into_iter().map(|path| (part, path)));
            }
            (_, _) => *changed = Changed::Everything,
        }
        drop(changes);
        self.wake.notify_one();
    }

    pub(crate) fn sync(&self, case: CaseId) {
        self.changes().sync.insert(case);
        self.wake.notify_one();
    }

    /// Nothing else is left to be told of it.
    pub(crate) fn removed(&self, case: CaseId) {
        let mut changes = self.changes();
        changes.content.remove(&case);
        changes.sync.remove(&case);
        changes.removed.insert(case);
        drop(changes);
        self.wake.notify_one();
    }

    pub(crate) fn expired(&self) {
        self.changes().expired = true;
        self.wake.notify_one();
    }

    /// Nobody is told of what somebody else has done.
    pub(crate) fn user_changed(&self) {
        let mut changes = self.changes();
        *changes = Changes { link: changes.link, user: true, ..Changes::default() };
        drop(changes);
        self.wake.notify_one();
    }

    pub(crate) fn sign_in_ended(&self) {
        self.changes().sign_in_ended = true;
        self.wake.notify_one();
    }

    /// Of what was there before, nobody is told any more.
    pub(crate) fn wiped(&self) {
        *self.changes() = Changes { wiped: true, ..Changes::default() };
        self.wake.notify_one();
    }

    /// Delivers until shutdown.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let Changes { link, content, sync, removed, expired, user, sign_in_ended, wiped } =
                std::mem::take(&mut *self.changes());
            let events = link
                .map(Event::Link)
                .into_iter()
                .chain(user.then_some(Event::UserChanged))
                .chain(sign_in_ended.then_some(Event::SignInEnded))
                // First: a case that comes back at once is there afterwards.
                .chain(removed.into_iter().map(Event::CaseRemoved))
                .chain(content.into_iter().map(|(case, changed)| Event::CaseChanged(case, changed)))
                .chain(sync.into_iter().map(Event::SyncChanged))
                .chain(expired.then_some(Event::ContentExpired))
                .chain(wiped.then_some(Event::Wiped));
            let observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for event in events {
                observers.iter().for_each(|observer| observer.on_event(event.clone()));
            }
        }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Paths of a case that wait for an observer; beyond it, it reads the whole case.
const PATHS_MAX: usize = 256;

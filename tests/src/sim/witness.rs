//! Remembers every promise made in a run and judges what happens by it.
//!
//! It sees the gateway's log as commits return and as a restarted gateway finds it, and what reaches each tablet's
//! store. It shares no code with gateway or SDK beyond the types.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use feldakte_client_sdk::{
    store::{Answer, Received, ReceivedSnapshot},
    view::Author,
};
use feldakte_core::{
    access::Principal,
    ids::{ChangeHash, DocumentId, Epoch, Position, TenantId},
    log::Binding,
};
use feldakte_gateway::store::Append;

pub use self::truth::AuthorityPromise;
use self::truth::{DeviceTruth, DocumentTruth, State};
use super::{authority::Moment, trace::Trace};
use crate::memory_matter_store::MemoryMatterStore;

mod judge;
mod truth;

/// What must hold at every moment of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// Replicas that may see a document are equal, to each other and to the log.
    Converge,
    /// What was told durable is in the gateway's store, what was told saved in the tablet's, and in the log at last.
    Durable,
    /// Nothing of a document reaches a tablet without a grant; bindings name the true device.
    Authority,
    /// Queues and caches stay within their limits.
    Bounds,
    /// When the world is whole, everything becomes durable in time.
    Liveness,
    /// Nothing panics or fails that has no reason to.
    Sanity,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Simulated time.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

/// A tablet, as the judge knows it.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// Who it is.
    pub principal: Principal,
    /// The id of its store.
    pub store: Epoch,
}

/// The judge of one run.
pub struct Witness {
    trace: Trace,
    tablets: Vec<Suspect>,
    /// What the gateway keeps for a supervisor: nobody has lost it.
    matters: Arc<MemoryMatterStore>,
    state: Mutex<State>,
}

impl Witness {
    /// For these tablets.
    pub fn new(trace: Trace, tablets: Vec<Suspect>, matters: Arc<MemoryMatterStore>) -> Self {
        let devices = tablets.iter().map(|_| DeviceTruth::default()).collect();
        Self { trace, tablets, matters, state: Mutex::new(State { devices, ..State::default() }) }
    }

    /// The first broken invariant.
    pub fn violation(&self) -> Option<Violation> {
        self.state().violation.clone()
    }

    /// Reports a broken invariant; the first one counts.
    pub fn violate(&self, invariant: Invariant, what: String) {
        self.trace.note(format_args!("VIOLATION {invariant:?}: {what}"));
        let at = self.trace.now();
        self.state().violation.get_or_insert(Violation { invariant, at, what });
    }

    /// The gateway's store has acknowledged a commit.
    pub fn committed(&self, appends: &[Append], positions: &[Position]) {
        let at = self.trace.now();
        for (Append { tenant, entry, .. }, position) in appends.iter().zip(positions) {
            self.note_entry(tenant, *position, entry);
            self.judge_entry(tenant, *position, entry);
            self.state().record(tenant, Moment { position: *position, at }, entry);
        }
    }

    /// What a gateway finds in its store when it starts, and what it holds at the end.
    pub fn found_log(&self, entries: &[(TenantId, Position, Append)]) {
        let broken = {
            let mut state = self.state();
            let before = std::mem::take(&mut state.logs);
            state.documents.clear();
            for (tenant, position, Append { entry, .. }) in entries {
                let known = before.get(tenant).and_then(|log| log.get(position));
                let at = known.map_or_else(|| self.trace.now(), |committed| committed.at);
                state.record(tenant, Moment { position: *position, at }, entry);
            }
            state.first_broken_promise()
        };
        let lengths: Vec<_> = self.state().logs.iter().map(|(tenant, log)| format!("{tenant} {}", log.len())).collect();
        self.trace.note(format_args!("gateway log: {}", lengths.join(", ")));
        if let Some(what) = broken {
            self.violate(Invariant::Durable, what);
        }
    }

    /// The gateway has called a grant or revocation durable.
    pub fn told_authority(&self, promise: AuthorityPromise) {
        let mut state = self.state();
        let is_there = state.has_authority(&promise);
        let (document, position) = (promise.document, promise.position);
        state.told_authority.push(promise);
        drop(state);
        if !is_there {
            let what = format!("authority over {document} was called durable at {position} before it was");
            self.violate(Invariant::Durable, what);
        }
    }

    /// The tablet begins a new session: nothing of an older one can arrive any more.
    pub fn dialled(&self, tablet: usize) {
        let now = self.trace.now();
        self.trace.note(format_args!("tablet {tablet} dials"));
        self.state().devices[tablet].dialled = now;
    }

    /// The tablet's store has acknowledged own changes.
    pub fn saved(&self, tablet: usize, document: DocumentId, hashes: impl Iterator<Item = ChangeHash>) {
        let hashes: Vec<_> = hashes.collect();
        self.trace.note(format_args!("tablet {tablet} stores {document} {hashes:?}"));
        self.state().devices[tablet].saved.extend(hashes.into_iter().map(|hash| (document, hash)));
    }

    /// The tablet is about to put other changes in the place of these, which were refused.
    pub fn redoing(&self, tablet: usize, document: DocumentId, replaced: &[ChangeHash]) {
        self.trace.note(format_args!("tablet {tablet} does {document} {replaced:?} again"));
        self.state().devices[tablet].replaced.extend(replaced.iter().map(|hash| (document, *hash)));
    }

    /// The app was told that a save is on the device.
    pub fn told_saved<'a>(&self, tablet: usize, tokens: impl Iterator<Item = &'a str>) {
        self.state().devices[tablet].tokens.extend(tokens.map(str::to_owned));
    }

    /// The app was told that a save failed, all of it.
    pub fn told_not_saved<'a>(&self, tablet: usize, tokens: impl Iterator<Item = &'a str>) {
        self.state().devices[tablet].denied.extend(tokens.map(str::to_owned));
    }

    /// The tablet was told that own changes are durable.
    pub fn answered(&self, tablet: usize, answer: &Answer) {
        let Answer { document, durable, position, refused, cursor } = answer;
        let cursor = cursor.map_or(Position::START, |cursor| cursor.position);
        self.trace.note(format_args!(
            "tablet {tablet} told: {document} {} durable at {position}, {refused:?} refused, cursor {cursor}",
            durable.len()
        ));
        self.told_durable(tablet, *document, durable.iter().copied());
    }

    fn told_durable(&self, tablet: usize, document: DocumentId, hashes: impl Iterator<Item = ChangeHash>) {
        for hash in hashes {
            let mut state = self.state();
            let is_there = state.documents.get(&document).is_some_and(|truth| truth.hashes.contains(&hash));
            state.told_durable.insert((document, hash), tablet);
            drop(state);
            if !is_there {
                let what = format!("tablet {tablet} was told {hash:?} of {document} is durable, and it is not");
                self.violate(Invariant::Durable, what);
            }
        }
    }

    /// Entries have reached the tablet.
    pub fn received(&self, tablet: usize, received: &Received) {
        let Received { cursor, entries, bootstrap } = received;
        let cursor = cursor.map_or(Position::START, |cursor| cursor.position);
        let positions: Vec<_> = entries.iter().map(|entry| entry.position.0).collect();
        self.trace.note(format_args!(
            "tablet {tablet} receives {positions:?}, {} to fetch, cursor {cursor}",
            bootstrap.len()
        ));
        for entry in entries {
            let is_own_end = entry.revoked.is_some() && entry.changes.is_empty() && entry.bindings.is_empty();
            // The client itself writes down in this form that a document cannot be had.
            let is_note = entry.position == Position::START && is_own_end;
            if !is_note && !is_own_end {
                self.judge_sight(tablet, entry.document, Some(entry.position), "an entry");
            }
            if !is_note {
                self.judge_content(tablet, entry.document, entry.position, &entry.changes);
            }
            let own: Vec<_> = {
                let saved = &self.state().devices[tablet].saved;
                let hashes = entry.changes.iter().map(|(hash, _)| *hash);
                hashes.filter(|hash| saved.contains(&(entry.document, *hash))).collect()
            };
            self.told_durable(tablet, entry.document, own.into_iter());
        }
        // After an end of its own the tablet asks whether it holds another grant.
        let asks =
            |document: &DocumentId| entries.iter().any(|entry| entry.revoked.is_some() && entry.document == *document);
        for document in bootstrap.iter().filter(|document| !asks(document)) {
            self.judge_sight(tablet, *document, None, "the name of a document to fetch");
        }
    }

    /// A snapshot has reached the tablet.
    pub fn received_snapshot(&self, tablet: usize, snapshot: &ReceivedSnapshot) {
        let ReceivedSnapshot { document, position, covered, .. } = snapshot;
        let changes = covered.len();
        self.trace.note(format_args!("tablet {tablet} receives {document} at {position}, {changes} changes"));
        self.judge_sight(tablet, *document, Some(*position), "a snapshot");
        let stranger = {
            let state = self.state();
            let truth = state.documents.get(document);
            covered.iter().copied().find(|hash| truth.is_none_or(|truth| !truth.hashes.contains(hash)))
        };
        if let Some(hash) = stranger {
            let what = format!("tablet {tablet}: a snapshot of {document} holds {hash:?}, which the log does not");
            self.violate(Invariant::Durable, what);
        }
    }

    /// What the tablet's store holds after a restart: every change with its document.
    pub fn found_on_device(&self, tablet: usize, held: &BTreeSet<(DocumentId, ChangeHash)>) {
        let missing = {
            let state = self.state();
            let saved = &state.devices[tablet].saved;
            let replaced = &state.devices[tablet].replaced;
            let evidence = self.matters.evidence();
            let is_kept = |change: &_| held.contains(change) || replaced.contains(change) || evidence.contains(change);
            saved.iter().copied().find(|change| !is_kept(change) && !state.told_durable.contains_key(change))
        };
        if let Some((document, hash)) = missing {
            let what = format!("tablet {tablet} lost {hash:?} of {document}, which was saved on the device");
            self.violate(Invariant::Durable, what);
        }
    }

    /// The tablet tells its user that everything is safe.
    pub fn told_all_safe(&self, tablet: usize) {
        let missing = {
            let state = self.state();
            let is_stored = |document: &DocumentId, hash: &ChangeHash| {
                state.documents.get(document).is_some_and(|truth| truth.hashes.contains(hash))
            };
            let DeviceTruth { saved, replaced, .. } = &state.devices[tablet];
            let evidence = self.matters.evidence();
            let is_lost =
                |change: &(DocumentId, ChangeHash)| !is_stored(&change.0, &change.1) && !evidence.contains(change);
            saved.difference(replaced).copied().find(is_lost)
        };
        if let Some((document, hash)) = missing {
            let what = format!("tablet {tablet} shows all safe, and {hash:?} of {document} is not in the log");
            self.violate(Invariant::Durable, what);
        }
    }

    /// All documents there are, ascending.
    pub fn documents(&self) -> Vec<DocumentId> {
        self.state().documents.keys().copied().collect()
    }

    /// What waits for a supervisor, by document.
    pub fn evidence(&self) -> BTreeMap<DocumentId, Vec<Bytes>> {
        self.matters.late_changes()
    }

    /// Looks at what the log says about a document.
    pub(super) fn with_document<T>(&self, document: DocumentId, look: impl FnOnce(&DocumentTruth) -> T) -> Option<T> {
        self.state().documents.get(&document).map(look)
    }

    /// Whether the tablet holds a grant on the document at the log's end.
    pub fn holds(&self, tablet: usize, document: DocumentId) -> bool {
        let principal = &self.tablets[tablet].principal;
        let state = self.state();
        state.documents.get(&document).is_some_and(|truth| {
            truth.tenant.as_ref() == Some(&principal.tenant)
                && truth.grants.holds(&principal.subjects_in(&principal.tenant))
        })
    }

    /// Whether the log names this author.
    pub fn has_written(&self, author: &Author) -> bool {
        let names = |binding: &Binding| Author::from(binding.clone()) == *author;
        self.state().documents.values().any(|truth| truth.bindings.iter().any(names))
    }

    /// Entries of all saves the app was told are on the device.
    pub fn saved_tokens(&self, tablet: usize) -> BTreeSet<String> {
        self.state().devices[tablet].tokens.clone()
    }

    /// Entries of all saves the app was told have failed.
    pub fn denied_tokens(&self, tablet: usize) -> BTreeSet<String> {
        self.state().devices[tablet].denied.clone()
    }

    /// Changes of the tablet that are in no log and that no other one stands for.
    pub fn unlogged(&self, tablet: usize) -> Vec<(DocumentId, ChangeHash)> {
        let state = self.state();
        let is_stored = |(document, hash): &&(DocumentId, ChangeHash)| {
            state.documents.get(document).is_some_and(|truth| truth.hashes.contains(hash))
        };
        let DeviceTruth { saved, replaced, .. } = &state.devices[tablet];
        let evidence = self.matters.evidence();
        saved.difference(replaced).filter(|change| !is_stored(change) && !evidence.contains(change)).copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Own changes on their way to the gateway: a window of pushes, oldest first.
//!
//! Nothing is taken out of the store before the gateway's answer; what is "in flight" is only remembered here and
//! forgotten with the session. A change is named together with its document: all documents of a part begin with the
//! same change.

use std::collections::{BTreeMap, BTreeSet};

use feldakte_core::{
    case,
    change::Change,
    ids::{CaseId, ChangeHash, DocumentId, UserId},
    limits,
};
use feldakte_proto::{ClientMessage, Push};
use tokio::sync::mpsc;

use crate::{
    error::SdkError,
    notify::Notifier,
    store::{SharedLocalStore, Unsent},
};

/// The window.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    next_push: u64,
    flying: BTreeMap<u64, Flight>,
    /// Rows up to here have been looked at in this session.
    seen: u64,
    /// In flight, or waiting for another change.
    held: BTreeSet<(DocumentId, ChangeHash)>,
    waiting: BTreeSet<(DocumentId, ChangeHash)>,
    voices: Voices,
}

/// In whose name the session may deliver.
#[derive(Debug, Default)]
pub(super) struct Voices {
    /// Who uses the device, as far as the gateway believes it.
    pub(super) active: Option<UserId>,
    /// Everybody it believes.
    pub(super) users: BTreeSet<UserId>,
}

impl Voices {
    /// Whose work the change is delivered as; `None` when it has to wait for its author.
    fn author_of(&self, document: DocumentId, hash: ChangeHash, user: Option<UserId>) -> Option<Option<UserId>> {
        match user {
            // All documents of a part begin with the same change, and nobody has written it.
            _ if hash == case::genesis(document.part).hash => Some(self.active),
            Some(user) if !self.users.contains(&user) => None,
            user => Some(user),
        }
    }
}

/// One push in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) document: DocumentId,
    user: Option<UserId>,
    pub(super) changes: Vec<Flying>,
    bytes: usize,
}

/// One change in flight.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) hash: ChangeHash,
    /// What it stands on.
    pub(super) deps: Vec<ChangeHash>,
}

impl Outbox {
    /// A session begins.
    pub(super) fn begin(&mut self, voices: Voices) {
        self.voices = voices;
    }

    /// The user's changes of the document that are in flight.
    pub(super) fn in_flight(&self, document: DocumentId, user: Option<UserId>) -> u64 {
        self.flying
            .values()
            .filter(|flight| flight.document == document && flight.user == user)
            .map(|flight| flight.changes.len() as u64)
            .sum()
    }

    /// Rows up to here have been looked at.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Pushes without an answer.
    pub(super) fn pushes(&self) -> usize {
        self.flying.len()
    }

    /// The session is gone: everything without an answer is unsent again. Returns the cases in which that is the user's.
    pub(super) fn reset(&mut self, user: Option<UserId>) -> BTreeSet<CaseId> {
        let his = self.flying.values().filter(|flight| flight.user == user);
        let cases = his.map(|flight| flight.document.case).collect();
        *self = Self::default();
        cases
    }

    /// The gateway has answered.
    pub(super) fn land(&mut self, push: u64) -> Option<Flight> {
        let flight = self.flying.remove(&push)?;
        self.release(&flight);
        Some(flight)
    }

    /// This one stands on a change the gateway does not have yet; [`Outbox::retry_waiting`] offers it again.
    pub(super) fn wait(&mut self, document: DocumentId, hash: ChangeHash) {
        self.waiting.insert((document, hash));
        self.held.insert((document, hash));
    }

    /// Offers waiting changes again.
    pub(super) fn retry_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for change in std::mem::take(&mut self.waiting) {
            self.held.remove(&change);
        }
        self.seen = 0;
    }

    /// Sends unsent changes while the window has room. The user is told of his own alone.
    pub(super) async fn pump(
        &mut self,
        store: &SharedLocalStore,
        outbound: &mpsc::Sender<ClientMessage>,
        (notifier, user): (&Notifier, Option<UserId>),
    ) -> Result<(), SdkError> {
        while self.has_room() && outbound.capacity() > 0 {
            let unsent = store.unsent(self.seen, READ_AT_ONCE).await?;
            if unsent.is_empty() {
                return Ok(());
            }
            for push in self.pushes_of(unsent) {
                let (number, case) = (push.push, push.document.case);
                let Ok(()) = outbound.try_send(ClientMessage::Push(push)) else {
                    // The link is gone or its queue is full: what was not handed over is looked at again.
                    self.forget_unhanded();
                    return Ok(());
                };
                self.next_push += 1;
                if self.flying.get(&number).is_some_and(|flight| flight.user == user) {
                    notifier.sync(case);
                }
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let bytes: usize = self.flying.values().map(|flight| flight.bytes).sum();
        self.flying.len() < PUSHES_MAX && bytes < WINDOW_BYTES
    }

    /// Groups rows into pushes, one per run of the same document, and remembers them as in flight. Rows for which the
    /// window has no room are looked at again.
    fn pushes_of(&mut self, unsent: Vec<Unsent>) -> Vec<Push> {
        let mut pushes: Vec<Push> = Vec::new();
        for Unsent { row, document, hash, bytes, user } in unsent {
            let Some(author) = self.voices.author_of(document, hash, user) else {
                self.seen = self.seen.max(row);
                continue;
            };
            let is_same = |push: &Push| (push.document, push.user) == (document, author);
            let fits = |push: &Push| is_same(push) && push.changes.len() < limits::PUSH_CHANGES_MAX;
            let is_new = !pushes.last().is_some_and(fits);
            let is_held = self.held.contains(&(document, hash));
            if is_new && !is_held && !self.has_room() {
                break;
            }
            self.seen = self.seen.max(row);
            if is_held {
                continue;
            }
            self.held.insert((document, hash));
            if is_new {
                let push = self.next_push + 1 + pushes.len() as u64;
                pushes.push(Push { push, document, changes: Vec::new(), user: author });
            }
            let push = pushes.last_mut().expect("pushed above");
            let new = Flight { document, user, changes: Vec::new(), bytes: 0 };
            let flight = self.flying.entry(push.push).or_insert(new);
            flight.bytes += bytes.len();
            // An own change parses; one that did not would be refused for that, whatever it stands on.
            let deps = Change::parse(bytes.clone()).map(|change| change.deps).unwrap_or_default();
            flight.changes.push(Flying { hash, deps });
            push.changes.push(bytes);
        }
        pushes
    }

    fn forget_unhanded(&mut self) {
        for (_, flight) in self.flying.split_off(&(self.next_push + 1)) {
            self.release(&flight);
        }
        self.seen = 0;
    }

    fn release(&mut self, flight: &Flight) {
        for change in &flight.changes {
            self.held.remove(&(flight.document, change.hash));
        }
    }
}

/// Pushes in flight: half of what the gateway takes before it stops reading.
const PUSHES_MAX: usize = limits::PUSHES_IN_FLIGHT / 2;
/// Bytes in flight: fills a 10 Mbit/s link of 200 ms.
const WINDOW_BYTES: usize = 256 << 10;
/// Bytes read from the store at once.
const READ_AT_ONCE: usize = 64 << 10;

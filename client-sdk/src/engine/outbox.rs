//! Own changes on their way to the gateway: a window of pushes on each lane, oldest first.
//!
//! An order goes at once, with all that its document lacks at the gateway, whether that is under way already or not. Changes
//! of cases in use go with the session, what else waits goes behind. A document is on one of these two lanes at a time, so
//! that nothing arrives before what it stands on.
//!
//! Nothing is taken out of the store before the gateway's answer; what is "in flight" is only remembered here and
//! forgotten with the session. A change is named together with its document: all documents of a part begin with the
//! same change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use feldakte_core::{
    case,
    ids::{CaseId, ChangeHash, DocumentId, UserId},
    lane::Lane,
    limits,
};

mod pump;

/// The window.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    next_push: u64,
    flying: BTreeMap<u64, Flight>,
    /// Rows up to here have been looked at in this session, for each lane.
    seen: Seen,
    /// Documents with an order that has not been sent.
    urgent: BTreeSet<DocumentId>,
    /// Cases that somebody looks at or writes, the last one first.
    in_use: VecDeque<CaseId>,
    /// Documents of which something waits until what is under way on another lane is answered.
    deferred: BTreeSet<DocumentId>,
    /// In flight, or waiting for another change.
    held: BTreeSet<(DocumentId, ChangeHash)>,
    waiting: BTreeSet<(DocumentId, ChangeHash)>,
    voices: Voices,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    session: u64,
    background: u64,
}

impl Seen {
    fn on(&mut self, lane: Lane) -> &mut u64 {
        match lane {
            Lane::Background => &mut self.background,
            _ => &mut self.session,
        }
    }
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
    lane: Lane,
}

/// One change in flight.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) hash: ChangeHash,
    /// What it stands on.
    pub(super) deps: Vec<ChangeHash>,
    /// It went on another lane as well, and was answered there.
    pub(super) is_settled: bool,
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
        self.seen.session.min(self.seen.background)
    }

    /// Somebody looks at the case or writes it.
    pub(super) fn used(&mut self, case: CaseId) {
        let before = self.in_use.len();
        self.in_use.retain(|other| *other != case);
        if before == self.in_use.len() {
            // What of it waits behind may go ahead now, and what of the one that makes room may not.
            self.seen = Seen::default();
        }
        self.in_use.push_front(case);
        self.in_use.truncate(limits::IN_USE_MAX);
    }

    /// Cases that somebody looks at or writes.
    pub(super) fn in_use(&self) -> impl Iterator<Item = CaseId> {
        self.in_use.iter().copied()
    }

    /// Whether the case is one of them.
    pub(super) fn is_in_use(&self, case: CaseId) -> bool {
        self.in_use.contains(&case)
    }

    /// An order has been written there.
    pub(super) fn urge(&mut self, document: DocumentId) {
        self.urgent.insert(document);
    }

    /// Pushes without an answer.
    pub(super) fn pushes(&self) -> usize {
        self.flying.len()
    }

    /// The session is gone: everything without an answer is unsent again. Returns the cases in which that is the user's.
    pub(super) fn reset(&mut self, user: Option<UserId>) -> BTreeSet<CaseId> {
        let cases = [Lane::Urgent, Lane::Session, Lane::Background].map(|lane| self.recall(lane, user));
        let (urgent, in_use) = (std::mem::take(&mut self.urgent), std::mem::take(&mut self.in_use));
        *self = Self { urgent, in_use, ..Self::default() };
        cases.into_iter().flatten().collect()
    }

    /// A lane was lost: what it carried is unsent again. Returns the cases in which that is the user's.
    pub(super) fn recall(&mut self, lane: Lane, user: Option<UserId>) -> BTreeSet<CaseId> {
        let lost: Vec<u64> =
            self.flying.iter().filter(|(_, flight)| flight.lane == lane).map(|(push, _)| *push).collect();
        let flights: Vec<Flight> = lost.into_iter().filter_map(|push| self.land(push)).collect();
        if lane == Lane::Urgent {
            self.urgent.extend(flights.iter().map(|flight| flight.document));
        }
        self.seen = Seen::default();
        let his = flights.iter().filter(|flight| flight.user == user);
        his.map(|flight| flight.document.case).collect()
    }

    /// The gateway has answered.
    pub(super) fn land(&mut self, push: u64) -> Option<Flight> {
        let flight = self.flying.remove(&push)?;
        self.release(&flight);
        if self.deferred.remove(&flight.document) {
            self.seen = Seen::default();
        }
        Some(flight)
    }

    /// The answer to these is known: what else is under way of them needs none.
    pub(super) fn settle<'h>(&mut self, document: DocumentId, hashes: impl Iterator<Item = &'h ChangeHash> + Clone) {
        let same = self.flying.values_mut().filter(|flight| flight.document == document);
        for change in same.flat_map(|flight| &mut flight.changes) {
            change.is_settled |= hashes.clone().any(|hash| *hash == change.hash);
        }
    }

    /// This one stands on a change the gateway does not have yet; [`Outbox::retry_waiting`] offers it again.
    pub(super) fn wait(&mut self, document: DocumentId, hash: ChangeHash) {
        self.waiting.insert((document, hash));
        self.held.insert((document, hash));
    }

    /// Whether a change has to be offered again.
    pub(super) fn is_anything_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Offers waiting changes again.
    pub(super) fn retry_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for change in std::mem::take(&mut self.waiting) {
            self.held.remove(&change);
        }
        self.seen = Seen::default();
    }

    fn forget_unhanded(&mut self) {
        for (_, flight) in self.flying.split_off(&(self.next_push + 1)) {
            self.release(&flight);
        }
        self.seen = Seen::default();
    }

    fn release(&mut self, flight: &Flight) {
        for change in &flight.changes {
            self.held.remove(&(flight.document, change.hash));
        }
    }
}

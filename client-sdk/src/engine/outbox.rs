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
    change::Change,
    ids::{CaseId, ChangeHash, DocumentId, UserId},
    lane::Lane,
    limits,
};
use feldakte_proto::{ClientMessage, Push};

use crate::{
    error::SdkError,
    link::{NotTaken, Outbound},
    notify::Notifier,
    store::{SharedLocalStore, Unsent},
};

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

    /// Sends unsent changes while the windows have room. The user is told of his own alone.
    pub(super) async fn pump(
        &mut self,
        store: &SharedLocalStore,
        outbound: &Outbound,
        news: (&Notifier, Option<UserId>),
    ) -> Result<(), SdkError> {
        while let Some(document) = self.urgent.pop_first() {
            let unsent = unsent_of(store, document).await?;
            let Some(pushes) = self.urgent_pushes_of(document, unsent) else { continue };
            if self.hand_over(outbound, Lane::Urgent, pushes, news).is_err() {
                self.urgent.insert(document);
                return Ok(());
            }
        }
        for lane in [Lane::Session, Lane::Background] {
            while self.has_room(lane) && outbound.has_room(lane) {
                let unsent = store.unsent(*self.seen.on(lane), READ_AT_ONCE).await?;
                if unsent.is_empty() {
                    break;
                }
                let pushes = self.pushes_of(lane, unsent);
                if self.hand_over(outbound, lane, pushes, news).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whatever the link does not take is looked at again.
    fn hand_over(
        &mut self,
        outbound: &Outbound,
        lane: Lane,
        pushes: Vec<Push>,
        (notifier, user): (&Notifier, Option<UserId>),
    ) -> Result<(), NotTaken> {
        for push in pushes {
            let (number, case) = (push.push, push.document.case);
            if let Err(not_taken) = outbound.try_send_on(lane, ClientMessage::Push(push)) {
                self.forget_unhanded();
                return Err(not_taken);
            }
            self.next_push += 1;
            if self.flying.get(&number).is_some_and(|flight| flight.user == user) {
                notifier.sync(case);
            }
        }
        Ok(())
    }

    fn has_room(&self, lane: Lane) -> bool {
        let (pushes_max, bytes_max) = match lane {
            Lane::Background => (BACKGROUND_PUSHES_MAX, BACKGROUND_BYTES),
            _ => (PUSHES_MAX, WINDOW_BYTES),
        };
        let flying = self.flying.values().filter(|flight| flight.lane == lane);
        let (pushes, bytes) = flying.fold((0, 0), |(pushes, bytes), flight| (pushes + 1, bytes + flight.bytes));
        pushes < pushes_max && bytes < bytes_max
    }

    /// Which of the two the document's changes are for.
    fn lane_of(&self, document: DocumentId) -> Lane {
        if self.is_in_use(document.case) { Lane::Session } else { Lane::Background }
    }

    fn is_elsewhere(&self, document: DocumentId, lane: Lane) -> bool {
        self.flying.values().any(|flight| flight.document == document && flight.lane != lane)
    }

    /// Groups rows of that lane into pushes, one per run of the same document, and remembers them as in flight. Rows for
    /// which the window has no room are looked at again.
    fn pushes_of(&mut self, lane: Lane, unsent: Vec<Unsent>) -> Vec<Push> {
        let mut pushes: Vec<Push> = Vec::new();
        for unsent in unsent {
            let Unsent { row, document, hash, user, .. } = unsent;
            let author = self.voices.author_of(document, hash, user);
            let Some(author) = author.filter(|_| self.lane_of(document) == lane) else {
                self.look_beyond(lane, row);
                continue;
            };
            let is_held = self.held.contains(&(document, hash));
            if !is_held && self.is_elsewhere(document, lane) {
                self.deferred.insert(document);
                self.look_beyond(lane, row);
                continue;
            }
            let is_new = !fits(pushes.last(), document, author);
            if is_new && !is_held && !self.has_room(lane) {
                break;
            }
            self.look_beyond(lane, row);
            if !is_held {
                self.take_off(lane, unsent, author, &mut pushes);
            }
        }
        pushes
    }

    /// Everything that the document lacks at the gateway; `None` when that is too much to go ahead, or somebody's who has
    /// not signed in: it goes as everything does.
    fn urgent_pushes_of(&mut self, document: DocumentId, unsent: Vec<Unsent>) -> Option<Vec<Push>> {
        let bytes: usize = unsent.iter().map(|unsent| unsent.bytes.len()).sum();
        let is_small = bytes <= URGENT_BYTES && unsent.len() <= limits::PUSH_CHANGES_MAX;
        let author_of = |unsent: &Unsent| self.voices.author_of(document, unsent.hash, unsent.user);
        let authors = unsent.iter().map(author_of).collect::<Option<Vec<_>>>().filter(|_| is_small)?;
        let mut pushes = Vec::new();
        for (unsent, author) in unsent.into_iter().zip(authors) {
            self.take_off(Lane::Urgent, unsent, author, &mut pushes);
        }
        Some(pushes)
    }

    fn look_beyond(&mut self, lane: Lane, row: u64) {
        let seen = self.seen.on(lane);
        *seen = row.max(*seen);
    }

    /// The change is in flight from here on, in the last of the pushes or in another one.
    fn take_off(&mut self, lane: Lane, unsent: Unsent, author: Option<UserId>, pushes: &mut Vec<Push>) {
        let Unsent { row: _, document, hash, bytes, user } = unsent;
        self.held.insert((document, hash));
        if !fits(pushes.last(), document, author) {
            let push = self.next_push + 1 + pushes.len() as u64;
            pushes.push(Push { push, document, changes: Vec::new(), user: author });
        }
        let push = pushes.last_mut().expect("pushed above");
        let new = Flight { document, user, changes: Vec::new(), bytes: 0, lane };
        let flight = self.flying.entry(push.push).or_insert(new);
        flight.bytes += bytes.len();
        // An own change parses; one that did not would be refused for that, whatever it stands on.
        let deps = Change::parse(bytes.clone()).map(|change| change.deps).unwrap_or_default();
        flight.changes.push(Flying { hash, deps, is_settled: false });
        push.changes.push(bytes);
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

fn fits(push: Option<&Push>, document: DocumentId, author: Option<UserId>) -> bool {
    push.is_some_and(|push| {
        (push.document, push.user) == (document, author) && push.changes.len() < limits::PUSH_CHANGES_MAX
    })
}

/// All of the document that is not durable, oldest first.
async fn unsent_of(store: &SharedLocalStore, document: DocumentId) -> Result<Vec<Unsent>, SdkError> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = store.unsent(after, READ_AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.row;
        all.extend(page.into_iter().filter(|unsent| unsent.document == document));
    }
}

/// Pushes in flight: half of what the gateway takes before it stops reading.
const PUSHES_MAX: usize = limits::PUSHES_IN_FLIGHT / 2;
/// Bytes in flight: fills a 10 Mbit/s link of 200 ms.
const WINDOW_BYTES: usize = 256 << 10;
/// The same for what goes behind, where a case that comes into use waits for what of it is under way.
const BACKGROUND_PUSHES_MAX: usize = PUSHES_MAX / 2;
/// Fills a 10 Mbit/s link of 100 ms.
const BACKGROUND_BYTES: usize = 128 << 10;
/// Bytes read from the store at once.
const READ_AT_ONCE: usize = 64 << 10;
/// What goes ahead with an order at most: it fits into one frame of its lane.
const URGENT_BYTES: usize = limits::URGENT_FRAME_LEN_MAX * 3 / 4;

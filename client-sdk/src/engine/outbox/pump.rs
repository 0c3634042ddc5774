//! Which changes are sent next, and on which lane.

use feldakte_core::{
    change::Change,
    ids::{DocumentId, UserId},
    lane::Lane,
    limits,
};
use feldakte_proto::{ClientMessage, Push};

use super::{Flight, Flying, Outbox};
use crate::{
    error::SdkError,
    link::{NotTaken, Outbound},
    notify::Notifier,
    store::{SharedLocalStore, Unsent},
};

impl Outbox {
    /// Sends unsent changes while the windows have room. The user is told of his own alone.
    pub(in crate::engine) async fn pump(
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
        // There is nothing beyond this row: the second lane need not ask again.
        let mut last = u64::MAX;
        for lane in [Lane::Session, Lane::Background] {
            while self.has_room(lane) && outbound.has_room(lane) && *self.seen.on(lane) < last {
                let unsent = store.unsent(*self.seen.on(lane), READ_AT_ONCE).await?;
                if unsent.is_empty() {
                    last = *self.seen.on(lane);
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

//! Own changes on their way to the gateway: a window of pushes, oldest first.
//!
//! Nothing is taken out of the store before the gateway's answer; what is "in flight" is only remembered here and
//! forgotten with the session.

use std::collections::{BTreeMap, BTreeSet};

use feldakte_core::{
    ids::{CaseId, ChangeHash, DocumentId},
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
    /// In flight, or waiting for another device's change.
    held: BTreeSet<ChangeHash>,
    waiting: BTreeSet<ChangeHash>,
}

/// One push in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) document: DocumentId,
    pub(super) hashes: Vec<ChangeHash>,
    bytes: usize,
}

impl Outbox {
    /// Changes of the document that are in flight.
    pub(super) fn in_flight(&self, document: DocumentId) -> u64 {
        self.flying.values().filter(|flight| flight.document == document).map(|flight| flight.hashes.len() as u64).sum()
    }

    /// Pushes without an answer.
    pub(super) fn pushes(&self) -> usize {
        self.flying.len()
    }

    /// The session is gone: everything without an answer is unsent again. Returns the cases it concerns.
    pub(super) fn reset(&mut self) -> BTreeSet<CaseId> {
        let cases = self.flying.values().map(|flight| flight.document.case).collect();
        *self = Self::default();
        cases
    }

    /// The gateway has answered.
    pub(super) fn land(&mut self, push: u64) -> Option<Flight> {
        let flight = self.flying.remove(&push)?;
        for hash in &flight.hashes {
            self.held.remove(hash);
        }
        Some(flight)
    }

    /// These stand on changes the gateway does not have yet; [`Outbox::retry_waiting`] offers them again.
    pub(super) fn wait(&mut self, hashes: impl IntoIterator<Item = ChangeHash>) {
        for hash in hashes {
            self.waiting.insert(hash);
            self.held.insert(hash);
        }
    }

    /// Offers waiting changes again.
    pub(super) fn retry_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for hash in std::mem::take(&mut self.waiting) {
            self.held.remove(&hash);
        }
        self.seen = 0;
    }

    /// Sends unsent changes while the window has room.
    pub(super) async fn pump(
        &mut self,
        store: &SharedLocalStore,
        outbound: &mpsc::Sender<ClientMessage>,
        notifier: &Notifier,
    ) -> Result<(), SdkError> {
        while self.has_room() && outbound.capacity() > 0 {
            let unsent = store.unsent(self.seen, READ_AT_ONCE).await?;
            if unsent.is_empty() {
                return Ok(());
            }
            for push in self.pushes_of(unsent) {
                let case = push.document.case;
                let Ok(()) = outbound.try_send(ClientMessage::Push(push)) else {
                    // The link is gone or its queue is full: what was not handed over is looked at again.
                    self.forget_unhanded();
                    return Ok(());
                };
                self.next_push += 1;
                notifier.sync(case);
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let bytes: usize = self.flying.values().map(|flight| flight.bytes).sum();
        self.flying.len() < PUSHES_MAX && bytes < WINDOW_BYTES
    }

    /// Groups rows into pushes, one per run of the same document, and remembers them as in flight.
    fn pushes_of(&mut self, unsent: Vec<Unsent>) -> Vec<Push> {
        let mut pushes: Vec<Push> = Vec::new();
        for Unsent { row, document, hash, bytes } in unsent {
            self.seen = self.seen.max(row);
            if !self.held.insert(hash) {
                continue;
            }
            let fits = |push: &Push| push.document == document && push.changes.len() < limits::PUSH_CHANGES_MAX;
            if !pushes.last().is_some_and(fits) {
                let push = self.next_push + 1 + pushes.len() as u64;
                pushes.push(Push { push, document, changes: Vec::new() });
            }
            let push = pushes.last_mut().expect("pushed above");
            let flight = self.flying.entry(push.push).or_insert(Flight { document, hashes: Vec::new(), bytes: 0 });
            flight.hashes.push(hash);
            flight.bytes += bytes.len();
            push.changes.push(bytes);
        }
        pushes
    }

    fn forget_unhanded(&mut self) {
        for (_, flight) in self.flying.split_off(&(self.next_push + 1)) {
            flight.hashes.iter().for_each(|hash| {
                self.held.remove(hash);
            });
        }
        self.seen = 0;
    }
}

/// Pushes in flight: half of what the gateway takes before it stops reading.
const PUSHES_MAX: usize = limits::PUSHES_IN_FLIGHT / 2;
/// Bytes in flight: fills a 10 Mbit/s link of 200 ms.
const WINDOW_BYTES: usize = 256 << 10;
/// Bytes read from the store at once.
const READ_AT_ONCE: usize = 64 << 10;

//! One document in the device's tables: who may see it, whose each change is, and what is shown to whom.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use feldakte_client_sdk::store::{DocumentState, Reader};
use feldakte_core::{
    ids::{ActorId, ChangeHash, DocumentId, Position, UserId},
    log::{Binding, Quarantine},
};
use feldakte_proto::Reason;

#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    /// Where the generations of its authors begin.
    pub(super) generation: u32,
    pub(super) generations: BTreeMap<Option<UserId>, u32>,
    pub(super) readers: BTreeMap<Reader, Sight>,
    pub(super) snapshot: Option<Snapshot>,
    /// Ascending rows are the order in which changes were stored.
    pub(super) changes: BTreeMap<u64, Change>,
    pub(super) rows: BTreeMap<ChangeHash, u64>,
    pub(super) bindings: BTreeMap<ActorId, Binding>,
    pub(super) quarantined: BTreeSet<ChangeHash>,
}

/// What a reader may see of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Readable,
    /// A snapshot has to be fetched.
    Pending,
    /// The gateway is asked.
    Asked,
    Ended,
}

impl Sight {
    pub(super) fn is_readable(self) -> bool {
        matches!(self, Sight::Readable | Sight::Pending)
    }
}

/// Who looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eyes {
    pub(super) user: Option<UserId>,
    pub(super) reader: Reader,
}

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) covered: BTreeSet<ChangeHash>,
    pub(super) chunks: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) hash: ChangeHash,
    pub(super) bytes: Bytes,
    pub(super) intent: Bytes,
    pub(super) state: State,
    pub(super) covered: bool,
    pub(super) user: Option<UserId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Local,
    Durable(Position),
    Refused(Reason),
    Received(Position),
    Replaced,
    Kept(Reason),
}

impl State {
    /// An own change that the gateway has not confirmed, or has refused.
    pub(super) fn is_unsettled(self) -> bool {
        matches!(self, State::Local | State::Refused(_) | State::Replaced | State::Kept(_))
    }
}

impl Document {
    pub(super) fn state(&self, id: DocumentId, Eyes { user, reader }: Eyes) -> DocumentState {
        let own = || self.changes.values().filter(|change| change.user == user);
        let count = |wanted: fn(&State) -> bool| own().filter(|c| wanted(&c.state)).count() as u64;
        DocumentState {
            document: id,
            generation: self.generation_of(user),
            bootstrap_pending: self.sights_of(reader).any(|sight| sight == Sight::Pending),
            revoked: !self.is_readable(reader) && !self.readers.is_empty(),
            local: count(|state| matches!(state, State::Local)),
            durable: count(|state| matches!(state, State::Durable(_))),
            refused: count(|state| matches!(state, State::Refused(_))),
            kept: count(|state| matches!(state, State::Kept(_))),
        }
    }

    pub(super) fn generation_of(&self, user: Option<UserId>) -> u32 {
        self.generations.get(&user).copied().unwrap_or(self.generation)
    }

    pub(super) fn next_generation(&mut self, user: Option<UserId>) {
        let next = self.generation_of(user) + 1;
        self.generations.insert(user, next);
    }

    pub(super) fn last_generation(&self) -> u32 {
        self.generations.values().copied().max().unwrap_or(0).max(self.generation)
    }

    pub(super) fn may_be_purged(&self) -> bool {
        let is_safe = |change: &Change| !matches!(change.state, State::Local | State::Refused(_));
        let have_ended = self.readers.values().all(|sight| *sight == Sight::Ended);
        !self.readers.is_empty() && have_ended && self.changes.values().all(is_safe)
    }

    /// Of a reader and of those whose content is his, too.
    pub(super) fn sights_of(&self, reader: Reader) -> impl Iterator<Item = Sight> {
        let device = (reader == Reader::Local).then_some(Reader::Device);
        [Some(reader), device].into_iter().flatten().filter_map(|reader| self.readers.get(&reader).copied())
    }

    pub(super) fn is_readable(&self, reader: Reader) -> bool {
        self.sights_of(reader).any(Sight::is_readable)
    }

    /// For anybody.
    pub(super) fn is_held(&self) -> bool {
        self.readers.values().any(|sight| sight.is_readable())
    }

    /// Any content that the gateway has, too.
    pub(super) fn has_come(&self) -> bool {
        let is_there = |change: &Change| matches!(change.state, State::Durable(_) | State::Received(_));
        self.snapshot.is_some() || self.changes.values().any(is_there)
    }

    pub(super) fn end(&mut self, told: Reader, is_his_too: impl Fn(Reader) -> bool) {
        self.readers.insert(told, Sight::Ended);
        for (reader, sight) in &mut self.readers {
            if is_his_too(*reader) {
                *sight = Sight::Ended;
            }
        }
    }

    /// The gateway has taken that change.
    pub(super) fn taken(&mut self, hash: ChangeHash, Eyes { user, reader }: Eyes) {
        let Some(author) = self.find(hash).map(|change| change.user) else { return };
        let sight = match (self.is_readable(reader), author == user) {
            (true, true) => return,
            (false, true) if self.readers.is_empty() => Sight::Readable,
            (true, false) | (false, true) => Sight::Pending,
            (false, false) => Sight::Asked,
        };
        self.readers.insert(reader, sight);
    }

    /// What is here holds what must not be applied.
    pub(super) fn replace_with_fetched(&mut self) {
        let readable = self.readers.values_mut().filter(|sight| **sight == Sight::Readable);
        readable.for_each(|sight| *sight = Sight::Pending);
    }

    /// Whether he may read it, or has written something in it that nobody has yet.
    pub(super) fn is_seen_by(&self, Eyes { user, reader }: Eyes) -> bool {
        let is_his = |change: &Change| {
            change.user == user && matches!(change.state, State::Local | State::Refused(_) | State::Kept(_))
        };
        self.is_readable(reader) || self.changes.values().any(is_his)
    }

    pub(super) fn is_own_alone(&self, change: &Change, user: Option<UserId>) -> bool {
        let is_his = matches!(change.state, State::Local | State::Durable(_))
            && (change.user == user || change.intent.is_empty());
        is_his && !self.quarantined.contains(&change.hash)
    }

    /// Whether anything was removed.
    pub(super) fn evict(&mut self) -> bool {
        let is_only_here = |state: State| matches!(state, State::Local | State::Refused(_));
        if self.snapshot.is_none() && self.changes.values().all(|change| is_only_here(change.state)) {
            return false;
        }
        self.snapshot = None;
        self.changes.retain(|_, change| is_only_here(change.state));
        self.changes.values_mut().for_each(|change| change.covered = false);
        self.rows.retain(|_, row| self.changes.contains_key(row));
        self.bindings.clear();
        self.quarantined.clear();
        self.replace_with_fetched();
        self.generation += 1;
        self.generations.values_mut().for_each(|generation| *generation += 1);
        true
    }

    pub(super) fn is_shown(&self, change: &Change, user: Option<UserId>) -> bool {
        let refused = matches!(change.state, State::Refused(_) | State::Replaced | State::Kept(_));
        // The first change of a document has no content, and no intent.
        let is_secret = change.state == State::Local && change.user != user && !change.intent.is_empty();
        !(refused || is_secret || change.covered || self.quarantined.contains(&change.hash))
    }

    pub(super) fn find(&mut self, hash: ChangeHash) -> Option<&mut Change> {
        let row = self.rows.get(&hash)?;
        self.changes.get_mut(row)
    }

    pub(super) fn covers(&self, hash: ChangeHash) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.covered.contains(&hash))
    }

    /// Takes in marks and parks own changes among them; whether the snapshot holds one that is new.
    pub(super) fn quarantine(&mut self, marks: &[Quarantine]) -> bool {
        let mut covered = false;
        for Quarantine { change, reason: _ } in marks {
            if !self.quarantined.insert(*change) {
                continue;
            }
            covered |= self.covers(*change);
            let is_own = |state: State| matches!(state, State::Local | State::Durable(_));
            if let Some(known) = self.find(*change).filter(|known| is_own(known.state)) {
                known.state = State::Refused(Reason::DependencyRefused);
                let user = known.user;
                self.next_generation(user);
            }
        }
        covered
    }

    /// The log holds the change: an unsettled own one is durable, unless it is quarantined.
    pub(super) fn confirm(&mut self, hash: ChangeHash, position: Position) {
        let is_quarantined = self.quarantined.contains(&hash);
        let Some(known) = self.find(hash).filter(|known| known.state.is_unsettled()) else { return };
        match (is_quarantined, known.state) {
            (false, _) => {
                known.state = State::Durable(position);
            }
            (true, State::Local) => {
                known.state = State::Refused(Reason::DependencyRefused);
                let user = known.user;
                self.next_generation(user);
            }
            (true, _) => {}
        }
    }

    pub(super) fn insert(&mut self, last_row: &mut u64, change: Change) {
        *last_row += 1;
        self.rows.insert(change.hash, *last_row);
        self.changes.insert(*last_row, change);
    }

    pub(super) fn bind(&mut self, bindings: &[Binding]) {
        self.bindings.extend(bindings.iter().map(|binding| (binding.actor, binding.clone())));
    }

    pub(super) fn save_received(&mut self, last_row: &mut u64, position: Position, hash: ChangeHash, bytes: &Bytes) {
        if self.rows.contains_key(&hash) {
            self.confirm(hash, position);
        } else if !self.covers(hash) {
            let (bytes, state) = (bytes.clone(), State::Received(position));
            self.insert(last_row, Change { hash, bytes, intent: Bytes::new(), state, covered: false, user: None });
        }
    }

    pub(super) fn replace_snapshot(&mut self, chunks: &[u8], mut covered: BTreeSet<ChangeHash>) {
        let mut all = chunks.to_vec();
        if let Some(old) = self.snapshot.take() {
            let is_kept = |hash: &ChangeHash| covered.contains(hash) || self.rows.contains_key(hash);
            if old.covered.iter().any(|hash| !is_kept(hash) && !self.quarantined.contains(hash)) {
                all = [&old.chunks, chunks].concat();
                covered.extend(old.covered);
            }
        }
        self.changes.retain(|_, change| {
            change.covered = covered.contains(&change.hash);
            !(change.covered && matches!(change.state, State::Received(_)))
        });
        self.rows.retain(|_, row| self.changes.contains_key(row));
        self.snapshot = Some(Snapshot { covered, chunks: Bytes::from(all) });
    }
}

//! The device's tables as plain maps: what every operation of `LocalStore` means, without a disk.
//!
//! The same rules as in `client-sdk/src/store/sqlcipher/`, written a second time; a property test compares the two.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use feldakte_client_sdk::store::{
    Answer, ClockState, DocumentState, LocalDocument, LocalState, LocalUser, OwnChange, Parked, Reader, Received,
    ReceivedEntry, ReceivedSnapshot, Revoked, Unsent, Wipe, WipeStage,
};
use feldakte_core::{
    ids::{ActorId, ChangeHash, Cursor, DocumentId, Epoch, Position, UserId},
    limits,
    log::{Binding, Quarantine},
};
use feldakte_proto::{Reason, Receipts, Seen};

/// Everything a device's store holds.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    store: Epoch,
    user: Option<UserId>,
    reader: Reader,
    cursors: BTreeMap<Reader, Cursor>,
    users: BTreeMap<UserId, LocalUser>,
    documents: BTreeMap<DocumentId, Document>,
    purged: BTreeMap<DocumentId, Purged>,
    reads: BTreeMap<(DocumentId, Option<UserId>), Seen>,
    wipe: Option<Wipe>,
    clock: Option<ClockState>,
    last_row: u64,
}

/// What stays of a document that was destroyed.
#[derive(Debug, Clone)]
struct Purged {
    generation: u32,
    is_confirmed: bool,
}

#[derive(Debug, Clone, Default)]
struct Document {
    /// Where the generations of its authors begin.
    generation: u32,
    generations: BTreeMap<Option<UserId>, u32>,
    readers: BTreeMap<Reader, Sight>,
    snapshot: Option<Snapshot>,
    /// Ascending rows are the order in which changes were stored.
    changes: BTreeMap<u64, Change>,
    rows: BTreeMap<ChangeHash, u64>,
    bindings: BTreeMap<ActorId, Binding>,
    quarantined: BTreeSet<ChangeHash>,
}

/// What a reader may see of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Readable,
    /// A snapshot has to be fetched.
    Pending,
    /// The gateway is asked.
    Asked,
    Ended,
}

impl Sight {
    fn is_readable(self) -> bool {
        matches!(self, Sight::Readable | Sight::Pending)
    }
}

/// Who looks.
#[derive(Debug, Clone, Copy)]
struct Eyes {
    user: Option<UserId>,
    reader: Reader,
}

#[derive(Debug, Clone)]
struct Snapshot {
    covered: BTreeSet<ChangeHash>,
    chunks: Bytes,
}

#[derive(Debug, Clone)]
struct Change {
    hash: ChangeHash,
    bytes: Bytes,
    intent: Bytes,
    state: State,
    covered: bool,
    user: Option<UserId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Local,
    Durable(Position),
    Refused(Reason),
    Received(Position),
    Replaced,
    Kept(Reason),
}

impl State {
    /// An own change that the gateway has not confirmed, or has refused.
    fn is_unsettled(self) -> bool {
        matches!(self, State::Local | State::Refused(_) | State::Replaced | State::Kept(_))
    }
}

impl Tables {
    pub(super) fn new(store: Epoch) -> Self {
        let (documents, purged, reads) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            store,
            user: None,
            reader: Reader::Device,
            cursors: BTreeMap::new(),
            users: BTreeMap::new(),
            documents,
            purged,
            reads,
            wipe: None,
            clock: None,
            last_row: 0,
        }
    }

    pub(super) fn state(&self) -> LocalState {
        let (user, reader, cursor) = (self.user, self.reader, self.cursors.get(&self.reader).copied());
        LocalState { store: self.store, user, reader, cursor, wipe: self.wipe, clock: self.clock }
    }

    fn eyes(&self) -> Eyes {
        Eyes { user: self.user, reader: self.reader }
    }

    fn set_cursor(&mut self, cursor: Option<Cursor>) {
        let reader = self.reader;
        self.cursors.extend(cursor.map(|cursor| (reader, cursor)));
    }

    pub(super) fn documents(&self) -> Vec<DocumentState> {
        let eyes = self.eyes();
        let seen = self.documents.iter().filter(|(_, document)| document.is_seen_by(eyes));
        seen.map(|(id, document)| document.state(*id, eyes)).collect()
    }

    pub(super) fn document(&self, id: DocumentId) -> Option<DocumentState> {
        let eyes = self.eyes();
        let document = self.documents.get(&id).filter(|document| document.is_seen_by(eyes))?;
        Some(document.state(id, eyes))
    }

    pub(super) fn pending(&self) -> Vec<DocumentId> {
        let is_pending =
            |document: &Document| matches!(document.readers.get(&self.reader), Some(Sight::Pending | Sight::Asked));
        self.documents.iter().filter(|(_, document)| is_pending(document)).map(|(id, _)| *id).collect()
    }

    pub(super) fn is_hidden(&self, id: DocumentId) -> bool {
        let is_hidden = |document: &Document| !document.readers.is_empty() && !document.is_readable(self.reader);
        self.documents.get(&id).is_some_and(is_hidden)
    }

    pub(super) fn first_generation(&self, id: DocumentId) -> u32 {
        match self.documents.get(&id) {
            Some(document) => document.generation_of(self.user),
            None => self.purged.get(&id).map_or(0, |purged| purged.generation + 1),
        }
    }

    pub(super) fn load(&self, id: DocumentId) -> Option<LocalDocument> {
        let (eyes, user) = (self.eyes(), self.user);
        let document = self.documents.get(&id).filter(|document| document.is_seen_by(eyes))?;
        if !document.is_readable(self.reader) {
            let own = document.changes.values().filter(|change| document.is_own_alone(change, user));
            let chunks = own.map(|change| change.bytes.clone()).collect();
            return Some(LocalDocument { state: document.state(id, eyes), chunks, bindings: Vec::new() });
        }
        let snapshot = document.snapshot.iter().map(|snapshot| snapshot.chunks.clone());
        let shown = document.changes.values().filter(|change| document.is_shown(change, user));
        let chunks = snapshot.chain(shown.map(|change| change.bytes.clone())).collect();
        let bindings = document.bindings.values().cloned().collect();
        Some(LocalDocument { state: document.state(id, eyes), chunks, bindings })
    }

    pub(super) fn parked(&self, id: DocumentId) -> Vec<Parked> {
        let user = self.user;
        let changes = self.documents.get(&id).into_iter().flat_map(|document| document.changes.values());
        let changes = changes.filter(|change| change.user == user);
        let reason = |state| match state {
            State::Refused(reason) | State::Kept(reason) => Some(reason),
            _ => None,
        };
        let to_parked = |change: &Change| {
            let reason = reason(change.state)?;
            Some(Parked { hash: change.hash, reason, intent: change.intent.clone() })
        };
        changes.filter_map(to_parked).collect()
    }

    pub(super) fn unsent(&self, after: u64, limit_bytes: usize) -> Vec<Unsent> {
        let mut all = Vec::new();
        for (id, document) in &self.documents {
            for (row, change) in document.changes.range(after.saturating_add(1)..) {
                if change.state == State::Local {
                    let Change { hash, bytes, user, .. } = change;
                    all.push(Unsent { row: *row, document: *id, hash: *hash, bytes: bytes.clone(), user: *user });
                }
            }
        }
        all.sort_by_key(|unsent| unsent.row);
        let mut total = 0;
        let fits = |(index, unsent): &(usize, &Unsent)| {
            total += unsent.bytes.len();
            *index == 0 || total <= limit_bytes
        };
        let count = all.iter().enumerate().take_while(fits).count();
        all.truncate(count);
        all
    }

    pub(super) fn save_edit(&mut self, id: DocumentId, changes: &[OwnChange]) {
        let user = self.user;
        let document = Self::document_or_new(&mut self.documents, &self.purged, id);
        for OwnChange { hash, bytes, intent } in changes {
            match document.find(*hash) {
                None => {
                    let (bytes, intent, covered) = (bytes.clone(), intent.clone(), document.covers(*hash));
                    let change = Change { hash: *hash, bytes, intent, state: State::Local, covered, user };
                    document.insert(&mut self.last_row, change);
                }
                Some(known) => {
                    if let State::Received(position) = known.state {
                        known.state = State::Durable(position);
                        known.intent = intent.clone();
                        known.user = user;
                    }
                }
            }
        }
    }

    pub(super) fn save_received(&mut self, received: &Received) {
        for entry in &received.entries {
            self.save_entry(entry);
        }
        for id in &received.bootstrap {
            let document = Self::document_or_new(&mut self.documents, &self.purged, *id);
            document.readers.insert(self.reader, Sight::Pending);
        }
        self.set_cursor(received.cursor);
    }

    fn save_entry(&mut self, entry: &ReceivedEntry) {
        let ReceivedEntry { position, document, revoked, bindings, quarantined, changes } = entry;
        let brings_content = !(bindings.is_empty() && quarantined.is_empty() && changes.is_empty());
        if !brings_content && !self.documents.contains_key(document) {
            return;
        }
        let document = Self::document_or_new(&mut self.documents, &self.purged, *document);
        if brings_content {
            document.readers.entry(self.reader).or_insert(Sight::Readable);
        }
        if let Some(revoked) = revoked {
            document.end(self.reader, |reader| is_ended(&self.cursors, (self.reader, reader), *revoked, *position));
        }
        document.bind(bindings);
        if document.quarantine(quarantined) {
            document.replace_with_fetched();
        }
        for (hash, bytes) in changes {
            document.save_received(&mut self.last_row, *position, *hash, bytes);
        }
    }

    pub(super) fn save_snapshot(&mut self, snapshot: &ReceivedSnapshot) {
        let ReceivedSnapshot { document, position, chunks, covered, bindings, quarantined } = snapshot;
        let document = Self::document_or_new(&mut self.documents, &self.purged, *document);
        document.bind(bindings);
        document.quarantine(quarantined);
        covered.iter().for_each(|hash| document.confirm(*hash, *position));
        document.replace_snapshot(chunks, covered.iter().copied().collect());
        document.readers.insert(self.reader, Sight::Readable);
    }

    pub(super) fn save_answer(&mut self, answer: &Answer) {
        self.set_cursor(answer.cursor);
        let Some(document) = self.documents.get_mut(&answer.document) else { return };
        for hash in &answer.durable {
            document.confirm(*hash, answer.position);
            document.taken(*hash, Eyes { user: self.user, reader: self.reader });
        }
        let mut losers = BTreeSet::new();
        for (hash, reason) in &answer.refused {
            let Some(known) = document.find(*hash).filter(|known| known.state == State::Local) else { continue };
            known.state = if reason.lets_forget() { State::Kept(*reason) } else { State::Refused(*reason) };
            let (covered, user) = (known.covered, known.user);
            if covered {
                document.replace_with_fetched();
            }
            losers.insert(user);
        }
        losers.into_iter().for_each(|user| document.next_generation(user));
    }

    pub(super) fn save_redone(&mut self, id: DocumentId, replaced: &[ChangeHash], changes: &[OwnChange]) {
        let user = self.user;
        let Some(document) = self.documents.get_mut(&id) else { return };
        for hash in replaced {
            let is_his = |known: &&mut Change| matches!(known.state, State::Refused(_)) && known.user == user;
            if let Some(known) = document.find(*hash).filter(is_his) {
                known.state = State::Replaced;
            }
        }
        self.save_edit(id, changes);
    }

    pub(super) fn begin_epoch(&mut self, cursor: Cursor, restored_to: Position) {
        let is_known = self.cursors.values().any(|known| known.epoch == cursor.epoch);
        self.set_cursor(Some(cursor));
        if is_known {
            return;
        }
        for change in self.documents.values_mut().flat_map(|document| document.changes.values_mut()) {
            if matches!(change.state, State::Durable(position) if position > restored_to) {
                change.state = State::Local;
            }
        }
    }

    pub(super) fn compact(&mut self, id: DocumentId, chunks: &[u8], covered: &[ChangeHash]) {
        let reader = self.reader;
        let Some(document) = self.documents.get_mut(&id).filter(|document| document.is_readable(reader)) else {
            return;
        };
        let is_unsettled = |hash: &ChangeHash| {
            let known = document.rows.get(hash).and_then(|row| document.changes.get(row));
            known.is_some_and(|change| change.state.is_unsettled()) || document.quarantined.contains(hash)
        };
        if !covered.iter().any(is_unsettled) {
            document.replace_snapshot(chunks, covered.iter().copied().collect());
        }
    }

    pub(super) fn purge(&mut self) -> Vec<DocumentId> {
        let ended: Vec<DocumentId> =
            self.documents.iter().filter(|(_, document)| document.may_be_purged()).map(|(id, _)| *id).collect();
        for id in &ended {
            let generation = self.documents.remove(id).map_or(0, |document| document.last_generation());
            self.purged.insert(*id, Purged { generation, is_confirmed: false });
        }
        ended
    }

    pub(super) fn set_active(&mut self, user: Option<UserId>, reader: Reader) {
        (self.user, self.reader) = (user, reader);
    }

    pub(super) fn cursor_of(&self, reader: Reader) -> Option<Cursor> {
        self.cursors.get(&reader).copied()
    }

    pub(super) fn users(&self) -> Vec<LocalUser> {
        let unsent = |user: UserId| {
            let changes = self.documents.values().flat_map(|document| document.changes.values());
            changes.filter(|change| change.user == Some(user) && change.state == State::Local).count() as u64
        };
        self.users.values().map(|user| LocalUser { unsent: unsent(user.user), ..user.clone() }).collect()
    }

    pub(super) fn save_user(&mut self, user: &LocalUser) {
        self.users.insert(user.user, user.clone());
    }

    pub(super) fn unsafe_of_others(&self) -> u64 {
        let changes = self.documents.values().flat_map(|document| document.changes.values());
        let is_unsafe = |change: &&Change| matches!(change.state, State::Local | State::Refused(_));
        changes.filter(is_unsafe).filter(|change| change.user != self.user).count() as u64
    }

    pub(super) fn note_reads(&mut self, reads: &[Seen]) {
        for seen in reads {
            let known =
                self.reads.entry((seen.document, seen.user)).or_insert_with(|| Seen { count: 0, ..seen.clone() });
            known.first_ms = known.first_ms.min(seen.first_ms);
            known.last_ms = known.last_ms.max(seen.last_ms);
            known.count += seen.count;
        }
    }

    fn confirm_reads(&mut self, reads: &[Seen]) {
        for seen in reads {
            if let Some(known) = self.reads.get_mut(&(seen.document, seen.user)) {
                known.count = known.count.saturating_sub(seen.count);
                known.first_ms = known.first_ms.max(seen.last_ms);
            }
        }
        self.reads.retain(|_, known| known.count > 0);
    }

    pub(super) fn receipts(&self) -> Receipts {
        let due = self.purged.iter().filter(|(_, purged)| !purged.is_confirmed);
        let purged = due.map(|(id, _)| *id).take(limits::RECEIPTS_MAX).collect();
        let wipe = self.wipe.filter(|wipe| wipe.stage == WipeStage::Destroyed);
        let reads = self.reads.values().take(limits::RECEIPTS_MAX).cloned().collect();
        Receipts { purged, wiped: wipe.map(|wipe| wipe.order), reads, ..Receipts::default() }
    }

    pub(super) fn confirm(&mut self, receipts: &Receipts) {
        self.confirm_reads(&receipts.reads);
        for id in &receipts.purged {
            self.purged.entry(*id).and_modify(|purged| purged.is_confirmed = true);
        }
        if let Some(wipe) = &mut self.wipe
            && (receipts.wiped, wipe.stage) == (Some(wipe.order), WipeStage::Destroyed)
        {
            wipe.stage = WipeStage::Confirmed;
        }
    }

    pub(super) fn evict(&mut self) -> Vec<DocumentId> {
        self.documents.iter_mut().filter_map(|(id, document)| document.evict().then_some(*id)).collect()
    }

    pub(super) fn order_wipe(&mut self, order: [u8; 16]) {
        let wipe = self.wipe.get_or_insert(Wipe { order, stage: WipeStage::Ordered, sessions: 0 });
        wipe.sessions += 1;
    }

    pub(super) fn wipe(&mut self) {
        let Some(wipe) = self.wipe.as_mut().filter(|wipe| wipe.stage == WipeStage::Ordered) else { return };
        wipe.stage = WipeStage::Destroyed;
        self.documents.clear();
        self.purged.clear();
        self.reads.clear();
        self.cursors.clear();
        self.users.clear();
        (self.user, self.reader) = (None, Reader::Device);
    }

    pub(super) fn save_clock(&mut self, clock: ClockState) {
        self.clock = Some(clock);
    }

    /// No actor is ever used again, also in a document that comes back.
    fn document_or_new<'a>(
        documents: &'a mut BTreeMap<DocumentId, Document>,
        purged: &BTreeMap<DocumentId, Purged>,
        id: DocumentId,
    ) -> &'a mut Document {
        let generation = purged.get(&id).map_or(0, |purged| purged.generation + 1);
        documents.entry(id).or_insert_with(|| Document { generation, ..Document::default() })
    }
}

/// Whether the end of access at that position is `reader`'s, too.
fn is_ended(
    cursors: &BTreeMap<Reader, Cursor>,
    (told, reader): (Reader, Reader),
    revoked: Revoked,
    position: Position,
) -> bool {
    match revoked {
        Revoked::Everybody => true,
        Revoked::Reader => (told, reader) == (Reader::Local, Reader::Device),
        Revoked::Device => match (cursors.get(&told), cursors.get(&reader)) {
            (Some(own), Some(cursor)) => cursor.epoch != own.epoch || cursor.position < position,
            _ => true,
        },
    }
}

impl Document {
    fn state(&self, id: DocumentId, Eyes { user, reader }: Eyes) -> DocumentState {
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

    fn generation_of(&self, user: Option<UserId>) -> u32 {
        self.generations.get(&user).copied().unwrap_or(self.generation)
    }

    fn next_generation(&mut self, user: Option<UserId>) {
        let next = self.generation_of(user) + 1;
        self.generations.insert(user, next);
    }

    fn last_generation(&self) -> u32 {
        self.generations.values().copied().max().unwrap_or(0).max(self.generation)
    }

    fn may_be_purged(&self) -> bool {
        let is_safe = |change: &Change| !matches!(change.state, State::Local | State::Refused(_));
        let have_ended = self.readers.values().all(|sight| *sight == Sight::Ended);
        !self.readers.is_empty() && have_ended && self.changes.values().all(is_safe)
    }

    /// Of a reader and of those whose content is his, too.
    fn sights_of(&self, reader: Reader) -> impl Iterator<Item = Sight> {
        let device = (reader == Reader::Local).then_some(Reader::Device);
        [Some(reader), device].into_iter().flatten().filter_map(|reader| self.readers.get(&reader).copied())
    }

    fn is_readable(&self, reader: Reader) -> bool {
        self.sights_of(reader).any(Sight::is_readable)
    }

    fn end(&mut self, told: Reader, is_his_too: impl Fn(Reader) -> bool) {
        self.readers.insert(told, Sight::Ended);
        for (reader, sight) in &mut self.readers {
            if is_his_too(*reader) {
                *sight = Sight::Ended;
            }
        }
    }

    /// The gateway has taken that change.
    fn taken(&mut self, hash: ChangeHash, Eyes { user, reader }: Eyes) {
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
    fn replace_with_fetched(&mut self) {
        let readable = self.readers.values_mut().filter(|sight| **sight == Sight::Readable);
        readable.for_each(|sight| *sight = Sight::Pending);
    }

    /// Whether he may read it, or has written something in it that nobody has yet.
    fn is_seen_by(&self, Eyes { user, reader }: Eyes) -> bool {
        let is_his = |change: &Change| {
            change.user == user && matches!(change.state, State::Local | State::Refused(_) | State::Kept(_))
        };
        self.is_readable(reader) || self.changes.values().any(is_his)
    }

    fn is_own_alone(&self, change: &Change, user: Option<UserId>) -> bool {
        let is_his = matches!(change.state, State::Local | State::Durable(_))
            && (change.user == user || change.intent.is_empty());
        is_his && !self.quarantined.contains(&change.hash)
    }

    /// Whether anything was removed.
    fn evict(&mut self) -> bool {
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

    fn is_shown(&self, change: &Change, user: Option<UserId>) -> bool {
        let refused = matches!(change.state, State::Refused(_) | State::Replaced | State::Kept(_));
        // The first change of a document has no content, and no intent.
        let is_secret = change.state == State::Local && change.user != user && !change.intent.is_empty();
        !(refused || is_secret || change.covered || self.quarantined.contains(&change.hash))
    }

    fn find(&mut self, hash: ChangeHash) -> Option<&mut Change> {
        let row = self.rows.get(&hash)?;
        self.changes.get_mut(row)
    }

    fn covers(&self, hash: ChangeHash) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.covered.contains(&hash))
    }

    /// Takes in marks and parks own changes among them; whether the snapshot holds one that is new.
    fn quarantine(&mut self, marks: &[Quarantine]) -> bool {
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
    fn confirm(&mut self, hash: ChangeHash, position: Position) {
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

    fn insert(&mut self, last_row: &mut u64, change: Change) {
        *last_row += 1;
        self.rows.insert(change.hash, *last_row);
        self.changes.insert(*last_row, change);
    }

    fn bind(&mut self, bindings: &[Binding]) {
        self.bindings.extend(bindings.iter().map(|binding| (binding.actor, binding.clone())));
    }

    fn save_received(&mut self, last_row: &mut u64, position: Position, hash: ChangeHash, bytes: &Bytes) {
        if self.rows.contains_key(&hash) {
            self.confirm(hash, position);
        } else if !self.covers(hash) {
            let (bytes, state) = (bytes.clone(), State::Received(position));
            self.insert(last_row, Change { hash, bytes, intent: Bytes::new(), state, covered: false, user: None });
        }
    }

    fn replace_snapshot(&mut self, chunks: &[u8], mut covered: BTreeSet<ChangeHash>) {
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

//! The device's tables as plain maps: what every operation of `LocalStore` means, without a disk.
//!
//! The same rules as in `client-sdk/src/store/sqlcipher/`, written a second time; a property test compares the two.

use std::collections::{BTreeMap, BTreeSet};

use feldakte_client_sdk::store::{
    Answer, ClockState, DocumentState, LocalDocument, LocalState, LocalUser, OwnChange, Parked, Reader, Received,
    ReceivedEntry, ReceivedSnapshot, Revoked, Unsent, Wipe, WipeStage,
};
use feldakte_core::{
    ids::{CaseId, ChangeHash, Cursor, DocumentId, Epoch, Part, Position, UserId},
    limits,
};
use feldakte_proto::{Login, OpenedOffline, Receipts, Seen};

use self::document::{Change, Document, Eyes, Sight, State};

mod document;

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
    opened: Vec<OpenedOffline>,
    logins: Vec<Login>,
    /// What is shown in an emergency; never stored.
    emergency: BTreeSet<DocumentId>,
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
            opened: Vec::new(),
            logins: Vec::new(),
            emergency: BTreeSet::new(),
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
        let seen =
            self.documents.iter().filter(|(id, document)| document.is_seen_by(eyes) || self.is_opened(**id, document));
        seen.map(|(id, document)| document.state(*id, eyes)).collect()
    }

    pub(super) fn document(&self, id: DocumentId) -> Option<DocumentState> {
        let eyes = self.eyes();
        let is_seen = |document: &&Document| document.is_seen_by(eyes) || self.is_opened(id, document);
        Some(self.documents.get(&id).filter(is_seen)?.state(id, eyes))
    }

    fn is_opened(&self, id: DocumentId, document: &Document) -> bool {
        self.emergency.contains(&id) && document.is_held()
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
        let document = self.documents.get(&id)?;
        let is_opened = self.is_opened(id, document);
        if !document.is_seen_by(eyes) && !is_opened {
            return None;
        }
        if !document.is_readable(self.reader) && !is_opened {
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
        self.emergency.clear();
    }

    pub(super) fn forget_what_is_not_stored(&mut self) {
        self.emergency.clear();
    }

    pub(super) fn hidden_cases(&self) -> Vec<CaseId> {
        let mut cases: Vec<CaseId> = self.hidden().map(|id| id.case).collect();
        cases.dedup();
        cases
    }

    fn hidden(&self) -> impl Iterator<Item = DocumentId> {
        let is_for_others =
            |document: &Document| document.is_held() && document.has_come() && !document.is_readable(self.reader);
        self.documents.iter().filter(move |(_, document)| is_for_others(document)).map(|(id, _)| *id)
    }

    pub(super) fn begin_emergency(&mut self, opened: &OpenedOffline, parts: &[Part]) -> Vec<DocumentId> {
        let is_wanted = |id: &DocumentId| id.case == opened.case && parts.contains(&id.part);
        let shown: Vec<DocumentId> = self.hidden().filter(is_wanted).collect();
        if !shown.is_empty() {
            self.opened.push(opened.clone());
            self.emergency.extend(&shown);
        }
        shown
    }

    pub(super) fn end_emergency(&mut self, case: CaseId) {
        self.emergency.retain(|id| id.case != case);
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

    pub(super) fn note_login(&mut self, login: Login) {
        if self.logins.len() < limits::LOGINS_UNTOLD_MAX {
            self.logins.push(login);
        }
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
        let reads: Vec<_> = self.reads.values().take(limits::RECEIPTS_MAX).cloned().collect();
        let opened: Vec<_> = self.opened.iter().take(limits::RECEIPTS_MAX).cloned().collect();
        let logins: Vec<_> = self.logins.iter().take(limits::RECEIPTS_MAX).copied().collect();
        let is_last = reads.len().max(opened.len()).max(logins.len()) < limits::RECEIPTS_MAX;
        let wipe = self.wipe.filter(|wipe| wipe.stage == WipeStage::Destroyed && is_last);
        Receipts { request: 0, purged, wiped: wipe.map(|wipe| wipe.order), reads, opened, logins }
    }

    pub(super) fn confirm(&mut self, receipts: &Receipts) {
        self.confirm_reads(&receipts.reads);
        self.opened.retain(|opened| !receipts.opened.contains(opened));
        for told in &receipts.logins {
            if let Some(index) = self.logins.iter().position(|login| login == told) {
                self.logins.remove(index);
            }
        }
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
        self.opened.iter_mut().for_each(|opened| opened.text.clear());
        self.emergency.clear();
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

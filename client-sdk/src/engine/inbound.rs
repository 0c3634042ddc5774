//! What the gateway sends: stored first, then shown.

use std::collections::BTreeSet;

use feldakte_core::{
    access::Subject,
    case,
    change::Change,
    crdt::Document,
    ids::{CaseId, ChangeHash, Cursor, DocumentId, Epoch, Position},
    log::Entry,
};
use feldakte_proto::{
    ChangesFrame, Durable, RawEntry, Reason, ServerMessage, Snapshot, Unbundled, Welcome, WipeOrder, decode_entry,
};
use tracing::warn;

use super::{
    Engine, is_for_another,
    outbox::{Flight, Flying},
    purge::ended,
    start_of,
};
use crate::{
    error::SdkError,
    link::Outbound,
    store::{Answer, Received, ReceivedEntry, ReceivedSnapshot, Revoked},
    view::LinkState,
    witness::ChangeFact,
};

impl Engine {
    pub(super) async fn begin_session(&mut self, welcome: Welcome, outbound: Outbound) -> Result<(), SdkError> {
        let Welcome { epoch, head, caught_up, server_time_ms, restored_to, active, delivers, .. } = welcome;
        self.drop_session();
        self.clock_offset_ms = Some(server_time_ms.saturating_sub(self.environment.now_ms()));
        self.hear(server_time_ms).await?;
        self.resume_wipe().await?;
        if self.is_wiped() {
            self.epoch = Some(epoch);
            self.outbound = Some(outbound);
            self.set_link(LinkState::Connected);
            return Ok(());
        }
        if !self.hear_who_is_believed(active, delivers).await? {
            return Ok(());
        }
        if self.cursor.is_none_or(|cursor| cursor.epoch != epoch) {
            // Another log than the one this device knew: it offers again what that log may have lost.
            let cursor = start_of(epoch);
            self.store.begin_epoch(cursor, restored_to.unwrap_or(Position::START)).await?;
            self.cursor = Some(cursor);
        }
        self.epoch = Some(epoch);
        if caught_up {
            self.store_received(Received { cursor: Some(Cursor { epoch, position: head }), ..Received::default() })
                .await?;
        }
        self.outbound = Some(outbound);
        self.look_for_pending = true;
        self.redo_all().await?;
        self.control.caught_up.send_replace(caught_up);
        self.set_link(LinkState::Connected);
        Ok(())
    }

    pub(super) async fn handle_message(&mut self, message: ServerMessage) -> Result<(), SdkError> {
        // What arrives after the session was given up is sent again in the next one.
        let Some(epoch) = self.epoch else { return Ok(()) };
        match message {
            // What the device is to forget it takes in no more.
            ServerMessage::Changes(_) if self.wipe.is_some() => Ok(()),
            ServerMessage::Durable(_) if self.is_wiped() => Ok(()),
            ServerMessage::Changes(changes) => self.handle_changes(epoch, changes).await,
            ServerMessage::Durable(durable) => self.handle_durable(epoch, durable).await,
            ServerMessage::Answer(answer) => self.handle_answer(answer).await,
            ServerMessage::Wipe(WipeOrder { order }) => self.handle_wipe(order).await,
            ServerMessage::Renewed(renewed) => {
                self.handle_renewed(renewed);
                Ok(())
            }
            // Of calls others take care.
            ServerMessage::Welcome(_) | ServerMessage::Tail | ServerMessage::Told(_) => Ok(()),
        }
    }

    /// What came on another lane than the session's: answers, and copies of entries that the log brings again in their place.
    pub(super) async fn handle_aside(&mut self, message: ServerMessage) -> Result<(), SdkError> {
        match message {
            ServerMessage::Changes(_) if self.epoch.is_none() || self.wipe.is_some() => Ok(()),
            ServerMessage::Changes(ahead) => self.handle_ahead(ahead.entries).await,
            ServerMessage::Durable(_) => self.handle_message(message).await,
            _ => Ok(()),
        }
    }

    /// Takes what stands on nothing that is still to come.
    async fn handle_ahead(&mut self, entries: Vec<RawEntry>) -> Result<(), SdkError> {
        for RawEntry { position, entry } in entries {
            let Ok(entry) = decode_entry(entry) else { continue };
            let is_plain = entry.grants.is_empty() && entry.revoked.is_empty() && entry.quarantined.is_empty();
            if !is_plain || !self.documents.may_apply(entry.document, &entry.changes).await? {
                continue;
            }
            let entries = vec![self.received_entry(position, entry)];
            self.store_received(Received { entries, ..Received::default() }).await?;
        }
        Ok(())
    }

    async fn handle_changes(&mut self, epoch: Epoch, frame: ChangesFrame) -> Result<(), SdkError> {
        let ChangesFrame { to, entries, bootstrap, caught_up } = frame;
        let mut received = Received { cursor: self.cursor_at(epoch, to), entries: Vec::new(), bootstrap };
        for RawEntry { position, entry } in entries {
            let Ok(entry) = decode_entry(entry) else {
                warn!(%position, "an entry does not decode; the session starts over");
                self.drop_session();
                return Ok(());
            };
            if self.has_to_ask(&entry, &received).await? {
                received.bootstrap.push(entry.document);
            }
            received.entries.push(self.received_entry(position, entry));
        }
        self.store_received(received).await?;
        self.control.caught_up.send_if_modified(|before| caught_up && !std::mem::replace(before, true));
        Ok(())
    }

    async fn store_received(&mut self, received: Received) -> Result<(), SdkError> {
        self.store.save_received(&received).await?;
        self.look_for_pending |= !received.bootstrap.is_empty();
        self.outdated.extend(received.bootstrap.iter().filter(|document| self.fetching.contains(document)));
        self.cursor = received.cursor.or(self.cursor);
        let (mut cases, mut quarantined) = (BTreeSet::new(), BTreeSet::new());
        for entry in &received.entries {
            let changes = entry.changes.iter().map(|(hash, _)| hash);
            self.notifier.testify(entry.document, changes, ChangeFact::Received(entry.position));
            match entry.quarantined.is_empty() {
                true => {
                    let paths = self.documents.apply(entry.document, &entry.changes, &entry.bindings);
                    let paths = paths.map(|paths| (entry.document.part, paths));
                    self.notifier.content(entry.document.case, paths);
                }
                false => {
                    self.documents.forget(entry.document);
                    quarantined.insert(entry.document);
                }
            }
            if entry.revoked.is_some() {
                // The store shows less of it than memory.
                self.documents.forget(entry.document);
            }
            cases.insert(entry.document.case);
        }
        for document in &received.bootstrap {
            self.notifier.content(document.case, None);
            cases.insert(document.case);
        }
        if !cases.is_empty() {
            self.outbox.retry_waiting();
        }
        for case in cases {
            self.notifier.sync(case);
        }
        for document in quarantined {
            self.notifier.content(document.case, None);
            self.redo(document).await?;
        }
        Ok(())
    }

    /// Whether the gateway has to be asked for the whole document: after a grant for what others have written before,
    /// and after the end of a grant, because the device may hold another one. The answer tells.
    async fn has_to_ask(&self, entry: &Entry, before: &Received) -> Result<bool, SdkError> {
        let document = entry.document;
        if before.bootstrap.contains(&document) {
            return Ok(false);
        }
        let begins = entry.grants.iter().any(|grant| self.is_mine(&grant.subject));
        if begins {
            // Between an end and a new beginning others may have written: what this device holds says nothing.
            return Ok(entry.changes.is_empty());
        }
        let ends = entry.revoked.iter().any(|subject| self.is_mine(subject));
        let is_known = before.entries.iter().any(|entry| entry.document == document);
        Ok(ends && (is_known || self.store.document(document).await?.is_some()))
    }

    fn received_entry(&self, position: Position, entry: Entry) -> ReceivedEntry {
        let Entry { document, grants, revoked, bindings, quarantined, changes } = entry;
        let begun = grants.iter().any(|grant| self.is_mine(&grant.subject));
        let of_user = |subject: &Subject| matches!(subject, Subject::User(_));
        let mine: Vec<&Subject> = revoked.iter().filter(|subject| self.is_mine(subject)).collect();
        let ended = match mine.iter().all(|subject| of_user(subject)) {
            _ if mine.is_empty() => None,
            true => Some(Revoked::Reader),
            false => Some(Revoked::Device),
        };
        // The gateway has let these changes in, so they parse; one that does not is not a change we could store.
        let changes = changes.into_iter().filter_map(|bytes| Change::parse(bytes).ok());
        ReceivedEntry {
            position,
            document,
            revoked: ended.filter(|_| !begun),
            bindings,
            quarantined,
            changes: changes.map(|change| (change.hash, change.bytes)).collect(),
        }
    }

    async fn handle_durable(&mut self, epoch: Epoch, durable: Durable) -> Result<(), SdkError> {
        let Durable { push, position, cursor, refused } = durable;
        let Some(Flight { document, changes, .. }) = self.outbox.land(push) else { return Ok(()) };
        let mut answer = Answer {
            document,
            durable: Vec::with_capacity(changes.len()),
            position,
            refused: Vec::new(),
            cursor: self.cursor_at(epoch, cursor),
        };
        // Refused for good; read only when a refusal may have been for the sake of another one.
        let mut lost: Option<BTreeSet<ChangeHash>> = None;
        let asked = changes.into_iter().enumerate().filter(|(_, change)| !change.is_settled);
        for (index, Flying { hash, deps, .. }) in asked {
            let Some(refused) = refused.iter().find(|refused| refused.index as usize == index) else {
                answer.durable.push(hash);
                continue;
            };
            if refused.reason == Reason::DocumentDamaged {
                // Not the change's fault, and not for good.
                self.outbox.wait(document, hash);
                continue;
            }
            if is_for_another(refused.reason) {
                let lost = match &mut lost {
                    Some(lost) => lost,
                    none => none.insert(self.parked_hashes(document).await?),
                };
                let stands_on_lost = |dep| lost.contains(dep) || answer.refused.iter().any(|(hash, _)| hash == dep);
                if !deps.iter().any(stands_on_lost) {
                    self.outbox.wait(document, hash);
                    continue;
                }
            }
            answer.refused.push((hash, refused.reason));
        }
        let lost: Vec<_> = answer.refused.iter().filter(|(_, reason)| !reason.lets_forget()).collect();
        if !lost.is_empty() {
            // What stands on a change that is kept is evidence like it, and is delivered.
            let lost = lost.into_iter().map(|(hash, _)| *hash);
            answer.refused.extend(self.doomed(document, lost).await?);
        }
        let settled = answer.durable.iter().chain(answer.refused.iter().map(|(hash, _)| hash));
        self.outbox.settle(document, settled);
        self.store.save_answer(&answer).await?;
        self.look_for_ended = true;
        // Of what it was not sent before, the device asks whether it may see it.
        self.look_for_pending |= !answer.durable.is_empty();
        if answer.refused.iter().any(|(_, reason)| *reason == Reason::Shredded) {
            self.end(document).await?;
        }
        self.cursor = answer.cursor.or(self.cursor);
        self.notifier.testify(document, &answer.durable, ChangeFact::Durable(position));
        if !answer.refused.is_empty() {
            // The document in memory holds what the gateway refused: build it again without, under a new actor.
            self.documents.forget(document);
            self.redo(document).await?;
        }
        if self.store.document(document).await?.is_none() {
            // Somebody else's: no news for whoever uses the device.
            return Ok(());
        }
        if !answer.refused.is_empty() {
            self.notifier.content(document.case, None);
        }
        self.notifier.sync(document.case);
        Ok(())
    }

    async fn parked_hashes(&self, document: DocumentId) -> Result<BTreeSet<ChangeHash>, SdkError> {
        Ok(self.store.parked(document).await?.into_iter().map(|parked| parked.hash).collect())
    }

    pub(super) async fn handle_snapshots(&mut self, unbundled: Unbundled) -> Result<(), SdkError> {
        let Unbundled { snapshots, unavailable } = unbundled;
        for snapshot in snapshots {
            let document = snapshot.document;
            if self.is_outdated(document) {
                continue;
            }
            let Some(verified) = self.environment.compute(move || verify(snapshot)).await else {
                warn!(%document, "a snapshot does not load; it is asked for again later");
                self.fetching.retain(|wanted| *wanted != document);
                self.look_for_pending = true;
                self.unfetchable.insert(document);
                continue;
            };
            self.store.save_snapshot(&verified).await?;
            self.notifier.testify(document, &verified.covered, ChangeFact::Received(verified.position));
            self.arrived(document);
        }
        for document in unavailable {
            if self.is_outdated(document) {
                continue;
            }
            self.store
                .save_received(&Received { entries: vec![ended(document, Revoked::Reader)], ..Received::default() })
                .await?;
            self.look_for_ended = true;
            self.arrived(document);
        }
        Ok(())
    }

    /// Whether the answer is from before a grant that began meanwhile: it would hide what was written in between, or
    /// take the grant for ended. The document is asked for again.
    fn is_outdated(&mut self, document: DocumentId) -> bool {
        let is_outdated = self.outdated.remove(&document);
        if is_outdated {
            self.fetching.retain(|wanted| *wanted != document);
            self.look_for_pending = true;
        }
        is_outdated
    }

    fn arrived(&mut self, document: DocumentId) {
        self.fetching.retain(|wanted| *wanted != document);
        self.look_for_pending = true;
        self.documents.forget(document);
        self.notify_both(document.case);
    }

    pub(super) fn notify_both(&self, case: CaseId) {
        self.notifier.content(case, None);
        self.notifier.sync(case);
    }

    /// The cursor never goes back within an epoch.
    fn cursor_at(&self, epoch: Epoch, position: Option<Position>) -> Option<Cursor> {
        let position = position?;
        let ahead = self.cursor.is_none_or(|cursor| cursor.epoch != epoch || cursor.position < position);
        ahead.then_some(Cursor { epoch, position })
    }
}

/// Loads the snapshot strictly; what does not load is not stored.
fn verify(snapshot: Snapshot) -> Option<ReceivedSnapshot> {
    let Snapshot { document, position, chunks, bindings, quarantined } = snapshot;
    let mut loaded = Document::load(&chunks, case::GENESIS_ACTOR).ok()?;
    loaded.check_depth().ok()?;
    let covered = loaded.change_hashes();
    Some(ReceivedSnapshot { document, position, chunks, covered, bindings, quarantined })
}

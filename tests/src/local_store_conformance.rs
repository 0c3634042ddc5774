//! What every local store must do, one function per behaviour, through the trait alone.
//!
//! `for_each_local_store_behaviour!` names them all; the test file runs the list once per implementation.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_client_sdk::store::{
    Answer, DocumentState, LocalDocument, OwnChange, Parked, Received, ReceivedEntry, ReceivedSnapshot,
    SharedLocalStore,
};
use feldakte_core::{
    access::Role,
    case::{self, Edit},
    crdt::{Document, NewChange, Packing, Value},
    ids::{ActorId, CaseId, ChangeHash, Cursor, DeviceId, DocumentId, Epoch, Part, Position},
    log::{Binding, Quarantine, QuarantineReason},
};
use feldakte_proto::Reason;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Calls the macro `$then` with the names of all behaviours in this file.
#[macro_export]
macro_rules! for_each_local_store_behaviour {
    ($then:ident) => {
        $then! {
            a_new_store_is_empty_and_has_its_id
            unknown_documents_are_none
            edits_are_local_and_load_in_the_order_saved
            an_edit_saved_twice_is_one_change
            a_genesis_saved_then_received_is_one_change
            a_genesis_received_then_saved_is_one_change
            documents_ascend
            received_changes_load_and_move_the_cursor
            known_received_changes_are_skipped
            a_refused_change_that_the_log_holds_is_durable
            an_answer_makes_changes_durable
            an_answer_for_an_unknown_document_moves_the_cursor
            refused_changes_are_parked_under_a_new_generation
            a_late_refusal_changes_nothing
            revoked_documents_keep_their_content
            a_revocation_of_an_unknown_document_leaves_no_trace
            bootstrap_is_pending_until_the_snapshot
            a_new_grant_ends_the_revocation
            a_snapshot_replaces_what_it_covers
            an_older_snapshot_loses_nothing
            quarantined_changes_are_not_loaded
            a_quarantine_inside_the_snapshot_asks_for_a_new_one
            compaction_replaces_what_it_covers
            compaction_of_unsettled_changes_is_left_undone
            a_compacted_change_that_comes_again_is_skipped
            a_new_epoch_offers_lost_changes_again
            a_refusal_inside_the_snapshot_asks_for_a_new_one
            unsent_changes_come_in_pages
            the_latest_binding_counts
            calls_at_the_same_time_are_all_done
            a_closed_store_refuses
        }
    };
}

/// The id with which the store under test was created.
pub const STORE: Epoch = Epoch(Uuid::from_u128(0x5701));

/// The n-th document; even numbers share a case with the odd one after them.
pub fn document(n: u128) -> DocumentId {
    let part = if n.is_multiple_of(2) { Part::Operations } else { Part::Clinical };
    DocumentId { case: CaseId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + n / 2)), part }
}

/// The name of the n-th change.
pub fn hash(n: u32) -> ChangeHash {
    ChangeHash(Sha256::digest(n.to_be_bytes()).into())
}

/// The content of the n-th change.
pub fn content(n: u32) -> Bytes {
    Bytes::from(format!("change {n:04}"))
}

/// The n-th change, made on this device.
pub fn own(n: u32) -> OwnChange {
    OwnChange { hash: hash(n), bytes: content(n), intent: Bytes::from(format!("intent {n}")) }
}

/// An entry with these changes, made elsewhere or come back.
pub fn entry(document: DocumentId, position: u64, changes: &[u32]) -> ReceivedEntry {
    let changes = changes.iter().map(|n| (hash(*n), content(*n))).collect();
    let (bindings, quarantined) = (Vec::new(), Vec::new());
    ReceivedEntry { position: Position(position), document, revoked: false, bindings, quarantined, changes }
}

/// A cursor of the first epoch.
pub fn cursor(position: u64) -> Cursor {
    Cursor { epoch: Epoch(Uuid::from_u128(0xe1)), position: Position(position) }
}

/// A snapshot with these changes, whose chunks are just a label.
pub fn snapshot(document: DocumentId, position: u64, covered: &[u32]) -> ReceivedSnapshot {
    let chunks = Bytes::from(format!("snapshot {position}"));
    let covered = covered.iter().map(|n| hash(*n)).collect();
    let (bindings, quarantined) = (Vec::new(), Vec::new());
    ReceivedSnapshot { document, position: Position(position), chunks, covered, bindings, quarantined }
}

fn answer(document: DocumentId, position: u64, durable: &[u32], refused: &[u32]) -> Answer {
    let durable = durable.iter().map(|n| hash(*n)).collect();
    let refused = refused.iter().map(|n| (hash(*n), Reason::SequenceGap)).collect();
    Answer { document, durable, position: Position(position), refused, cursor: None }
}

fn quarantine(n: u32) -> Quarantine {
    Quarantine { change: hash(n), reason: QuarantineReason::Panicked }
}

fn binding(actor: u8, device: u128) -> Binding {
    let unit = "rtw-1-83-1".parse().expect("a valid unit");
    Binding { actor: ActorId([actor; 16]), device: DeviceId(Uuid::from_u128(device)), unit, role: Role::AmbulanceCrew }
}

async fn receive(store: &SharedLocalStore, entries: Vec<ReceivedEntry>) -> Result<()> {
    Ok(store.save_received(&Received { cursor: None, entries, bootstrap: Vec::new() }).await?)
}

async fn state(store: &SharedLocalStore, document: DocumentId) -> Result<DocumentState> {
    store.document(document).await?.context("the store holds the document")
}

async fn load(store: &SharedLocalStore, document: DocumentId) -> Result<LocalDocument> {
    store.load(document).await?.context("the store holds the document")
}

async fn chunks(store: &SharedLocalStore, document: DocumentId) -> Result<Vec<Bytes>> {
    Ok(load(store, document).await?.chunks)
}

async fn unsent(store: &SharedLocalStore) -> Result<Vec<ChangeHash>> {
    Ok(store.unsent(0, usize::MAX).await?.into_iter().map(|unsent| unsent.hash).collect())
}

/// Local, durable, refused.
async fn counts(store: &SharedLocalStore, document: DocumentId) -> Result<(u64, u64, u64)> {
    let DocumentState { local, durable, refused, .. } = state(store, document).await?;
    Ok((local, durable, refused))
}

fn contents(numbers: &[u32]) -> Vec<Bytes> {
    numbers.iter().map(|n| content(*n)).collect()
}

/// The state before anything was stored.
pub async fn a_new_store_is_empty_and_has_its_id(store: SharedLocalStore) -> Result<()> {
    let state = store.state().await?;
    assert_eq!((state.store, state.cursor), (STORE, None));
    assert_eq!(store.documents().await?, []);
    assert_eq!(store.unsent(0, usize::MAX).await?, []);
    Ok(())
}

/// Reads of what is not there.
pub async fn unknown_documents_are_none(store: SharedLocalStore) -> Result<()> {
    assert_eq!(store.document(document(1)).await?, None);
    assert_eq!(store.load(document(1)).await?, None);
    assert_eq!(store.parked(document(1)).await?, []);
    store.compact(document(1), b"chunks", &[hash(1)]).await?;
    assert_eq!(store.document(document(1)).await?, None, "compaction adds no document");
    Ok(())
}

/// The way of every edit.
pub async fn edits_are_local_and_load_in_the_order_saved(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(2), own(1)]).await?;
    store.save_edit(document(1), &[own(3)]).await?;
    let loaded = load(&store, document(1)).await?;
    assert_eq!(loaded.chunks, contents(&[2, 1, 3]));
    let expected = DocumentState {
        document: document(1),
        generation: 0,
        bootstrap_pending: false,
        revoked: false,
        local: 3,
        durable: 0,
        refused: 0,
    };
    assert_eq!(loaded.state, expected);
    assert_eq!(store.document(document(1)).await?, Some(expected));
    assert_eq!(unsent(&store).await?, [hash(2), hash(1), hash(3)]);
    Ok(())
}

/// A repeated call is a no-op.
pub async fn an_edit_saved_twice_is_one_change(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_edit(document(1), &[own(1), own(2), own(2)]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]));
    assert_eq!(counts(&store, document(1)).await?, (2, 0, 0));
    Ok(())
}

/// Two devices write the same genesis change; ours was first here.
pub async fn a_genesis_saved_then_received_is_one_change(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    receive(&store, vec![entry(document(1), 7, &[1])]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]));
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0));
    assert_eq!(unsent(&store).await?, [hash(2)]);
    Ok(())
}

/// Two devices write the same genesis change; the other one's was first here. Ours counts as durable, and is
/// offered again when the gateway loses it.
pub async fn a_genesis_received_then_saved_is_one_change(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 7, &[1])]).await?;
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]));
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0));
    store.begin_epoch(cursor(6), Position(6)).await?;
    assert_eq!(unsent(&store).await?, [hash(1), hash(2)]);
    Ok(())
}

/// The list is ordered by id.
pub async fn documents_ascend(store: SharedLocalStore) -> Result<()> {
    for n in [5, 2, 4, 1, 3] {
        store.save_edit(document(n), &[own(1)]).await?;
    }
    let ids: Vec<_> = store.documents().await?.into_iter().map(|state| state.document).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(document));
    Ok(())
}

/// Content and cursor move together; a frame without a cursor leaves it.
pub async fn received_changes_load_and_move_the_cursor(store: SharedLocalStore) -> Result<()> {
    let entries = vec![entry(document(1), 4, &[1, 2]), entry(document(2), 5, &[3])];
    store.save_received(&Received { cursor: Some(cursor(5)), entries, bootstrap: Vec::new() }).await?;
    assert_eq!(store.state().await?.cursor, Some(cursor(5)));
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]));
    assert_eq!(chunks(&store, document(2)).await?, contents(&[3]));
    assert_eq!(counts(&store, document(1)).await?, (0, 0, 0), "somebody else's changes are not counted");
    receive(&store, vec![entry(document(1), 6, &[4])]).await?;
    assert_eq!(store.state().await?.cursor, Some(cursor(5)));
    Ok(())
}

/// A resumed session may send again what is there.
pub async fn known_received_changes_are_skipped(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 4, &[1, 2])]).await?;
    receive(&store, vec![entry(document(1), 4, &[1, 2]), entry(document(1), 5, &[2, 3, 3])]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2, 3]));
    Ok(())
}

/// What the log holds counts, whatever was answered before.
pub async fn a_refused_change_that_the_log_holds_is_durable(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_answer(&answer(document(1), 3, &[], &[1])).await?;
    receive(&store, vec![entry(document(1), 4, &[1])]).await?;
    assert_eq!(counts(&store, document(1)).await?, (0, 1, 0));
    assert_eq!(store.parked(document(1)).await?, []);
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    Ok(())
}

/// The gateway's confirmation.
pub async fn an_answer_makes_changes_durable(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    let unknown_too = &[1, 77];
    let answer = Answer { cursor: Some(cursor(9)), ..answer(document(1), 9, unknown_too, &[]) };
    store.save_answer(&answer).await?;
    store.save_answer(&answer).await?;
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0));
    assert_eq!(unsent(&store).await?, [hash(2)]);
    assert_eq!(store.state().await?.cursor, Some(cursor(9)));
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]));
    Ok(())
}

/// Nothing is known of the document, the cursor still counts.
pub async fn an_answer_for_an_unknown_document_moves_the_cursor(store: SharedLocalStore) -> Result<()> {
    let answer = Answer { cursor: Some(cursor(2)), ..answer(document(1), 2, &[1], &[2]) };
    store.save_answer(&answer).await?;
    assert_eq!(store.state().await?.cursor, Some(cursor(2)));
    assert_eq!(store.documents().await?, []);
    Ok(())
}

/// Refused work is kept with its reason, is not shown, and the next edit has a new actor.
pub async fn refused_changes_are_parked_under_a_new_generation(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2), own(3)]).await?;
    let refusal = answer(document(1), 5, &[1], &[2, 3]);
    store.save_answer(&refusal).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    assert_eq!(counts(&store, document(1)).await?, (0, 1, 2));
    assert_eq!(unsent(&store).await?, []);
    let parked = |n| Parked { hash: hash(n), reason: Reason::SequenceGap, intent: own(n).intent };
    assert_eq!(store.parked(document(1)).await?, [parked(2), parked(3)]);
    assert_eq!(state(&store, document(1)).await?.generation, 1);
    store.save_answer(&refusal).await?;
    assert_eq!(state(&store, document(1)).await?.generation, 1, "the same answer again changes nothing");
    Ok(())
}

/// A change that is durable stays so.
pub async fn a_late_refusal_changes_nothing(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    receive(&store, vec![entry(document(1), 4, &[1, 2])]).await?;
    store.save_answer(&answer(document(1), 5, &[], &[1, 2])).await?;
    assert_eq!(counts(&store, document(1)).await?, (0, 1, 0));
    assert_eq!(state(&store, document(1)).await?.generation, 0);
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]));
    Ok(())
}

/// Unsent work is uploaded before anything is shredded.
pub async fn revoked_documents_keep_their_content(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    receive(&store, vec![ReceivedEntry { revoked: true, ..entry(document(1), 4, &[]) }]).await?;
    assert!(state(&store, document(1)).await?.revoked);
    receive(&store, vec![entry(document(1), 5, &[])]).await?;
    assert!(state(&store, document(1)).await?.revoked);
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    assert_eq!(unsent(&store).await?, [hash(1)]);
    Ok(())
}

/// Nothing is held, nothing is to be taken away.
pub async fn a_revocation_of_an_unknown_document_leaves_no_trace(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![ReceivedEntry { revoked: true, ..entry(document(1), 4, &[]) }]).await?;
    assert_eq!(store.documents().await?, []);
    Ok(())
}

/// What arrives before the snapshot is kept.
pub async fn bootstrap_is_pending_until_the_snapshot(store: SharedLocalStore) -> Result<()> {
    let received = Received { cursor: Some(cursor(8)), entries: Vec::new(), bootstrap: vec![document(1)] };
    store.save_received(&received).await?;
    assert!(state(&store, document(1)).await?.bootstrap_pending);
    receive(&store, vec![entry(document(1), 9, &[3])]).await?;
    assert!(state(&store, document(1)).await?.bootstrap_pending);
    store.save_snapshot(&snapshot(document(1), 8, &[1, 2])).await?;
    assert!(!state(&store, document(1)).await?.bootstrap_pending);
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 8"), content(3)]);
    Ok(())
}

/// Bootstrap after the end of a grant means that there is a grant again.
pub async fn a_new_grant_ends_the_revocation(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1])]).await?;
    let entries = vec![ReceivedEntry { revoked: true, ..entry(document(1), 4, &[]) }];
    store.save_received(&Received { cursor: None, entries, bootstrap: vec![document(1)] }).await?;
    let state = state(&store, document(1)).await?;
    assert_eq!((state.revoked, state.bootstrap_pending), (false, true));
    Ok(())
}

/// Received changes go, own ones become durable, unsent ones stay.
pub async fn a_snapshot_replaces_what_it_covers(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1, 2])]).await?;
    store.save_edit(document(1), &[own(3), own(4)]).await?;
    store.save_snapshot(&snapshot(document(1), 6, &[1, 3])).await?;
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 6"), content(2), content(4)]);
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0));
    store.save_snapshot(&snapshot(document(1), 8, &[1, 2, 3])).await?;
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 8"), content(4)]);
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0));
    Ok(())
}

/// A snapshot that lacks what an earlier one brought is put behind it; loading both gives the union.
pub async fn an_older_snapshot_loses_nothing(store: SharedLocalStore) -> Result<()> {
    let id = document(1);
    let mut writer = Document::load(&case::genesis(id.part).bytes, ActorId([7; 16]))?;
    let mut made = vec![case::genesis(id.part).clone()];
    let mut saved = Vec::new();
    for name in ["oxygen", "pulse"] {
        made.push(set_fact(&mut writer, id.part, name)?);
        saved.push(writer.save(Packing::Deflated));
    }
    let hashes: Vec<_> = made.iter().map(|change| change.hash).collect();
    let real = |position, chunks: &[u8], covered: &[ChangeHash]| ReceivedSnapshot {
        chunks: Bytes::copy_from_slice(chunks),
        covered: covered.to_vec(),
        ..snapshot(id, position, &[])
    };
    store.save_snapshot(&real(9, &saved[1], &hashes)).await?;
    store.save_snapshot(&real(8, &saved[0], &hashes[..2])).await?;
    let late = OwnChange {
        hash: made[2].hash,
        bytes: made[2].bytes.clone(),
        intent: Bytes::new(),
    };
    store.save_edit(id, &[late]).await?;
    let mut loaded = Document::load(&chunks(&store, id).await?.concat(), ActorId([8; 16]))?;
    assert_eq!(loaded.heads(), writer.heads());
    assert_eq!(chunks(&store, id).await?.len(), 1, "what the snapshots cover is not loaded twice");
    store.save_snapshot(&real(9, &saved[1], &hashes)).await?;
    assert_eq!(chunks(&store, id).await?, [Bytes::from(saved[1].clone())], "a complete one replaces both");
    Ok(())
}

fn set_fact(document: &mut Document, part: Part, name: &str) -> Result<NewChange> {
    let edit = Edit::SetFact { part, name: name.to_owned(), value: Value::Integer(96) };
    document.edit(0, |edits| edit.apply(edits))?.context("the edit changes the document")
}

/// Before or after the change itself.
pub async fn quarantined_changes_are_not_loaded(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1, 2])]).await?;
    let marked = ReceivedEntry { quarantined: vec![quarantine(1), quarantine(3)], ..entry(document(1), 4, &[4]) };
    receive(&store, vec![marked.clone(), marked]).await?;
    receive(&store, vec![entry(document(1), 5, &[3]), entry(document(2), 6, &[1])]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[2, 4]));
    assert_eq!(chunks(&store, document(2)).await?, contents(&[1]), "a mark belongs to one document");
    assert!(!state(&store, document(1)).await?.bootstrap_pending);
    let with_mark = ReceivedSnapshot { quarantined: vec![quarantine(4)], ..snapshot(document(1), 7, &[2]) };
    store.save_snapshot(&with_mark).await?;
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 7")]);
    Ok(())
}

/// The snapshot that is there cannot lose one change; the gateway's next one is without it.
pub async fn a_quarantine_inside_the_snapshot_asks_for_a_new_one(store: SharedLocalStore) -> Result<()> {
    store.save_snapshot(&snapshot(document(1), 3, &[1, 2])).await?;
    receive(&store, vec![ReceivedEntry { quarantined: vec![quarantine(2)], ..entry(document(1), 4, &[]) }]).await?;
    assert!(state(&store, document(1)).await?.bootstrap_pending);
    let without = ReceivedSnapshot { quarantined: vec![quarantine(2)], ..snapshot(document(1), 5, &[1]) };
    store.save_snapshot(&without).await?;
    assert!(!state(&store, document(1)).await?.bootstrap_pending);
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 5")]);
    Ok(())
}

/// The device's own snapshot.
pub async fn compaction_replaces_what_it_covers(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    receive(&store, vec![entry(document(1), 3, &[1, 3, 4])]).await?;
    store.compact(document(1), b"compacted", &[hash(1), hash(3)]).await?;
    let expected = [Bytes::from("compacted"), content(2), content(4)];
    assert_eq!(chunks(&store, document(1)).await?, expected);
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0), "own durable changes stay counted");
    store.compact(document(1), b"again", &[hash(1), hash(3), hash(4)]).await?;
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("again"), content(2)]);
    Ok(())
}

/// What may still be refused or was quarantined meanwhile must not get into a snapshot.
pub async fn compaction_of_unsettled_changes_is_left_undone(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    receive(&store, vec![entry(document(1), 3, &[3, 4])]).await?;
    store.compact(document(1), b"with a local one", &[hash(1), hash(3)]).await?;
    store.save_answer(&answer(document(1), 4, &[1], &[2])).await?;
    store.compact(document(1), b"with a refused one", &[hash(1), hash(2), hash(3)]).await?;
    receive(&store, vec![ReceivedEntry { quarantined: vec![quarantine(4)], ..entry(document(1), 5, &[]) }]).await?;
    store.compact(document(1), b"with a quarantined one", &[hash(1), hash(3), hash(4)]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 3]));
    Ok(())
}

/// Known is known, also when only the snapshot knows it.
pub async fn a_compacted_change_that_comes_again_is_skipped(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1, 2])]).await?;
    store.compact(document(1), b"compacted", &[hash(1), hash(2)]).await?;
    receive(&store, vec![entry(document(1), 3, &[1, 2, 3])]).await?;
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("compacted"), content(3)]);
    Ok(())
}

/// A gateway restored from a backup heals from its devices, compacted changes included.
pub async fn a_new_epoch_offers_lost_changes_again(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2), own(3)]).await?;
    store.save_edit(document(2), &[own(4)]).await?;
    store.save_answer(&answer(document(1), 5, &[1], &[])).await?;
    store.save_answer(&answer(document(1), 6, &[2], &[])).await?;
    store.save_answer(&answer(document(2), 7, &[4], &[])).await?;
    receive(&store, vec![entry(document(1), 8, &[5])]).await?;
    store.compact(document(1), b"compacted", &[hash(1), hash(2), hash(5)]).await?;
    let restored = Cursor { epoch: Epoch(Uuid::from_u128(0xe2)), position: Position(5) };
    store.begin_epoch(restored, Position(5)).await?;
    assert_eq!(store.state().await?.cursor, Some(restored));
    assert_eq!(unsent(&store).await?, [hash(2), hash(3), hash(4)]);
    assert_eq!(counts(&store, document(1)).await?, (2, 1, 0));
    assert_eq!(counts(&store, document(2)).await?, (1, 0, 0));
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("compacted"), content(3)]);
    Ok(())
}

/// A restored gateway may refuse what it once took.
pub async fn a_refusal_inside_the_snapshot_asks_for_a_new_one(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_snapshot(&snapshot(document(1), 6, &[1])).await?;
    store.begin_epoch(cursor(5), Position(5)).await?;
    store.save_answer(&answer(document(1), 6, &[], &[1])).await?;
    assert!(state(&store, document(1)).await?.bootstrap_pending);
    store.save_snapshot(&snapshot(document(1), 7, &[])).await?;
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 7")]);
    assert_eq!(counts(&store, document(1)).await?, (0, 0, 1));
    Ok(())
}

/// Bounded in bytes, at least one change, in order over all documents.
pub async fn unsent_changes_come_in_pages(store: SharedLocalStore) -> Result<()> {
    for n in 0..600 {
        store.save_edit(document(u128::from(n % 3)), &[own(n)]).await?;
    }
    let one = store.unsent(0, 1).await?;
    assert_eq!(one.len(), 1);
    assert_eq!((one[0].document, one[0].hash, &one[0].bytes), (document(0), hash(0), &content(0)));
    let len = content(0).len();
    assert_eq!(store.unsent(0, 5 * len).await?.len(), 5);
    assert_eq!(store.unsent(0, 6 * len - 1).await?.len(), 5);
    assert_eq!(store.unsent(u64::MAX, usize::MAX).await?, []);
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = store.unsent(after, 299 * len).await?;
        let Some(last) = page.last() else { break };
        after = last.row;
        seen.extend(page.into_iter().map(|unsent| unsent.hash));
    }
    assert_eq!(seen, (0..600).map(hash).collect::<Vec<_>>());
    Ok(())
}

/// Ascending by actor, from entries and snapshots.
pub async fn the_latest_binding_counts(store: SharedLocalStore) -> Result<()> {
    let bindings = vec![binding(2, 20), binding(1, 10)];
    receive(&store, vec![ReceivedEntry { bindings, ..entry(document(1), 3, &[]) }]).await?;
    let bindings = vec![binding(3, 30), binding(1, 11)];
    store.save_snapshot(&ReceivedSnapshot { bindings, ..snapshot(document(1), 4, &[]) }).await?;
    let expected = [binding(1, 11), binding(2, 20), binding(3, 30)];
    assert_eq!(load(&store, document(1)).await?.bindings, expected);
    Ok(())
}

/// A shared store has many callers.
pub async fn calls_at_the_same_time_are_all_done(store: SharedLocalStore) -> Result<()> {
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.save_edit(document(u128::from(n % 4)), &[own(n)]).await })
        })
        .collect();
    for call in calls {
        call.await??;
    }
    let saved: u64 = store.documents().await?.iter().map(|state| state.local).sum();
    assert_eq!(saved, 40);
    Ok(())
}

/// Nothing is told "saved" by a store that lets go.
pub async fn a_closed_store_refuses(store: SharedLocalStore) -> Result<()> {
    store.close().await;
    assert!(store.save_edit(document(1), &[own(1)]).await.is_err());
    assert!(store.state().await.is_err());
    store.close().await;
    Ok(())
}

//! What every local store must do, one function per behaviour, through the trait alone.
//!
//! `for_each_local_store_behaviour!` names them all; the test file runs the list once per implementation.

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_client_sdk::store::{
    Answer, DocumentState, LocalDocument, OwnChange, Received, ReceivedEntry, ReceivedSnapshot, SharedLocalStore,
};
use feldakte_core::{
    access::Role,
    ids::{ActorId, CaseId, ChangeHash, Cursor, DeviceId, DocumentId, Epoch, Part, Position},
    log::{Binding, Quarantine, QuarantineReason},
};
use feldakte_proto::Reason;
use sha2::{Digest, Sha256};
use uuid::Uuid;

mod emergency;
mod own;
mod purge;
mod received;
mod snapshot;
mod users;

pub use emergency::*;
pub use own::*;
pub use purge::*;
pub use received::*;
pub use snapshot::*;
pub use users::*;

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
            refused_work_that_is_done_again_is_parked_no_more
            work_done_again_that_the_log_holds_after_all_is_durable
            revoked_documents_keep_their_content
            a_revocation_of_an_unknown_document_leaves_no_trace
            bootstrap_is_pending_until_the_snapshot
            a_new_grant_ends_the_revocation
            a_snapshot_replaces_what_it_covers
            an_older_snapshot_loses_nothing
            quarantined_changes_are_not_loaded
            own_changes_that_are_quarantined_are_parked
            a_quarantine_inside_the_snapshot_asks_for_a_new_one
            compaction_replaces_what_it_covers
            compaction_of_unsettled_changes_is_left_undone
            a_compacted_change_that_comes_again_is_skipped
            a_new_epoch_offers_lost_changes_again
            a_refusal_inside_the_snapshot_asks_for_a_new_one
            unsent_changes_come_in_pages
            the_latest_binding_counts
            calls_at_the_same_time_are_all_done
            changes_kept_for_a_supervisor_are_not_refused
            a_kept_change_that_the_log_holds_after_all_is_durable
            a_document_whose_grant_has_ended_is_destroyed_and_receipted
            what_is_unsent_or_parked_is_not_destroyed
            a_document_that_comes_back_has_a_new_actor
            receipts_stay_until_they_are_confirmed
            readings_are_put_together_and_stay_until_they_are_confirmed
            eviction_removes_what_is_safe_and_nothing_else
            a_wipe_destroys_everything_and_is_receipted
            without_an_order_nothing_is_wiped
            the_clock_is_kept
            unsent_work_of_another_user_is_hidden_and_still_delivered
            a_refusal_of_one_users_work_is_his_alone
            work_is_shown_to_others_when_the_gateway_has_sent_it_to_them
            what_came_for_a_user_with_a_token_is_shown_to_nobody_else
            a_user_with_a_pin_sees_what_the_device_may_see
            who_lost_access_sees_his_own_unsent_work_and_nothing_newer
            an_old_end_takes_nothing_from_a_reader_who_is_ahead
            a_shredded_document_is_destroyed_whoever_may_read_it
            a_document_of_two_users_is_purged_when_both_have_delivered
            users_are_kept_with_pin_and_ticket
            a_reader_of_his_own_has_a_cursor_of_his_own
            an_epoch_begins_once_for_all_readers
            an_emergency_shows_what_came_for_others_until_it_ends
            an_emergency_is_of_one_case_of_some_parts_and_of_whoever_asked
            what_is_not_here_or_not_for_anybody_is_opened_in_no_emergency
            an_emergency_gives_no_right_to_write_and_no_unsent_work_of_others
            emergencies_are_receipted_until_they_are_confirmed
            sign_ins_are_told_one_by_one_and_the_first_of_too_many_stay
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
    ReceivedEntry { position: Position(position), document, revoked: None, bindings, quarantined, changes }
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
    Binding {
        actor: ActorId([actor; 16]),
        device: DeviceId(Uuid::from_u128(device)),
        home: None,
        unit,
        role: Role::AmbulanceCrew,
        user: None,
    }
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

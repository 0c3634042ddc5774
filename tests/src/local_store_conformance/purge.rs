//! The end of a grant: what is kept for a supervisor, what is destroyed, what the gateway is told.

use anyhow::Result;
use feldakte_client_sdk::store::{
    Answer, ClockState, DocumentState, Received, ReceivedEntry, Revoked, SharedLocalStore, Wipe, WipeStage,
};
use feldakte_core::{
    ids::{DocumentId, UserId},
    limits,
};
use feldakte_proto::{Reason, Receipts, Seen};
use uuid::Uuid;

use super::{answer, chunks, contents, counts, document, entry, hash, load, own, receive, snapshot, state, unsent};

/// The gateway's answer to what came after the end of a grant.
fn kept(document: DocumentId, numbers: &[u32]) -> Answer {
    let refused = numbers.iter().map(|n| (hash(*n), Reason::Quarantined)).collect();
    Answer { refused, ..answer(document, 9, &[], &[]) }
}

async fn end(store: &SharedLocalStore, document: DocumentId) -> Result<()> {
    receive(store, vec![ReceivedEntry { revoked: Some(Revoked::Device), ..entry(document, 8, &[]) }]).await
}

/// Somebody has them: they are out of sight, and nobody has to redo them.
pub async fn changes_kept_for_a_supervisor_are_not_refused(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    store.save_answer(&answer(document(1), 5, &[1], &[])).await?;
    store.save_answer(&kept(document(1), &[2])).await?;
    assert_eq!(counts(&store, document(1)).await?, (0, 1, 0));
    let state = state(&store, document(1)).await?;
    assert_eq!((state.kept, state.generation), (1, 1));
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    let parked = store.parked(document(1)).await?;
    let parked: Vec<_> = parked.iter().map(|parked| (parked.hash, parked.reason)).collect();
    assert_eq!(parked, [(hash(2), Reason::Quarantined)], "until it is destroyed, its author can look at it");
    store.save_redone(document(1), &[hash(2)], &[]).await?;
    assert_eq!(load(&store, document(1)).await?.state.kept, 1, "it is not done again");
    Ok(())
}

/// The supervisor has merged it.
pub async fn a_kept_change_that_the_log_holds_after_all_is_durable(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_answer(&kept(document(1), &[1])).await?;
    receive(&store, vec![entry(document(1), 10, &[1])]).await?;
    assert_eq!((counts(&store, document(1)).await?, state(&store, document(1)).await?.kept), ((0, 1, 0), 0));
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    Ok(())
}

/// All of it and nothing else.
pub async fn a_document_whose_grant_has_ended_is_destroyed_and_receipted(store: SharedLocalStore) -> Result<()> {
    for n in [1, 2] {
        store.save_snapshot(&snapshot(document(n), 3, &[1])).await?;
        store.save_edit(document(n), &[own(2)]).await?;
    }
    store.save_answer(&answer(document(1), 5, &[2], &[])).await?;
    assert_eq!(store.purge().await?, [], "its grant has not ended");
    end(&store, document(1)).await?;
    assert_eq!(store.purge().await?, [document(1)]);
    assert_eq!((store.document(document(1)).await?, store.load(document(1)).await?), (None, None));
    assert_eq!(store.receipts().await?.purged, [document(1)]);
    assert_eq!(load(&store, document(2)).await?.chunks.len(), 2, "others are readable after it");
    assert_eq!(unsent(&store).await?, [hash(2)]);
    assert_eq!(store.purge().await?, []);
    Ok(())
}

/// Nothing is lost: it is delivered first, and what was refused waits for a person.
pub async fn what_is_unsent_or_parked_is_not_destroyed(store: SharedLocalStore) -> Result<()> {
    let all = [1, 2, 3].map(document);
    for id in all {
        store.save_edit(id, &[own(1)]).await?;
        end(&store, id).await?;
    }
    store.save_answer(&answer(document(2), 5, &[], &[1])).await?;
    store.save_answer(&kept(document(3), &[1])).await?;
    assert_eq!(store.purge().await?, [document(3)]);
    assert_eq!(unsent(&store).await?, [hash(1)]);
    store.save_redone(document(2), &[hash(1)], &[]).await?;
    assert_eq!(store.purge().await?, [document(2)], "its author has looked at it");
    Ok(())
}

/// What an actor has written may still reach the log: another one writes from here on.
pub async fn a_document_that_comes_back_has_a_new_actor(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_answer(&kept(document(1), &[1])).await?;
    end(&store, document(1)).await?;
    assert_eq!(store.first_generation(document(1)).await?, 1, "nothing of it was destroyed");
    assert_eq!(store.purge().await?, [document(1)]);
    assert_eq!(store.first_generation(document(1)).await?, 2, "what is written before it comes back, too");
    let bootstrap = vec![document(1)];
    store.save_received(&Received { bootstrap, ..Received::default() }).await?;
    let state = state(&store, document(1)).await?;
    assert_eq!((state.generation, state.revoked, state.kept), (2, false, 0));
    assert_eq!(chunks(&store, document(1)).await?, contents(&[]));
    store.save_edit(document(1), &[own(2)]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[2]));
    Ok(())
}

/// In portions that fit a frame.
pub async fn receipts_stay_until_they_are_confirmed(store: SharedLocalStore) -> Result<()> {
    let all: Vec<_> = (0..limits::RECEIPTS_MAX as u128 + 2).map(document).collect();
    let entries =
        all.iter().map(|id| ReceivedEntry { revoked: Some(Revoked::Device), ..entry(*id, 8, &[1]) }).collect();
    receive(&store, entries).await?;
    assert_eq!(store.purge().await?, all);
    let first = store.receipts().await?;
    assert_eq!(first.purged.len(), limits::RECEIPTS_MAX);
    assert_eq!(store.receipts().await?, first);
    store.confirm(&first).await?;
    assert_eq!(store.receipts().await?.purged, all[limits::RECEIPTS_MAX..]);
    store.confirm(&store.receipts().await?).await?;
    assert_eq!(store.receipts().await?, Receipts::default());
    Ok(())
}

/// The dead man's timer.
pub async fn eviction_removes_what_is_safe_and_nothing_else(store: SharedLocalStore) -> Result<()> {
    store.save_snapshot(&snapshot(document(1), 3, &[1])).await?;
    receive(&store, vec![entry(document(1), 4, &[2])]).await?;
    store.save_edit(document(1), &[own(3), own(4), own(5)]).await?;
    store.save_answer(&answer(document(1), 5, &[3], &[4])).await?;
    store.save_edit(document(2), &[own(1)]).await?;
    assert_eq!(store.evict().await?, [document(1)]);
    assert_eq!(counts(&store, document(1)).await?, (1, 0, 1));
    assert_eq!(chunks(&store, document(1)).await?, contents(&[5]));
    assert_eq!(store.parked(document(1)).await?[0].intent, own(4).intent);
    assert_eq!(unsent(&store).await?, [hash(5), hash(1)]);
    let DocumentState { generation, bootstrap_pending, .. } = state(&store, document(1)).await?;
    assert_eq!((generation, bootstrap_pending), (2, true));
    assert_eq!(store.evict().await?, [], "what is left is on this device only");
    store.save_snapshot(&snapshot(document(1), 6, &[1, 2, 3])).await?;
    assert_eq!(chunks(&store, document(1)).await?.len(), 2, "the next contact brings it back");
    assert_eq!(store.receipts().await?, Receipts::default(), "no grant has ended");
    Ok(())
}

/// Whatever is in it.
pub async fn a_wipe_destroys_everything_and_is_receipted(store: SharedLocalStore) -> Result<()> {
    store.save_snapshot(&snapshot(document(1), 3, &[1])).await?;
    store.save_edit(document(2), &[own(1)]).await?;
    end(&store, document(1)).await?;
    store.purge().await?;
    store.begin_epoch(super::cursor(5), feldakte_core::ids::Position(5)).await?;
    let seen = Seen { document: document(1), user: None, first_ms: 1, last_ms: 2, count: 3 };
    store.note_reads(std::slice::from_ref(&seen)).await?;
    store.order_wipe([7; 16]).await?;
    let order = |stage, sessions| Some(Wipe { order: [7; 16], stage, sessions });
    assert_eq!(store.state().await?.wipe, order(WipeStage::Ordered, 1));
    assert_eq!(store.receipts().await?.wiped, None, "it is not carried out");
    assert_eq!(unsent(&store).await?, [hash(1)], "what is unsent can still be delivered");
    store.order_wipe([8; 16]).await?;
    store.wipe().await?;
    assert_eq!(store.state().await?.wipe, order(WipeStage::Destroyed, 2), "the first order stands");
    assert_eq!((store.documents().await?, store.state().await?.cursor), (vec![], None));
    assert_eq!(unsent(&store).await?, []);
    let receipts = store.receipts().await?;
    assert_eq!(receipts, Receipts { wiped: Some([7; 16]), reads: vec![seen], ..Receipts::default() }, "it is owed");
    store.confirm(&Receipts { wiped: Some([8; 16]), ..Receipts::default() }).await?;
    assert_eq!(store.receipts().await?, receipts, "that is another order");
    store.confirm(&receipts).await?;
    assert_eq!(store.state().await?.wipe, order(WipeStage::Confirmed, 2));
    assert_eq!(store.receipts().await?, Receipts::default());
    Ok(())
}

/// Nor twice.
pub async fn without_an_order_nothing_is_wiped(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.wipe().await?;
    assert_eq!(unsent(&store).await?, [hash(1)]);
    assert_eq!(store.state().await?.wipe, None);
    Ok(())
}

/// Survives as it was.
pub async fn the_clock_is_kept(store: SharedLocalStore) -> Result<()> {
    assert_eq!(store.state().await?.clock, None);
    for contact_ms in [-5, 7] {
        let clock = ClockState { offset_ms: -3, contact_ms, high_ms: i64::MAX };
        store.save_clock(clock).await?;
        assert_eq!(store.state().await?.clock, Some(clock));
    }
    Ok(())
}

/// Told once each, whatever is read while the gateway is being told.
pub async fn readings_are_put_together_and_stay_until_they_are_confirmed(store: SharedLocalStore) -> Result<()> {
    let user = Some(UserId(Uuid::from_u128(5)));
    let seen =
        |number, user, first_ms, last_ms, count| Seen { document: document(number), user, first_ms, last_ms, count };
    store.note_reads(&[seen(1, None, 5, 5, 1), seen(1, user, 6, 6, 1), seen(2, None, 7, 9, 2)]).await?;
    store.note_reads(&[seen(1, None, 8, 9, 2)]).await?;
    let told = store.receipts().await?;
    assert_eq!(told.reads, [seen(1, None, 5, 9, 3), seen(1, user, 6, 6, 1), seen(2, None, 7, 9, 2)]);
    store.note_reads(&[seen(1, None, 20, 20, 1)]).await?;
    store.confirm(&told).await?;
    assert_eq!(store.receipts().await?.reads, [seen(1, None, 9, 20, 1)]);
    store.confirm(&store.receipts().await?).await?;
    assert_eq!(store.receipts().await?, Receipts::default());
    Ok(())
}

//! Own changes: saved, listed, sent, answered, offered again.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use feldakte_client_sdk::store::{Answer, DocumentState, Parked, SharedLocalStore};
use feldakte_core::ids::{Cursor, Epoch, Position};
use feldakte_proto::Reason;
use uuid::Uuid;

use super::{
    STORE, answer, chunks, content, contents, counts, cursor, document, entry, hash, load, own, receive, state, unsent,
};

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
        kept: 0,
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

/// The refused change stays on the device, out of sight; what replaces it goes the way of every edit.
pub async fn refused_work_that_is_done_again_is_parked_no_more(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2), own(3)]).await?;
    store.save_answer(&answer(document(1), 5, &[1], &[2, 3])).await?;
    store.save_redone(document(1), &[hash(2), hash(1), hash(77)], &[own(4)]).await?;
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 1), "only what was refused is replaced");
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 4]));
    assert_eq!(store.parked(document(1)).await?.iter().map(|parked| parked.hash).collect::<Vec<_>>(), [hash(3)]);
    assert_eq!(unsent(&store).await?, [hash(4)]);
    store.save_answer(&answer(document(1), 6, &[], &[2])).await?;
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 1), "a late refusal of what was replaced is no news");
    store.compact(document(1), b"with it", &[hash(1), hash(2)]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 4]), "it is in no snapshot of this device");
    store.save_redone(document(9), &[hash(1)], &[own(1)]).await?;
    assert_eq!(store.document(document(9)).await?, None, "nothing of an unknown document is refused");
    Ok(())
}

/// Shown twice is bad, shown otherwise than elsewhere is worse.
pub async fn work_done_again_that_the_log_holds_after_all_is_durable(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    store.save_answer(&answer(document(1), 5, &[], &[1, 2])).await?;
    store.save_redone(document(1), &[hash(1), hash(2)], &[own(3)]).await?;
    receive(&store, vec![entry(document(1), 8, &[1])]).await?;
    store.save_answer(&answer(document(1), 9, &[2], &[])).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2, 3]));
    assert_eq!(counts(&store, document(1)).await?, (1, 2, 0));
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

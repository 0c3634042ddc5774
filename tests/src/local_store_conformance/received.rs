//! What the log brings: changes, bindings, revocations, quarantine.

use anyhow::Result;
use bytes::Bytes;
use feldakte_client_sdk::store::{Received, ReceivedEntry, ReceivedSnapshot, Revoked, SharedLocalStore};
use feldakte_proto::Reason;

use super::{
    answer, binding, chunks, contents, counts, cursor, document, entry, hash, load, own, quarantine, receive, snapshot,
    state, unsent,
};

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

/// Unsent work is uploaded before anything is shredded.
pub async fn revoked_documents_keep_their_content(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Device), ..entry(document(1), 4, &[]) }]).await?;
    assert!(state(&store, document(1)).await?.revoked);
    receive(&store, vec![entry(document(1), 5, &[])]).await?;
    assert!(state(&store, document(1)).await?.revoked);
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    assert_eq!(unsent(&store).await?, [hash(1)]);
    Ok(())
}

/// Nothing is held, nothing is to be taken away.
pub async fn a_revocation_of_an_unknown_document_leaves_no_trace(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Device), ..entry(document(1), 4, &[]) }]).await?;
    assert_eq!(store.documents().await?, []);
    Ok(())
}

/// Bootstrap after the end of a grant means that there is a grant again.
pub async fn a_new_grant_ends_the_revocation(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1])]).await?;
    let entries = vec![ReceivedEntry { revoked: Some(Revoked::Device), ..entry(document(1), 4, &[]) }];
    store.save_received(&Received { cursor: None, entries, bootstrap: vec![document(1)] }).await?;
    let state = state(&store, document(1)).await?;
    assert_eq!((state.revoked, state.bootstrap_pending), (false, true));
    Ok(())
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

/// What a user wrote on top of somebody's poison is durable and yet shown to nobody: the user hears of it.
pub async fn own_changes_that_are_quarantined_are_parked(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1), own(2), own(3)]).await?;
    store.save_answer(&answer(document(1), 4, &[1, 2], &[])).await?;
    let marked = ReceivedEntry { quarantined: vec![quarantine(2), quarantine(9)], ..entry(document(1), 5, &[]) };
    receive(&store, vec![marked]).await?;
    let after_mark = state(&store, document(1)).await?;
    assert_eq!((after_mark.local, after_mark.durable, after_mark.refused), (1, 1, 1));
    assert_eq!(after_mark.generation, 1, "the actor's history is cut off");
    let parked = store.parked(document(1)).await?;
    assert_eq!(
        parked.iter().map(|parked| (parked.hash, parked.reason)).collect::<Vec<_>>(),
        [(hash(2), Reason::DependencyRefused)]
    );
    assert_eq!(parked[0].intent, own(2).intent);
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 3]));

    // It stays parked when the log brings it again; one whose answer was lost is parked as well.
    receive(&store, vec![entry(document(1), 3, &[2])]).await?;
    store.save_answer(&answer(document(1), 6, &[2], &[])).await?;
    let with_mark = ReceivedSnapshot { quarantined: vec![quarantine(3)], ..snapshot(document(1), 7, &[1]) };
    store.save_snapshot(&with_mark).await?;
    let after_all = state(&store, document(1)).await?;
    assert_eq!((after_all.local, after_all.durable, after_all.refused), (0, 1, 2));
    assert_eq!(store.unsent(0, usize::MAX).await?.len(), 0);
    assert_eq!(chunks(&store, document(1)).await?, [Bytes::from("snapshot 7")]);
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

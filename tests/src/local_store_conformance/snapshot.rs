//! Snapshots, received and made here, and what they replace.

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_client_sdk::store::{OwnChange, Received, ReceivedEntry, ReceivedSnapshot, SharedLocalStore};
use feldakte_core::{
    case::{self, Edit},
    crdt::{Document, NewChange, Packing, Value},
    ids::{ActorId, ChangeHash, Part, Position},
};

use super::{
    answer, chunks, content, contents, counts, cursor, document, entry, hash, own, quarantine, receive, snapshot, state,
};

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
    let late = OwnChange { hash: made[2].hash, bytes: made[2].bytes.clone(), intent: Bytes::new() };
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
    document
        .edit(feldakte_core::crdt::Stamp::default(), |edits| edit.apply(edits))?
        .context("the edit changes the document")
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

//! Snapshots and what lags behind.

use anyhow::Result;
use feldakte_core::{
    access::Role,
    ids::{ChangeHash, DeviceId},
    log::{Binding, Quarantine, QuarantineReason},
};
use feldakte_gateway::store::StoredSnapshot;
use uuid::Uuid;

use super::{Fixture, about, actor, append, document, snapshot, unit_id};

/// All of it comes back, large ones too.
pub async fn a_snapshot_is_what_was_put(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [about(document(1)), about(document(2))]).await?;
    assert_eq!(store.snapshot(document(1)).await?, None);
    let (device, unit) = (DeviceId(Uuid::from_u128(5)), unit_id("rtw-1"));
    let binding =
        |n| Binding { actor: actor(n), device, home: None, unit: unit.clone(), role: Role::AmbulanceCrew, user: None };
    let full = StoredSnapshot {
        chunks: vec![7; 300_000].into(),
        bindings: vec![binding(1), binding(2)],
        quarantined: vec![Quarantine { change: ChangeHash([9; 32]), reason: QuarantineReason::TooDeep }],
        ..snapshot(1, b"")
    };
    store.put_snapshot(document(1), &full).await?;
    assert_eq!(store.snapshot(document(1)).await?, Some(full));
    assert_eq!(store.snapshot(document(2)).await?, None);
    Ok(())
}

/// A newer one replaces, an older one does not.
pub async fn an_older_snapshot_replaces_nothing(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [1; 4].map(|n| about(document(n)))).await?;
    let steps = [(2, b"two", b"two"), (4, b"for", b"for"), (3, b"thr", b"for"), (4, b"new", b"new")];
    for (position, chunks, expected) in steps {
        store.put_snapshot(document(1), &snapshot(position, chunks)).await?;
        let stored = store.snapshot(document(1)).await?.map(|snapshot| snapshot.chunks);
        assert_eq!(stored.as_deref(), Some(&expected[..]));
    }
    Ok(())
}

/// Nothing can be projected that is not in the log.
pub async fn a_snapshot_needs_a_document(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    assert!(store.put_snapshot(document(1), &snapshot(1, b"x")).await.is_err());
    assert_eq!(store.snapshot(document(1)).await?, None);
    assert_eq!(append(&*store, [about(document(1))]).await?, [1]);
    Ok(())
}

/// Until their snapshot reaches their last entry, and again after the next one.
pub async fn documents_behind_their_log_are_unprojected(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [1, 2, 3, 1].map(|n| about(document(n)))).await?;
    let unprojected = async |limit| -> Result<Vec<_>> {
        let mut documents = store.unprojected(limit).await?;
        documents.sort();
        Ok(documents)
    };
    assert_eq!(unprojected(9).await?, [1, 2, 3].map(document));
    assert_eq!(unprojected(2).await?.len(), 2);
    store.put_snapshot(document(1), &snapshot(1, b"behind")).await?;
    store.put_snapshot(document(2), &snapshot(2, b"level")).await?;
    assert_eq!(unprojected(9).await?, [1, 3].map(document));
    store.put_snapshot(document(1), &snapshot(4, b"level")).await?;
    store.put_snapshot(document(1), &snapshot(2, b"older")).await?;
    assert_eq!(unprojected(9).await?, [3].map(document));
    append(&*store, [about(document(2))]).await?;
    assert_eq!(unprojected(9).await?, [2, 3].map(document));
    Ok(())
}

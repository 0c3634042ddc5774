//! Entries and their places.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use feldakte_core::ids::Position;
use feldakte_gateway::store::{Append, Head, StoreError};

use super::{Draft, Fixture, about, append, document, places, tenant, unit};

/// An empty log ends at 0, whoever asks; its epoch stays.
pub async fn an_empty_log_has_a_head_and_an_epoch(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let empty = Head { position: Position::START, restored_to: None };
    assert_eq!(store.head(&tenant("dortmund")).await?, empty);
    assert_eq!(store.append(&[]).await?, []);
    assert_eq!(store.document(document(1)).await?, None);
    store.probe().await?;
    let epoch = store.epoch().await?;
    drop(store);
    fixture.reopen().await?;
    assert_eq!(fixture.store().epoch().await?, epoch);
    Ok(())
}

/// Each tenant counts from 1 without gaps, also when batches mix tenants.
pub async fn positions_are_gap_free_and_independent_between_tenants(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let dortmund = |n| about(document(n));
    let hagen = |n| about(document(n)).of(tenant("hagen"));
    assert_eq!(append(&*store, [dortmund(1), hagen(11), dortmund(2), hagen(11)]).await?, [1, 1, 2, 2]);
    assert_eq!(append(&*store, [hagen(12)]).await?, [3]);
    assert_eq!(append(&*store, [dortmund(1), dortmund(3), dortmund(1)]).await?, [3, 4, 5]);
    assert_eq!(store.head(&tenant("dortmund")).await?.position, Position(5));
    assert_eq!(store.head(&tenant("hagen")).await?.position, Position(3));
    assert_eq!(store.head(&tenant("unna")).await?.position, Position(0));
    Ok(())
}

/// Batches of every size come back byte for byte, in the order given.
pub async fn a_batch_keeps_its_order(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let mut written = Vec::new();
    for len in [1, 2, 3, 63, 64, 65, 200] {
        let draft = |n: usize| about(document((n % 7) as u128)).change(format!("{len}/{n}").as_bytes()).append();
        let batch: Vec<Append> = (0..len).map(draft).collect();
        let first = written.len() as u64 + 1;
        let expected: Vec<_> = (first..first + len as u64).map(Position).collect();
        assert_eq!(store.append(&batch).await?, expected);
        written.extend(batch);
    }
    let positions: Vec<_> = (1..=written.len() as u64).map(Position).collect();
    let read = store.read(&tenant("dortmund"), &positions).await?;
    assert!(read.iter().map(|entry| &entry.encoded).eq(written.iter().map(|append| &append.encoded)));
    assert!(read.iter().map(|entry| entry.position).eq(positions));
    Ok(())
}

/// Appends from many tasks each get places of their own.
pub async fn concurrent_appends_are_all_there(fixture: &mut impl Fixture) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20_u128 {
        let store = fixture.store();
        tasks.spawn(async move {
            let draft = |n: u128| about(document(task)).change(format!("{task}/{n}").as_bytes()).append();
            let batches = (0..5).map(|batch| [draft(2 * batch), draft(2 * batch + 1)]);
            let mut places = Vec::new();
            for batch in batches {
                places.extend(store.append(&batch).await?);
            }
            anyhow::Ok((task, places))
        });
    }
    let mut all = BTreeSet::new();
    while let Some(result) = tasks.join_next().await {
        let (task, positions) = result??;
        let log = fixture.store().document(document(task)).await?.context("it was written")?;
        assert!(log.entries.iter().map(|entry| entry.position).eq(positions.iter().copied()));
        all.extend(positions);
    }
    assert!(all.into_iter().eq((1..=200).map(Position)));
    Ok(())
}

/// A document shows its tenant and all its entries, whichever batches they came in.
pub async fn a_document_shows_all_its_entries(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let one = || about(document(1)).of(tenant("hagen")).changes(2);
    append(&*store, [one(), about(document(2)).of(tenant("hagen")), one()]).await?;
    append(&*store, [about(document(2)).of(tenant("hagen"))]).await?;
    append(&*store, [one()]).await?;
    let log = store.document(document(1)).await?.context("it was written")?;
    assert_eq!(log.tenant, tenant("hagen"));
    assert_eq!(places(&log.entries), [1, 3, 5]);
    for stored in log.entries {
        assert_eq!(feldakte_proto::decode_entry(stored.encoded)?, one().entry);
    }
    Ok(())
}

/// Positions are not inclusive, and may lie beyond the log.
pub async fn entries_after_a_position_are_those_after_it(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [1, 2, 1, 1].map(|n| about(document(n)))).await?;
    for (after, expected) in [(0, &[1, 3, 4][..]), (1, &[3, 4]), (2, &[3, 4]), (3, &[4]), (4, &[]), (u64::MAX, &[])] {
        assert_eq!(places(&store.entries_after(document(1), Position(after)).await?), expected);
    }
    assert_eq!(store.entries_after(document(9), Position(0)).await?, []);
    Ok(())
}

/// The batch fails as a whole, and the store goes on.
pub async fn a_document_of_another_tenant_is_never_appended_to(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [about(document(1))]).await?;
    let foreign = |n| about(document(n)).of(tenant("hagen"));
    for batch in [vec![foreign(2), foreign(1)], vec![about(document(3)), foreign(3)]] {
        let batch: Vec<_> = batch.into_iter().map(Draft::append).collect();
        let refused = store.append(&batch).await;
        assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    }
    assert_eq!(store.document(document(2)).await?, None);
    assert_eq!(store.document(document(3)).await?, None);
    assert_eq!(store.head(&tenant("hagen")).await?.position, Position(0));
    assert_eq!(append(&*store, [about(document(1)), foreign(2)]).await?, [2, 1]);
    Ok(())
}

/// Ascending, each once, only of that tenant.
pub async fn reading_positions_leaves_out_what_is_not_there(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [1, 2, 3].map(|n| about(document(n)))).await?;
    append(&*store, [about(document(11)).of(tenant("hagen"))]).await?;
    let asked = [3, 1, 0, 1, 7, u64::MAX].map(Position);
    assert_eq!(places(&store.read(&tenant("dortmund"), &asked).await?), [1, 3]);
    assert_eq!(places(&store.read(&tenant("hagen"), &asked).await?), [1]);
    assert_eq!(store.read(&tenant("unna"), &asked).await?, []);
    assert_eq!(store.read(&tenant("dortmund"), &[]).await?, []);
    Ok(())
}

/// First position excluded, last included; other tenants' documents have none.
pub async fn positions_of_documents_lie_in_the_range(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    append(&*store, [1, 2, 1, 3, 2, 1].map(|n| about(document(n)))).await?;
    append(&*store, [about(document(11)).of(tenant("hagen"))]).await?;
    let cases: [(&[u128], u64, u64, &[u64]); 7] = [
        (&[1], 0, 6, &[1, 3, 6]),
        (&[2, 1, 2], 1, 5, &[2, 3, 5]),
        (&[1], 3, 5, &[]),
        (&[3], 0, u64::MAX, &[4]),
        (&[1], 6, 6, &[]),
        (&[9, 11], 0, 6, &[]),
        (&[], 0, 6, &[]),
    ];
    for (documents, after, up_to, expected) in cases {
        let documents: Vec<_> = documents.iter().copied().map(document).collect();
        let range = (Position(after), Position(up_to));
        let found = store.positions(&tenant("dortmund"), &documents, range.0, range.1).await?;
        assert_eq!(found.iter().map(|position| position.0).collect::<Vec<_>>(), expected);
    }
    Ok(())
}

/// Log, documents, grants and heads are there again, and the log goes on where it was.
pub async fn reopening_keeps_everything(fixture: &mut impl Fixture) -> Result<()> {
    let (crew, store) = (unit("rtw-1"), fixture.store());
    append(&*store, [about(document(1)).grant(&crew).changes(1), about(document(2)).changes(2)]).await?;
    store.put_snapshot(document(1), &super::snapshot(1, b"chunks")).await?;
    // A snapshot is durable with the next append at the latest.
    append(&*store, [about(document(11)).of(tenant("hagen")), about(document(1)).changes(1)]).await?;
    drop(store);
    fixture.reopen().await?;
    let store = fixture.store();
    assert_eq!(store.head(&tenant("dortmund")).await?.position, Position(3));
    assert_eq!(store.head(&tenant("hagen")).await?.position, Position(1));
    assert_eq!(places(&store.document(document(1)).await?.context("it was written")?.entries), [1, 3]);
    assert_eq!(store.snapshot(document(1)).await?, Some(super::snapshot(1, b"chunks")));
    assert!(store.may_read(&super::reader(&[crew]), document(1), super::NOW).await?);
    assert_eq!(append(&*store, [about(document(2)), about(document(11)).of(tenant("hagen"))]).await?, [4, 2]);
    Ok(())
}

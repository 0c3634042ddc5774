//! The memory that simulations run on: what it loses, and that a liar is found out.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use feldakte_core::ids::Position;
use feldakte_gateway::store::{Append, Store, StoreError};
use feldakte_tests::{
    memory_store::MemoryStore,
    store_conformance::{about, document, tenant},
};

use crate::epoch;

fn one(number: u128) -> Vec<Append> {
    vec![about(document(number)).changes(1).append()]
}

fn store() -> Arc<MemoryStore> {
    MemoryStore::new(epoch(1), || Duration::from_millis(10))
}

async fn head(store: &MemoryStore) -> Result<Position> {
    Ok(store.head(&tenant("dortmund")).await?.position)
}

#[tokio::test(start_paused = true)]
async fn an_append_takes_as_long_as_its_sync_and_is_invisible_until_then() -> Result<()> {
    let store = store();
    let append = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(&one(1)).await }
    });
    tokio::time::advance(Duration::from_millis(9)).await;
    assert_eq!(head(&store).await?, Position(0));
    assert!(!append.is_finished());
    assert_eq!(append.await??, [Position(1)]);
    assert_eq!(head(&store).await?, Position(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_crash_fails_the_append_under_way_and_keeps_the_one_before() -> Result<()> {
    let store = store();
    store.append(&one(1)).await?;
    let append = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(&one(2)).await }
    });
    tokio::time::advance(Duration::from_millis(5)).await;
    store.crash();
    assert!(matches!(append.await?, Err(StoreError::Unknown(_))));
    assert_eq!(head(&store).await?, Position(1));
    assert_eq!(store.document(document(2)).await?, None);
    assert_eq!(store.append(&one(3)).await?, [Position(2)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_acknowledges_before_it_syncs_loses_what_it_acknowledged() -> Result<()> {
    let store = MemoryStore::acks_before_sync(epoch(1), || Duration::from_millis(10));
    assert_eq!(store.append(&one(1)).await?, [Position(1)]);
    tokio::time::advance(Duration::from_millis(10)).await;
    assert_eq!(store.append(&one(2)).await?, [Position(2)]);
    assert_eq!(head(&store).await?, Position(2));
    store.crash();
    assert_eq!(head(&store).await?, Position(1));
    assert!(store.document(document(1)).await?.is_some());
    assert_eq!(store.document(document(2)).await?, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_nothing_and_is_read_from() -> Result<()> {
    let store = store();
    store.append(&one(1)).await?;
    store.disk_full(true);
    assert!(matches!(store.append(&one(1)).await, Err(StoreError::Full)));
    assert!(matches!(store.probe().await, Err(StoreError::Full)));
    assert!(store.document(document(1)).await?.is_some());
    store.disk_full(false);
    store.probe().await?;
    assert_eq!(store.append(&one(1)).await?, [Position(2)]);
    Ok(())
}

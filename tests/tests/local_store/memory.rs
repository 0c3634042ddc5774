//! The simulated store loses exactly what was not synced.

use std::{sync::Arc, time::Duration};

use feldakte_client_sdk::store::{LocalStore, LocalStoreError};
use feldakte_tests::{
    local_store_conformance::{STORE, document, own},
    memory_local_store::{Durability, MemoryLocalStore},
};
use tokio::time::{advance, sleep};

const FSYNC: Duration = Duration::from_millis(4);

async fn saved(store: &MemoryLocalStore) -> u64 {
    store.documents().await.unwrap().iter().map(|state| state.local).sum()
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_survives_a_crash() {
    let store = MemoryLocalStore::new(STORE, FSYNC, Durability::SyncsFirst);
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    store.crash();
    let store = store.reopen().unwrap();
    assert_eq!(saved(&store).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_fails_calls_under_way_and_loses_their_writes() {
    let store = MemoryLocalStore::new(STORE, FSYNC, Durability::SyncsFirst);
    let calls: Vec<_> = (0..3)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.save_edit(document(1), &[own(n)]).await })
        })
        .collect();
    // One sync has ended, the second is under way, the third waits for its turn.
    sleep(FSYNC * 3 / 2).await;
    store.crash();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap().is_ok());
    }
    assert_eq!(answers, [true, false, false]);
    assert!(matches!(store.state().await, Err(LocalStoreError::Failed(_))));
    assert_eq!(saved(&store.reopen().unwrap()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_negative_control_loses_what_it_answered() {
    let store = MemoryLocalStore::new(STORE, FSYNC, Durability::AcksBeforeSync);
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    advance(FSYNC).await;
    store.save_edit(document(1), &[own(2)]).await.unwrap();
    store.save_edit(document(1), &[own(3)]).await.unwrap();
    assert_eq!(saved(&store).await, 3);
    store.crash();
    assert_eq!(saved(&store.reopen().unwrap()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn closing_syncs_and_frees_the_store() {
    let store = MemoryLocalStore::new(STORE, FSYNC, Durability::AcksBeforeSync);
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    assert!(matches!(store.reopen(), Err(LocalStoreError::InUse)));
    store.close().await;
    assert_eq!(saved(&store.reopen().unwrap()).await, 1);
}

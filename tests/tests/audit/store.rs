//! Both stores, through the trait alone.

use std::{path::Path, sync::Arc};

use feldakte_core::audit::{Act, Actor, Chain, Checkpoint, Head, Record, Row};
use feldakte_gateway::store::{
    StoreError,
    audit::{AuditStore, Batch, SharedAuditStore, sqlite::SqliteAuditStore},
};
use feldakte_tests::memory_audit_store::MemoryAuditStore;
use sqlx::{Connection, SqliteConnection};

use super::dortmund;

/// So many rows of a chain after a head, and the head after them.
fn rows(chain: &Chain, mut head: Head, count: usize) -> (Vec<(Chain, Row)>, Head) {
    let mut rows = Vec::new();
    for _ in 0..count {
        let (row, next) = head.append(&Record::new(chain.clone(), Actor::Gateway, Act::Wrote));
        head = next;
        rows.push((chain.clone(), row));
    }
    (rows, head)
}

async fn both() -> [(SharedAuditStore, Option<tempfile::TempDir>); 2] {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = SqliteAuditStore::open(&directory.path().join("audit.sqlite")).await.unwrap();
    [(sqlite, Some(directory)), (MemoryAuditStore::new(), None)]
}

#[tokio::test]
async fn an_empty_store_has_no_chains_and_every_chain_begins_at_the_start() {
    for (store, _directory) in both().await {
        assert_eq!(store.chains().await.unwrap(), []);
        assert_eq!(store.head(&dortmund()).await.unwrap(), Head::START);
        assert_eq!(store.rows(&dortmund(), 0, 9).await.unwrap(), []);
        assert_eq!(store.checkpoints(&dortmund()).await.unwrap(), []);
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_added_is_given_back_as_it_is() {
    for (store, _directory) in both().await {
        let (of_tenant, head) = rows(&dortmund(), Head::START, 5);
        let (own, _) = rows(&Chain::Gateway, Head::START, 2);
        let checkpoint = Checkpoint { chain: dortmund(), head, when_ms: 7, signature: vec![1, 2, 3] };
        let batch = Batch { rows: [of_tenant.clone(), own].concat(), checkpoints: vec![checkpoint.clone()] };
        store.append(&batch).await.unwrap();
        assert_eq!(store.chains().await.unwrap(), [Chain::Gateway, dortmund()]);
        assert_eq!(store.head(&dortmund()).await.unwrap(), head);
        let expected: Vec<Row> = of_tenant.into_iter().map(|(_, row)| row).collect();
        assert_eq!(store.rows(&dortmund(), 0, 9).await.unwrap(), expected);
        assert_eq!(store.rows(&dortmund(), 2, 2).await.unwrap(), expected[2..4]);
        assert_eq!(store.checkpoints(&dortmund()).await.unwrap(), [checkpoint]);
        store.close().await;
    }
}

#[tokio::test]
async fn a_place_is_given_once() {
    for (store, _directory) in both().await {
        let (first, head) = rows(&dortmund(), Head::START, 1);
        store.append(&Batch { rows: first.clone(), ..Batch::default() }).await.unwrap();
        let (next, _) = rows(&dortmund(), head, 1);
        let twice = Batch { rows: [next, first].concat(), ..Batch::default() };
        assert!(matches!(store.append(&twice).await, Err(StoreError::Unknown(_))));
        assert_eq!(store.head(&dortmund()).await.unwrap(), head, "nothing of the batch is there");
        store.close().await;
    }
}

async fn sqlite(path: &Path) -> Arc<SqliteAuditStore> {
    SqliteAuditStore::open(path).await.unwrap()
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.sqlite");
    let (batch, head) = rows(&dortmund(), Head::START, 3);
    let store = sqlite(&path).await;
    store.append(&Batch { rows: batch, ..Batch::default() }).await.unwrap();
    store.close().await;
    assert_eq!(sqlite(&path).await.head(&dortmund()).await.unwrap(), head);
}

#[tokio::test]
async fn without_room_nothing_is_written_and_the_store_stays_usable() {
    let directory = tempfile::tempdir().unwrap();
    let store = sqlite(&directory.path().join("audit.sqlite")).await;
    let mut head = Head::START;
    let full = loop {
        store.limit_pages(32).await.unwrap();
        let (batch, next) = rows(&dortmund(), head, 64);
        match store.append(&Batch { rows: batch, ..Batch::default() }).await {
            Ok(()) => head = next,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Full), "{full}");
    assert_eq!(store.head(&dortmund()).await.unwrap(), head);
    store.limit_pages(10_000).await.unwrap();
    let (batch, next) = rows(&dortmund(), head, 64);
    store.append(&Batch { rows: batch, ..Batch::default() }).await.unwrap();
    assert_eq!(store.head(&dortmund()).await.unwrap(), next);
}

#[tokio::test]
async fn a_log_of_changes_is_not_taken_for_an_audit_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let epoch = feldakte_tests::harness::new_epoch();
    let log = feldakte_gateway::store::sqlite::SqliteStore::open(&path, epoch).await.unwrap();
    feldakte_gateway::store::Store::close(&*log).await;
    let refused = SqliteAuditStore::open(&path).await.unwrap_err();
    assert!(format!("{refused:?}").contains("Foreign"), "{refused:?}");
}

#[tokio::test]
async fn an_accident_with_a_sql_shell_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.sqlite");
    let store = sqlite(&path).await;
    let (batch, _) = rows(&dortmund(), Head::START, 3);
    store.append(&Batch { rows: batch, ..Batch::default() }).await.unwrap();
    let mut shell = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    for sql in ["delete from row", "update row set seq = seq + 10", "delete from checkpoint"] {
        let done = sqlx::query(sql).execute(&mut shell).await;
        assert!(done.is_err() || sql.contains("checkpoint"), "{sql}");
    }
    assert_eq!(store.rows(&dortmund(), 0, 9).await.unwrap().len(), 3);
}

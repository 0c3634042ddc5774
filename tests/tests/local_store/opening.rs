//! Keys that do not fit, files in use, files from the future, damaged pages.

use std::{fs, io::Read, path::Path};

use feldakte_client_sdk::{
    key::{DatabaseKey, FileKey, KeyError, KeyProvider},
    store::{LocalStore, LocalStoreError, sqlcipher::SqlCipherStore},
};
use feldakte_core::ids::Epoch;
use feldakte_tests::local_store_conformance::{STORE, document, entry, own};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use super::{FixedKey, KEY, child, open};

/// Opens the file with SQLCipher's own pragma, as any other program with the key would.
pub async fn raw(path: &Path) -> SqliteConnection {
    let key: String = KEY.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let options = SqliteConnectOptions::new().filename(path).pragma("key", format!("\"x'{key}'\""));
    options.disable_statement_logging().connect().await.unwrap()
}

#[tokio::test]
async fn a_wrong_key_is_told_as_such_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    store.close().await;
    let path = directory.path().join("case.db");
    let wrong = SqlCipherStore::open(&path, &FixedKey([7; 32]), STORE).await;
    assert!(matches!(wrong, Err(LocalStoreError::WrongKey)));
    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.documents().await.unwrap()[0].local, 1);
    store.close().await;
}

/// After a crash the newest pages are in the log beside the file.
#[tokio::test]
async fn a_wrong_key_harms_no_unmerged_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    let crashed = tempfile::tempdir().unwrap();
    for name in ["case.db", "case.db-wal"] {
        fs::copy(directory.path().join(name), crashed.path().join(name)).unwrap();
    }
    store.close().await;
    let wrong = SqlCipherStore::open(&crashed.path().join("case.db"), &FixedKey([7; 32]), STORE).await;
    assert!(matches!(wrong, Err(LocalStoreError::WrongKey)), "{:?}", wrong.err());
    let store = open(crashed.path()).await.unwrap();
    assert_eq!(store.documents().await.unwrap()[0].local, 1);
    store.close().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_created() {
    struct Locked;
    impl KeyProvider for Locked {
        fn database_key(&self) -> Result<DatabaseKey, KeyError> {
            Err(KeyError::Locked)
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.db");
    let Err(LocalStoreError::Failed(source)) = SqlCipherStore::open(&path, &Locked, STORE).await else {
        panic!("a store without a key was opened");
    };
    assert_eq!(source.downcast_ref(), Some(&KeyError::Locked));
    assert!(fs::metadata(&path).is_ok_and(|file| file.len() == 0) || !path.exists());
}

#[tokio::test]
async fn the_development_key_opens_its_store_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("case.db"), FileKey { path: directory.path().join("store.key") });
    SqlCipherStore::open(&path, &key, STORE).await.unwrap().close().await;
    let other = Epoch(Uuid::from_u128(2));
    let store = SqlCipherStore::open(&path, &key, other).await.unwrap();
    assert_eq!(store.state().await.unwrap().store, STORE, "an existing store keeps its id");
    store.close().await;
}

#[tokio::test]
async fn a_second_opening_in_this_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    assert!(matches!(open(directory.path()).await, Err(LocalStoreError::InUse)));
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    store.close().await;
    open(directory.path()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_dropped_store_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await.unwrap());
    open(directory.path()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut holder = child::command("opening::child_holds_the_store", directory.path()).spawn().unwrap();
    let mut words = child::Words::of(&mut holder);
    assert_eq!(words.next().as_deref(), Some("open"));
    assert!(matches!(open(directory.path()).await, Err(LocalStoreError::InUse)));
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.documents().await.unwrap().len(), 1);
    store.close().await;
}

#[tokio::test]
#[ignore = "runs as a child of a_second_process_is_refused"]
async fn child_holds_the_store() {
    let Some(directory) = child::directory() else { return };
    let store = open(&directory).await.unwrap();
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    child::say("open");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    store.close().await;
}

#[tokio::test]
async fn another_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    store.close().await;
    let set = async |version: &'static str| {
        let mut file = raw(&directory.path().join("case.db")).await;
        sqlx::query(version).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
    };
    set("pragma user_version = 7").await;
    assert!(matches!(open(directory.path()).await, Err(LocalStoreError::NewerSchema { found: 7, known: 3 })));
    set("pragma user_version = 2").await;
    assert!(matches!(open(directory.path()).await, Err(LocalStoreError::OlderSchema { found: 2, known: 3 })));
    set("pragma user_version = 3").await;
    assert!(open(directory.path()).await.unwrap().document(document(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_flipped_bit_in_any_page_is_damage() {
    const PAGE: usize = 4096;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let entries = (0..200).map(|n| entry(document(n), n as u64 + 1, &[n as u32])).collect();
    let received = feldakte_client_sdk::store::Received { entries, ..Default::default() };
    store.save_received(&received).await.unwrap();
    store.close().await;
    let path = directory.path().join("case.db");
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 10 * PAGE);
    let mut damaged = 0;
    for page in 1..whole.len() / PAGE {
        let mut bytes = whole.clone();
        bytes[page * PAGE + 99] ^= 1;
        fs::write(&path, &bytes).unwrap();
        match read_all(directory.path()).await {
            Err(LocalStoreError::Damaged(_)) => damaged += 1,
            Err(error) => panic!("page {page}: {error:?}"),
            // An index or table this test does not read.
            Ok(()) => {}
        }
    }
    assert!(damaged > 5, "{damaged}");
    let mut first = whole.clone();
    first[99] ^= 1;
    fs::write(&path, &first).unwrap();
    assert!(matches!(open(directory.path()).await, Err(LocalStoreError::WrongKey)), "the first page proves the key");
}

async fn read_all(directory: &Path) -> Result<(), LocalStoreError> {
    let store = open(directory).await?;
    let read = async {
        for state in store.documents().await? {
            store.load(state.document).await?;
        }
        store.unsent(0, usize::MAX).await.map(|_| ())
    };
    let read = read.await;
    if read.is_err() {
        let again = store.save_edit(document(1), &[own(1)]).await;
        assert!(matches!(again, Err(LocalStoreError::Damaged(_))), "{again:?}");
    }
    store.close().await;
    read
}

#[tokio::test]
async fn a_plain_file_is_not_opened_as_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.db");
    let plain = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut plain = plain.connect().await.unwrap();
    sqlx::query("create table document (id)").execute(&mut plain).await.unwrap();
    plain.close().await.unwrap();
    assert!(matches!(open(directory.path()).await, Err(LocalStoreError::WrongKey)));
}

#[tokio::test]
async fn a_power_cut_while_creating_leaves_a_file_that_opens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.db");
    // The key is set and the first page written, the schema is not.
    fs::write(&path, b"").unwrap();
    let mut half = raw(&path).await;
    sqlx::query("pragma journal_mode = wal").execute(&mut half).await.unwrap();
    half.close().await.unwrap();
    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.state().await.unwrap().store, STORE);
    store.close().await;
}

//! Who has the files, or the logs, has neither content nor key.

use std::{
    fmt::Write as _,
    fs,
    io::ErrorKind,
    path::Path,
    process::{Command, Output},
};

use aes::cipher::{BlockDecryptMut, KeyIvInit, consts::U16, inout::InOutBuf};
use bytes::Bytes;
use feldakte_client_sdk::{
    key::FileKey,
    store::{
        LocalStore, LocalStoreError, OwnChange, Reader, Received, ReceivedEntry, ReceivedSnapshot, Revoked,
        sqlcipher::SqlCipherStore,
    },
};
use feldakte_core::{
    access::BreakGlassReason,
    ids::{Part, UserId},
};
use feldakte_proto::OpenedOffline;
use feldakte_tests::{
    local_store_conformance::{STORE, document, entry, hash, own, snapshot},
    skipped,
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use super::{FixedKey, KEY, child, open, opening::raw};

/// A text that occurs nowhere by accident.
const CANARY: &str = "Kanarienvogel-Müller-4711";

/// What must not be found in any file or log line, by name.
fn secrets() -> Vec<(&'static str, Vec<u8>)> {
    let hex = KEY.0.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    // As `{:?}` would print the bytes.
    let listed = format!("{:?}", &KEY.0[..6]);
    vec![
        ("content", CANARY.into()),
        ("raw key", KEY.0.to_vec()),
        ("key in hex", hex.clone().into()),
        ("key in capital hex", hex.to_uppercase().into()),
        ("key as a list", listed.trim_matches(['[', ']']).into()),
    ]
}

/// The names of the secrets that stand in `bytes`.
fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    secrets().into_iter().filter(|(_, secret)| holds(secret)).map(|(name, _)| name).collect()
}

/// Asserts that no file in the directory holds a secret, and gives the names of the files.
fn assert_no_secret_in(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        let found = found_in(&fs::read(file.path()).unwrap());
        assert_eq!(found, [""; 0], "in {:?}", file.file_name());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    names
}

/// Canaries in every column that holds content, small and over many pages.
async fn save_canaries(store: &SqlCipherStore) {
    let small = OwnChange { bytes: CANARY.into(), intent: CANARY.into(), ..own(1) };
    let large = OwnChange { bytes: CANARY.repeat(9_000).into(), intent: CANARY.repeat(500).into(), ..own(2) };
    store.save_edit(document(1), &[small, large]).await.unwrap();
    let mut theirs = entry(document(2), 1, &[3]);
    theirs.changes[0].1 = Bytes::from(CANARY.repeat(200));
    let entries = vec![theirs];
    let received = feldakte_client_sdk::store::Received { entries, ..Default::default() };
    store.save_received(&received).await.unwrap();
    let chunks = Bytes::from(CANARY.repeat(9_000));
    store.save_snapshot(&ReceivedSnapshot { chunks, ..snapshot(document(3), 2, &[4]) }).await.unwrap();
    store.compact(document(2), CANARY.repeat(100).as_bytes(), &[hash(3)]).await.unwrap();
    let somebody = UserId(Uuid::from_u128(1));
    store.set_active(Some(somebody), Reader::User(somebody)).await.unwrap();
    store.save_snapshot(&snapshot(document(4), 5, &[5])).await.unwrap();
    store.set_active(None, Reader::Device).await.unwrap();
    let (reason, text) = (BreakGlassReason::Other, CANARY.to_owned());
    let opened = OpenedOffline { case: document(4).case, user: None, reason, text, at_ms: 1 };
    assert_eq!(store.begin_emergency(&opened, &Part::ALL).await.unwrap(), [document(4)]);
}

#[tokio::test]
async fn no_file_holds_content_or_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    save_canaries(&store).await;
    assert_eq!(assert_no_secret_in(directory.path()), ["case.db", "case.db-wal"]);
    assert_eq!(store.load(document(1)).await.unwrap().unwrap().chunks[0], Bytes::from(CANARY));
    assert_no_secret_in(directory.path());
    store.close().await;
    assert_eq!(assert_no_secret_in(directory.path()), ["case.db"]);
    let header = fs::read(directory.path().join("case.db")).unwrap();
    assert!(!header.starts_with(b"SQLite format 3"));
}

#[test]
fn the_search_finds_what_is_there() {
    for (name, secret) in secrets() {
        assert_eq!(found_in(&[b"before ", secret.as_slice(), b" after"].concat()), [name]);
    }
}

/// Runs a shell of the database; `None`, and a line that says so, when it is not installed.
fn shell(program: &str, path: &Path, sql: &str) -> Option<Output> {
    match Command::new(program).arg(path).arg(sql).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skipped(&format!("`{program}` is not installed"));
            None
        }
        output => Some(output.unwrap()),
    }
}

/// Reads the one change of a store with somebody else's SQLCipher (with OpenSSL), and its integrity check.
const FOREIGN_READER: &str = r#"
import sys
try:
    import sqlcipher3
except ImportError:
    sys.exit(77)
database = sqlcipher3.connect(sys.argv[1])
database.execute(f"pragma key = \"x'{sys.argv[2]}'\"")
assert database.execute("pragma cipher_integrity_check").fetchall() == []
assert database.execute("pragma cipher_provider").fetchone()[0] != "rustcrypto"
sys.stdout.buffer.write(database.execute("select hash from change").fetchone()[0])
"#;

async fn closed_store_with_one_document(directory: &Path) {
    let store = open(directory).await.unwrap();
    store.save_edit(document(1), &[own(1)]).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn the_plain_sqlite_shell_cannot_read_the_file() {
    let directory = tempfile::tempdir().unwrap();
    closed_store_with_one_document(directory.path()).await;
    let path = directory.path().join("case.db");
    let Some(output) = shell("sqlite3", &path, "select count(*) from document") else { return };
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("file is not a database"), "{output:?}");
}

#[tokio::test]
async fn another_build_of_sqlcipher_reads_the_file_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    closed_store_with_one_document(directory.path()).await;
    let path = directory.path().join("case.db");
    let key: String = KEY.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = Command::new("python3").args(["-c", FOREIGN_READER]).arg(&path).arg(&key).output();
    let is_there = output.as_ref().is_ok_and(|output| output.status.code() != Some(77));
    if !is_there {
        return skipped("python3 with the module sqlcipher3 (package sqlcipher3-binary) is not installed");
    }
    let output = output.unwrap();
    assert_eq!(output.stdout, hash(1).0, "{output:?}");
    let wrong = Command::new("python3").args(["-c", FOREIGN_READER]).arg(&path).arg("00".repeat(32)).output().unwrap();
    assert!(!wrong.status.success(), "without the key it does not: {wrong:?}");
}

/// The same with SQLCipher's own key pragma and integrity check, without an installed shell.
#[tokio::test]
async fn the_file_is_one_of_sqlcipher_4() {
    let directory = tempfile::tempdir().unwrap();
    closed_store_with_one_document(directory.path()).await;
    let mut other = raw(&directory.path().join("case.db")).await;
    let read: Vec<u8> = sqlx::query_scalar("select hash from change").fetch_one(&mut other).await.unwrap();
    assert_eq!(read, hash(1).0);
    let faults = sqlx::query("pragma cipher_integrity_check").fetch_all(&mut other).await.unwrap();
    assert_eq!(faults.len(), 0);
    let provider: String = sqlx::query_scalar("pragma cipher_provider").fetch_one(&mut other).await.unwrap();
    assert_eq!(provider, "rustcrypto");
    let hmac: String = sqlx::query_scalar("pragma cipher_hmac_algorithm").fetch_one(&mut other).await.unwrap();
    assert_eq!(hmac, "HMAC_SHA512");
    other.close().await.unwrap();
}

#[test]
fn logs_hold_neither_content_nor_key() {
    let directory = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } =
        child::command("secrecy::child_works_under_trace", directory.path()).output().unwrap();
    let output = [stdout, stderr].concat();
    let text = String::from_utf8_lossy(&output);
    assert!(status.success(), "{text}");
    assert!(text.contains("the driver is heard"), "the log of the driver is captured");
    assert_eq!(found_in(&output), [""; 0]);
}

#[tokio::test]
#[ignore = "runs as a child of logs_hold_neither_content_nor_key"]
async fn child_works_under_trace() {
    let Some(directory) = child::directory() else { return };
    let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::stderr);
    everything.init();
    let mut heard = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    sqlx::query("select 'the driver is heard'").execute(&mut heard).await.unwrap();
    heard.close().await.unwrap();

    let store = open(&directory).await.unwrap();
    save_canaries(&store).await;
    store.load(document(1)).await.unwrap();
    store.unsent(0, usize::MAX).await.unwrap();
    assert!(matches!(open(&directory).await, Err(LocalStoreError::InUse)));
    store.close().await;
    let path = directory.join("case.db");
    let wrong = FixedKey([9; 32]);
    let Err(error) = SqlCipherStore::open(&path, &wrong, STORE).await else { panic!("opened with a wrong key") };
    tracing::error!(?error, "as an app would log it");
    let mut damaged = fs::read(&path).unwrap();
    damaged[4096 * 2..].iter_mut().step_by(512).for_each(|byte| *byte ^= 1);
    fs::write(&path, damaged).unwrap();
    let error = match open(&directory).await {
        Ok(store) => store.documents().await.err(),
        Err(error) => Some(error),
    };
    assert!(matches!(error, Some(LocalStoreError::Damaged(_))), "{error:?}");
    tracing::error!(?error, "as an app would log it");
}

/// Every page of the file as whoever has the store's key reads it: free pages, gaps between rows and all. SQLCipher 4 by
/// its own documentation: pages of 4096 bytes whose last 80 are a vector and an authentication code; the file begins
/// with 16 bytes of salt.
fn decrypted(file: &Path) -> Vec<u8> {
    let mut file = fs::read(file).unwrap();
    let mut all = Vec::with_capacity(file.len());
    for (number, page) in file.chunks_exact_mut(4_096).enumerate() {
        let (content, reserve) = page.split_at_mut(4_096 - 80);
        let content = &mut content[if number == 0 { 16 } else { 0 }..];
        let (blocks, _) = InOutBuf::from(&mut *content).into_chunks::<U16>();
        let cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(&KEY.0, &reserve[..16]);
        cipher.unwrap().decrypt_blocks_inout_mut(blocks);
        all.extend_from_slice(content);
    }
    all
}

/// What opens the documents, and what they hold, as it stands in the rows.
#[derive(PartialEq)]
struct Rows {
    sealing: Vec<u8>,
    keys: Vec<(Vec<u8>, Vec<u8>)>,
    contents: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Rows {
    async fn of(directory: &Path) -> Rows {
        let mut database = raw(&directory.join("case.db")).await;
        let sealing = sqlx::query_scalar("select key from sealing").fetch_one(&mut database).await.unwrap();
        let keys = "select id, key from document_key join document on document.row = document";
        let keys = sqlx::query_as(keys).fetch_all(&mut database).await.unwrap();
        let contents = "select id, bytes from change join document on document.row = document union all
             select id, intent from change join document on document.row = document where length(intent) > 0 union all
             select id, chunks from snapshot join document on document.row = document";
        let contents = sqlx::query_as(contents).fetch_all(&mut database).await.unwrap();
        database.close().await.unwrap();
        Rows { sealing, keys, contents }
    }
}

fn holds(pages: &[u8], secret: &[u8]) -> bool {
    // The beginning of a large value stands whole on one page.
    let secret = &secret[..secret.len().min(60)];
    pages.windows(secret.len()).any(|window| window[0] == secret[0] && window == secret)
}

/// Whoever steals the device later, and gets the store's key out of it, finds nothing of a case that was taken away.
#[tokio::test]
async fn a_copy_taken_after_a_purge_shows_nothing_even_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.db");
    let store = open(directory.path()).await.unwrap();
    let ids: Vec<_> = (0..60).map(document).collect();
    for id in &ids {
        let small = OwnChange { bytes: CANARY.into(), intent: CANARY.into(), ..own(1) };
        let large = OwnChange { bytes: CANARY.repeat(300).into(), intent: CANARY.repeat(30).into(), ..own(2) };
        store.save_edit(*id, &[small, large]).await.unwrap();
        store
            .save_snapshot(&ReceivedSnapshot { chunks: CANARY.repeat(200).into(), ..snapshot(*id, 2, &[1, 2]) })
            .await
            .unwrap();
    }
    store.close().await;
    let before = Rows::of(directory.path()).await;
    let pages = decrypted(&path);
    assert!(holds(&pages, &before.sealing), "the search finds what is there");
    assert!(before.keys.iter().chain(&before.contents).all(|(_, value)| holds(&pages, value)));
    assert!(!holds(&pages, CANARY.as_bytes()), "content is sealed inside the file, too");

    let store = open(directory.path()).await.unwrap();
    let (ended, kept): (Vec<_>, Vec<_>) = ids.iter().enumerate().partition(|(n, _)| n % 3 == 1);
    let ended: Vec<_> = ended.into_iter().map(|(_, id)| *id).collect();
    let entries =
        ended.iter().map(|id| ReceivedEntry { revoked: Some(Revoked::Device), ..entry(*id, 3, &[]) }).collect();
    store.save_received(&Received { entries, ..Received::default() }).await.unwrap();
    assert_eq!(store.purge().await.unwrap(), ended);
    // The store is still open: nobody has to close it first.
    assert_eq!(fs::metadata(directory.path().join("case.db-wal")).unwrap().len(), 0);
    let pages = decrypted(&path);
    assert!(!holds(&pages, &before.sealing), "what wrapped the keys is gone");
    let is_ended = |id: &[u8]| ended.iter().any(|ended| ended.to_bytes() == id);
    for (id, value) in before.keys.iter().chain(&before.contents).filter(|(id, _)| is_ended(id)) {
        assert!(!holds(&pages, value), "something of {id:?} is left");
    }
    for (_, id) in kept {
        assert_eq!(store.load(*id).await.unwrap().unwrap().chunks, [Bytes::from(CANARY.repeat(200))]);
    }
    store.close().await;
}

#[tokio::test]
async fn a_wiped_store_shows_nothing_even_with_the_key_and_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("case.db"), FileKey { path: directory.path().join("key") });
    fs::write(&key.path, KEY.0).unwrap();
    let store = SqlCipherStore::open(&path, &key, STORE).await.unwrap();
    save_canaries(&store).await;
    store.close().await;
    let before = Rows::of(directory.path()).await;
    let store = SqlCipherStore::open(&path, &key, STORE).await.unwrap();
    store.order_wipe([7; 16]).await.unwrap();
    store.wipe().await.unwrap();
    let pages = decrypted(&path);
    let values = before.keys.iter().chain(&before.contents).map(|(_, value)| value);
    assert!(values.chain([&before.sealing]).all(|value| !holds(&pages, value)));
    store.close().await;
    SqlCipherStore::destroy(&path, &key).unwrap();
    SqlCipherStore::destroy(&path, &key).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

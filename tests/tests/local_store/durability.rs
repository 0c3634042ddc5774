//! What was told "saved" is there after kill -9, and a full disk harms nothing.

use std::{
    collections::BTreeSet,
    fs,
    future::poll_fn,
    io::Write,
    path::Path,
    pin::pin,
    process::{Command, Output},
    task::Poll,
};

use bytes::Bytes;
use feldakte_client_sdk::store::{LocalStore, LocalStoreError, OwnChange};
use feldakte_tests::local_store_conformance::{document, hash, own};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::Connection;

use super::{child, open, opening::raw};

const ROUNDS: u32 = 20;

/// The n-th change, between a hundred bytes and several pages.
fn sized(n: u32) -> OwnChange {
    OwnChange { bytes: Bytes::from(vec![n as u8; 100 + (n as usize * 7919) % 20_000]), ..own(n) }
}

async fn saved(directory: &Path) -> Vec<OwnChange> {
    let store = open(directory).await.unwrap();
    let unsent = store.unsent(0, usize::MAX).await.unwrap();
    store.close().await;
    unsent
        .into_iter()
        .map(|unsent| OwnChange { hash: unsent.hash, bytes: unsent.bytes, intent: Bytes::new() })
        .collect()
}

#[tokio::test]
async fn kill_nine_loses_nothing_that_was_told_saved() {
    let directory = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(20);
    let mut told = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut writer = child::command("durability::child_saves_until_killed", directory.path()).spawn().unwrap();
        let mut words = child::Words::of(&mut writer);
        let count = rng.random_range(1..30);
        told.extend(words.by_ref().take(count).map(|word| word.parse::<u32>().unwrap()));
        writer.kill().unwrap();
        // What it said between our last look and its death counts as well.
        told.extend(words.map(|word| word.parse::<u32>().unwrap()));
        writer.wait().unwrap();

        let saved = saved(directory.path()).await;
        let missing: Vec<_> = told.iter().filter(|n| !saved.iter().any(|change| change.hash == hash(**n))).collect();
        assert!(missing.is_empty(), "{missing:?} of {}", told.len());
        for (n, change) in saved.iter().enumerate() {
            assert_eq!(change.bytes, sized(n as u32).bytes, "complete and in order");
        }
    }
    assert!(told.len() > ROUNDS as usize, "the children did save");
    println!("{} changes told saved over {ROUNDS} kills, 0 missing", told.len());
}

#[tokio::test]
#[ignore = "runs as a child of kill_nine_loses_nothing_that_was_told_saved"]
async fn child_saves_until_killed() {
    let Some(directory) = child::directory() else { return };
    let store = open(&directory).await.unwrap();
    let first = store.documents().await.unwrap().first().map_or(0, |state| state.local);
    for n in first as u32.. {
        store.save_edit(document(1), &[sized(n)]).await.unwrap();
        child::say(&n.to_string());
    }
}

/// A file system of 4 MB in a mount namespace of the child's own, which needs no rights and leaves nothing behind.
#[test]
fn a_full_disk_refuses_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=4m none "$1" || exit 99; shift; exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(directory.path()).arg(child::binary()).args(child::arguments("durability::child_fills_the_disk"));
    child::with_directory(&mut command, directory.path());
    let Output { status, stdout, stderr } = match command.output() {
        Ok(output) if output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare:") => output,
        refused => return feldakte_tests::skipped(&format!("no small file system to be had: {refused:?}")),
    };
    let said = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "{said}{}", String::from_utf8_lossy(&stderr));
    assert!(said.contains("> refused, read, went on"), "{said}");
}

#[tokio::test]
#[ignore = "runs as a child of a_full_disk_refuses_and_harms_nothing"]
async fn child_fills_the_disk() {
    let Some(directory) = child::directory() else { return };
    let store = open(&directory).await.unwrap();
    store.save_edit(document(1), &[sized(0)]).await.unwrap();
    let filler = directory.join("filler");
    fill(&filler);

    let mut next = 1;
    let refusal = loop {
        assert!(next < 10_000, "the disk never became full");
        match store.save_edit(document(1), &[sized(next)]).await {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, LocalStoreError::Full), "{refusal:?}");
    assert!(matches!(store.save_edit(document(1), &[sized(next)]).await, Err(LocalStoreError::Full)));
    assert_eq!(store.documents().await.unwrap()[0].local, u64::from(next), "reading goes on");

    fs::remove_file(filler).unwrap();
    store.save_edit(document(1), &[sized(next)]).await.unwrap();
    store.close().await;
    let saved: Vec<_> = saved(&directory).await.into_iter().map(|change| change.bytes).collect();
    assert_eq!(saved, (0..=next).map(|n| sized(n).bytes).collect::<Vec<_>>());
    child::say("refused, read, went on");
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn an_operation_that_fails_half_way_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.unwrap().close().await;
    let mut other = raw(&directory.path().join("case.db")).await;
    // Unlike a full disk this leaves the transaction open: rolling it back is up to the store.
    let poison = own(2);
    let hex: String = poison.hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!(
        "create trigger poison before insert on change when new.hash = x'{hex}' begin select raise(fail, ''); end"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut other).await.unwrap();
    other.close().await.unwrap();

    let store = open(directory.path()).await.unwrap();
    let failed = store.save_edit(document(1), &[own(1), poison]).await;
    assert!(matches!(failed, Err(LocalStoreError::Failed(_))), "{failed:?}");
    assert_eq!(store.documents().await.unwrap(), []);
    store.save_edit(document(1), &[own(3)]).await.unwrap();
    store.close().await;
    assert_eq!(saved(directory.path()).await.into_iter().map(|change| change.hash).collect::<Vec<_>>(), [hash(3)]);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_leaves_no_open_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    for n in 0..50 {
        let edit = [own(2 * n)];
        // Dropped after a different number of answers from the driver, so in the middle of different statements.
        poll_times(n % 20, store.save_edit(document(1), &edit)).await;
        store.save_edit(document(1), &[own(2 * n + 1)]).await.unwrap();
    }
    store.close().await;
    let saved: BTreeSet<_> = saved(directory.path()).await.into_iter().map(|change| change.hash).collect();
    assert!((0..50).all(|n| saved.contains(&hash(2 * n + 1))));
}

/// Polls until the future is ready or was woken so often, then drops it.
async fn poll_times(times: u32, future: impl Future) {
    let (mut future, mut polls) = (pin!(future), 0);
    poll_fn(|context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Pending if polls <= times => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

//! A disk whose fsync fails: nothing is acknowledged, and nothing is written any more until the store is opened again.
//!
//! The child is this test binary, started again with a library that makes fsync fail on demand.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use feldakte_core::ids::Position;
use feldakte_gateway::store::{Append, Store, StoreError, StoredSnapshot, sqlite::SqliteStore};
use feldakte_tests::store_conformance::{about, document, tenant};

use crate::epoch;

#[tokio::test]
async fn a_failed_fsync_is_never_acknowledged_and_stops_all_writing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let library = directory.path().join("failing_sync.so");
    compile(&library)?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "failing_disk::write_while_fsync_fails", "--ignored", "--nocapture"])
        .env("LD_PRELOAD", &library)
        .env(FLAG, directory.path().join("flag"))
        .stdout(Stdio::piped())
        .output()?;
    let output = String::from_utf8_lossy(&child.stdout);
    ensure!(child.status.success() && output.contains(DONE), "{output}{}", String::from_utf8_lossy(&child.stderr));
    Ok(())
}

/// The C compiler that built SQLite.
fn compile(library: &Path) -> Result<()> {
    let source = library.with_extension("c");
    std::fs::write(&source, include_str!("failing_sync.c"))?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).arg("-ldl").status();
    ensure!(status.context("no C compiler")?.success(), "the library does not compile");
    Ok(())
}

#[tokio::test]
#[ignore = "a child process of the test above; it needs the library"]
async fn write_while_fsync_fails() -> Result<()> {
    let Some(flag) = std::env::var_os(FLAG) else { return Ok(()) };
    let path = Path::new(&flag).with_file_name("log.db");
    let store = SqliteStore::open(&path, epoch(1)).await?;
    store.append(&one()).await?;
    let snapshot =
        StoredSnapshot { position: Position(1), chunks: Default::default(), bindings: vec![], quarantined: vec![] };

    std::fs::write(&flag, b"")?;
    assert!(matches!(store.append(&one()).await, Err(StoreError::Unknown(_))));
    std::fs::remove_file(&flag)?;
    assert!(matches!(store.append(&one()).await, Err(StoreError::Unknown(_))));
    assert!(matches!(store.probe().await, Err(StoreError::Unknown(_))));
    assert!(matches!(store.put_snapshot(document(1), &snapshot).await, Err(StoreError::Unknown(_))));
    assert_eq!(head(&store).await?, 1);
    assert_eq!(store.document(document(1)).await?.context("it was written")?.entries.len(), 1);
    store.close().await;

    let store = SqliteStore::open(&path, epoch(1)).await?;
    // What was not acknowledged may be there or not; what is there is whole and the log goes on after it.
    let before = head(&store).await?;
    assert!((1..=2).contains(&before));
    assert_eq!(store.append(&one()).await?, [Position(before + 1)]);

    store.probe().await?;
    std::fs::write(&flag, b"")?;
    assert!(store.probe().await.is_err());
    std::fs::remove_file(&flag)?;
    assert!(matches!(store.append(&one()).await, Err(StoreError::Unknown(_))));
    println!("{DONE}");
    Ok(())
}

fn one() -> Vec<Append> {
    vec![about(document(1)).changes(1).append()]
}

async fn head(store: &SqliteStore) -> Result<u64> {
    Ok(store.head(&tenant("dortmund")).await?.position.0)
}

const FLAG: &str = "FELDAKTE_FAILING_SYNC";

const DONE: &str = "all of it happened";

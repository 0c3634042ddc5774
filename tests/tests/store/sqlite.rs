//! What only a file can do: fill up, be damaged, be somebody else's, be copied.

use std::{path::Path, pin::pin, process::Command};

use anyhow::{Context, Result, ensure};
use feldakte_core::ids::Position;
use feldakte_gateway::store::{
    Append, Head, Store, StoreError,
    sqlite::{DatabaseError, SqliteStore},
};
use feldakte_tests::store_conformance::{about, document, tenant, unit};

use crate::{SqliteFixture, epoch, store_conformance::Fixture};

const CANARY: &[u8] = b"canary-0123456789";

fn one(number: u128) -> Vec<Append> {
    vec![about(document(number)).change(CANARY).append()]
}

fn large() -> Vec<Append> {
    (0..50).map(|_| about(document(1)).change(&[7; 4000]).append()).collect()
}

async fn head(store: &SqliteStore) -> Result<Head> {
    Ok(store.head(&tenant("dortmund")).await?)
}

fn database_error(error: &StoreError) -> Option<&DatabaseError> {
    let (StoreError::Failed(source) | StoreError::Unknown(source)) = error else { return None };
    source.downcast_ref()
}

/// Overwrites bytes of a closed database.
fn patch(path: &Path, offset: usize, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::read(path)?;
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    Ok(std::fs::write(path, file)?)
}

#[tokio::test]
async fn one_damaged_byte_is_noticed_by_every_read_of_it_and_by_no_other() -> Result<()> {
    let mut fixture = SqliteFixture::new().await?;
    fixture.store.append(&one(1)).await?;
    fixture.store.append(&[about(document(2)).changes(1).append()]).await?;
    fixture.store.close().await;
    let file = std::fs::read(fixture.path())?;
    let offset = file.windows(CANARY.len()).position(|window| window == CANARY).context("the payload is there")?;
    patch(&fixture.path(), offset + 3, b"X")?;
    fixture.reopen().await?;
    let store = &fixture.store;
    let dortmund = tenant("dortmund");
    assert!(matches!(store.document(document(1)).await, Err(StoreError::Damaged("an entry"))));
    assert!(matches!(store.entries_after(document(1), Position(0)).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.read(&dortmund, &[Position(1)]).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.read(&dortmund, &[Position(2)]).await?.len(), 1);
    assert!(store.document(document(2)).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_damaged_snapshot_is_noticed() -> Result<()> {
    let mut fixture = SqliteFixture::new().await?;
    fixture.store.append(&one(1)).await?;
    let snapshot = feldakte_gateway::store::StoredSnapshot {
        position: Position(1),
        chunks: b"a-snapshot-of-document-one".as_slice().into(),
        bindings: Vec::new(),
        quarantined: Vec::new(),
    };
    fixture.store.put_snapshot(document(1), &snapshot).await?;
    fixture.store.close().await;
    let file = std::fs::read(fixture.path())?;
    let chunks = &snapshot.chunks[..];
    let offset = file.windows(chunks.len()).position(|window| window == chunks).context("the snapshot is there")?;
    patch(&fixture.path(), offset, b"A")?;
    fixture.reopen().await?;
    assert!(matches!(fixture.store.snapshot(document(1)).await, Err(StoreError::Damaged("a snapshot"))));
    Ok(())
}

#[tokio::test]
async fn a_full_disk_takes_nothing_stays_readable_and_goes_on_later() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    let store = &fixture.store;
    store.append(&one(1)).await?;
    store.limit_pages(1).await?;
    let before = head(store).await?;
    assert!(matches!(store.append(&large()).await, Err(StoreError::Full)));
    assert!(matches!(store.append(&large()).await, Err(StoreError::Full)));
    assert_eq!(head(store).await?, before);
    let log = store.document(document(1)).await?.context("it was written")?;
    assert_eq!(log.entries.len(), 1);
    store.limit_pages(1 << 30).await?;
    assert_eq!(store.append(&large()).await?.first(), Some(&before.position.next()));
    store.probe().await?;
    Ok(())
}

/// The same on a file system that is really full. Needs the right to mount one.
#[tokio::test]
async fn a_full_file_system_takes_nothing_and_goes_on_with_room() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(mount) = Mount::tmpfs(directory.path(), "size=2m")? else {
        feldakte_tests::skipped("this process may not mount a file system");
        return Ok(());
    };
    let store = SqliteStore::open(&directory.path().join("log.db"), epoch(1)).await?;
    let mut acknowledged = 0;
    let refused = loop {
        match store.append(&large()).await {
            Ok(positions) => acknowledged += positions.len() as u64,
            Err(error) => break error,
        }
        ensure!(acknowledged < 10_000, "2 MiB never fill up");
    };
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    assert_eq!(head(&store).await?.position, Position(acknowledged));
    mount.resize("size=32m")?;
    assert_eq!(store.append(&one(2)).await?, [Position(acknowledged + 1)]);
    let log = store.document(document(1)).await?.context("it was written")?;
    assert_eq!(log.entries.len() as u64, acknowledged);
    store.close().await;
    Ok(())
}

/// A file system that goes away with the value.
struct Mount<'p>(&'p Path);

impl<'p> Mount<'p> {
    fn tmpfs(path: &'p Path, options: &str) -> Result<Option<Self>> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        Ok(mount.is_ok_and(|output| output.status.success()).then_some(Self(path)))
    }

    fn resize(&self, options: &str) -> Result<()> {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0).status()?;
        ensure!(status.success(), "the file system was not resized");
        Ok(())
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: a failed test may still have files open.
        let unmounted = Command::new("umount").arg("-l").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the test's file system is still mounted");
    }
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_file_are_refused() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    fixture.store.append(&one(1)).await?;
    fixture.store.close().await;
    // `user_version` and `application_id` of SQLite's file header.
    patch(&fixture.path(), 60, &99_u32.to_be_bytes())?;
    let refused = SqliteStore::open(&fixture.path(), epoch(2)).await.expect_err("the schema is newer");
    let reason = database_error(&refused).context("it says why")?;
    assert!(matches!(reason, DatabaseError::NewerSchema { found: 99, supported: 2 }));
    patch(&fixture.path(), 60, &2_u32.to_be_bytes())?;
    patch(&fixture.path(), 68, &7_u32.to_be_bytes())?;
    let refused = SqliteStore::open(&fixture.path(), epoch(2)).await.expect_err("the file is not ours");
    assert!(matches!(database_error(&refused), Some(DatabaseError::Foreign)));
    std::fs::write(fixture.path(), b"no database at all, but long enough to have a header of its own")?;
    let refused = SqliteStore::open(&fixture.path(), epoch(2)).await.expect_err("this is no database");
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused:?}");
    Ok(())
}

/// Begins a call and goes away in its middle; again, should it be over by then.
async fn abandon<T>(call: impl AsyncFn() -> T) {
    loop {
        let mut call = pin!(call());
        let begun = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await;
        if begun.is_pending() {
            return;
        }
    }
}

#[tokio::test]
async fn after_an_abandoned_append_nothing_is_written_until_the_store_is_opened_again() -> Result<()> {
    let mut fixture = SqliteFixture::new().await?;
    fixture.store.append(&one(1)).await?;
    abandon(async || fixture.store.append(&one(1)).await).await;
    let before = head(&fixture.store).await?;
    for _ in 0..2 {
        let refused = fixture.store.append(&one(1)).await.expect_err("what is on the disk is not known");
        assert!(matches!(refused, StoreError::Unknown(_)), "{refused:?}");
    }
    assert!(fixture.store.probe().await.is_err());
    assert_eq!(head(&fixture.store).await?, before);
    fixture.reopen().await?;
    fixture.store.probe().await?;
    let before = head(&fixture.store).await?.position;
    assert_eq!(fixture.store.append(&one(1)).await?, [before.next()]);
    let log = fixture.store.document(document(1)).await?.context("it was written")?;
    assert_eq!(log.entries.len() as u64, before.0 + 1);
    Ok(())
}

#[tokio::test]
async fn an_abandoned_snapshot_or_probe_leaves_no_trace() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    let store = &fixture.store;
    store.append(&one(1)).await?;
    let snapshot = feldakte_gateway::store::StoredSnapshot {
        position: Position(1),
        chunks: vec![1; 100_000].into(),
        bindings: Vec::new(),
        quarantined: Vec::new(),
    };
    for position in 2..6 {
        abandon(async || store.put_snapshot(document(1), &snapshot).await).await;
        assert_eq!(store.append(&one(1)).await?, [Position(position)]);
        store.probe().await?;
        abandon(async || store.probe().await).await;
    }
    store.put_snapshot(document(1), &snapshot).await?;
    assert_eq!(store.snapshot(document(1)).await?, Some(snapshot));
    Ok(())
}

#[tokio::test]
async fn a_closed_store_is_one_file_and_refuses() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    fixture.store.append(&one(1)).await?;
    fixture.store.close().await;
    let names = std::fs::read_dir(fixture.directory.path())?.map(|entry| Ok(entry?.file_name()));
    assert_eq!(names.collect::<Result<Vec<_>>>()?, ["log.db"]);
    let refused = fixture.store.append(&one(1)).await.expect_err("it is closed");
    assert!(matches!(database_error(&refused), Some(DatabaseError::Closed)));
    assert!(fixture.store.document(document(1)).await.is_err());
    fixture.store.close().await;
    Ok(())
}

#[tokio::test]
async fn the_write_ahead_log_is_copied_beside_the_writer_and_stays_small() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    let wal = fixture.directory.path().join("log.db-wal");
    let mut written = 0;
    while written < 100 << 20 {
        let batch = large();
        written += batch.iter().map(|append| append.encoded.len()).sum::<usize>();
        fixture.store.append(&batch).await?;
    }
    let (log, database) = (std::fs::metadata(&wal)?.len(), std::fs::metadata(fixture.path())?.len());
    assert!(log < 50 << 20, "{log} bytes in the write-ahead log");
    assert!(database > 50 << 20, "{database} bytes in the database");
    Ok(())
}

#[tokio::test]
async fn a_restored_backup_is_the_same_log_in_a_new_epoch() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    let crew = unit("rtw-1");
    fixture.store.append(&[about(document(1)).grant(&crew).change(CANARY).append()]).await?;
    fixture.store.append(&[about(document(11)).of(tenant("hagen")).append()]).await?;
    let backup = fixture.directory.path().join("backup.db");
    fixture.store.backup_to(&backup).await?;
    fixture.store.append(&one(1)).await?;
    let target = fixture.directory.path().join("restored.db");
    SqliteStore::restore(&backup, &target, epoch(5)).await?;

    let restored = SqliteStore::open(&target, epoch(9)).await?;
    assert_eq!(restored.epoch().await?, epoch(5));
    let at = |position| Head { position: Position(position), restored_to: Some(Position(1)) };
    assert_eq!(head(&restored).await?, at(1));
    assert_eq!(restored.head(&tenant("hagen")).await?, at(1));
    let original = fixture.store.read(&tenant("dortmund"), &[Position(1)]).await?;
    assert_eq!(restored.document(document(1)).await?.context("it was backed up")?.entries, original);
    assert_eq!(restored.append(&one(1)).await?, [Position(2)]);
    assert_eq!(head(&restored).await?, at(2));
    restored.close().await;

    assert_eq!(fixture.store.epoch().await?, epoch(1));
    assert_eq!(head(&fixture.store).await?, Head { position: Position(2), restored_to: None });
    Ok(())
}

#[tokio::test]
async fn backup_and_restore_overwrite_nothing_and_take_no_other_file() -> Result<()> {
    let fixture = SqliteFixture::new().await?;
    fixture.store.append(&one(1)).await?;
    let backup = fixture.directory.path().join("backup.db");
    fixture.store.backup_to(&backup).await?;
    let before = std::fs::read(&backup)?;
    let refused = fixture.store.backup_to(&backup).await.expect_err("it exists");
    assert!(matches!(database_error(&refused), Some(DatabaseError::TargetExists)));
    let refused = SqliteStore::restore(&backup, &fixture.path(), epoch(5)).await.expect_err("it exists");
    assert!(matches!(database_error(&refused), Some(DatabaseError::TargetExists)));
    assert_eq!(std::fs::read(&backup)?, before);

    let (foreign, target) = (fixture.directory.path().join("foreign"), fixture.directory.path().join("target"));
    std::fs::write(&foreign, b"")?;
    assert!(SqliteStore::restore(&foreign, &target, epoch(5)).await.is_err());
    // A page of the tree is gone.
    let middle = before.len() / 4096 / 2 * 4096;
    std::fs::write(&foreign, &before)?;
    patch(&foreign, middle, &[0xff; 4096])?;
    assert!(SqliteStore::restore(&foreign, &target, epoch(5)).await.is_err());
    assert!(!target.exists());
    Ok(())
}

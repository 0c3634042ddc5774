//! Content at rest: what a thief of the disk, of a backup or of an old keyring can read.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    audit::Reason,
    ids::{CaseId, DocumentId, Position, TenantId},
};
use feldakte_gateway::{
    keys::{CaseKey, KeyEncryption, KeyError, KeyId, TenantKeys, WrappedKey},
    store::{
        Store, StoreError, StoredSnapshot,
        keyring::{Keyring, Receipt, Shredded},
        matters::{MatterStore, sqlite::SqliteMatterStore},
        sealed::{SealedMatters, SealedStore},
        sqlite::SqliteStore,
    },
};
use feldakte_tests::{
    harness::files_with,
    store_conformance::{about, document, tenant, unit},
};
use sqlx::Connection;

use super::epoch;

/// A log, its keyring and its tenants' keys in one directory.
struct Vault {
    directory: tempfile::TempDir,
    log: Arc<SqliteStore>,
    keyring: Arc<Keyring>,
    store: Arc<SealedStore>,
}

impl Vault {
    async fn new() -> Result<Vault> {
        Vault::with(|directory| Ok(Arc::new(TenantKeys::in_file(&directory.join(TENANT_KEYS))?))).await
    }

    async fn with(keys: impl FnOnce(&Path) -> Result<Arc<dyn KeyEncryption>>) -> Result<Vault> {
        let directory = tempfile::tempdir()?;
        let log = SqliteStore::open(&directory.path().join(LOG), epoch(1)).await?;
        let keyring = Keyring::open(&directory.path().join(KEYRING), keys(directory.path())?).await?;
        let store = SealedStore::pair(log.clone(), keyring.clone()).await?;
        Ok(Vault { directory, log, keyring, store })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A document with content and a snapshot.
    async fn write(&self, number: u128, content: &str) -> Result<DocumentId> {
        let document = document(number);
        let draft = about(document).grant(&unit("rtw-1")).change(content.as_bytes());
        let [position] = self.store.append(&[draft.append()]).await?[..] else { anyhow::bail!("one position") };
        let chunks = Bytes::from(format!("snapshot of {content}"));
        let snapshot = StoredSnapshot { position, chunks, bindings: Vec::new(), quarantined: Vec::new() };
        self.store.put_snapshot(document, &snapshot).await?;
        Ok(document)
    }

    async fn shred(&self, case: CaseId) -> Result<Shredded> {
        Ok(self.keyring.shred(&receipt(case)).await?)
    }

    /// Copies of log and keyring, as backups are made.
    async fn back_up(&self, name: &str) -> Result<()> {
        self.log.backup_to(&self.path(&format!("{name}.log"))).await?;
        Keyring::backup(&self.path(KEYRING), &self.path(&format!("{name}.keys"))).await?;
        Ok(())
    }

    /// What somebody reads of a document who has these files and the tenants' keys of today.
    async fn read_with(&self, log: &str, keyring: &str, document: DocumentId) -> Result<String, StoreError> {
        let keys = TenantKeys::in_file(&self.path(TENANT_KEYS)).map_err(|error| StoreError::Failed(error.into()))?;
        let log = SqliteStore::open(&self.path(log), epoch(9)).await?;
        let keyring = Keyring::open(&self.path(keyring), Arc::new(keys)).await?;
        let store = SealedStore::pair(log, keyring).await?;
        let read = read(&*store, document).await;
        store.close().await;
        read
    }
}

fn receipt(case: CaseId) -> Receipt {
    let name = |name: &str| name.parse().expect("a slug");
    let (requested_by, approved_by) = (name("anna"), name("berta"));
    Receipt { case, tenant: tenant("dortmund"), requested_by, approved_by, reason: Reason::RetentionOver, at_ms: 5 }
}

/// Everything readable of a document, as text.
async fn read(store: &dyn Store, document: DocumentId) -> Result<String, StoreError> {
    let entries = store.entries_after(document, Position::START).await?;
    let snapshot = store.snapshot(document).await?.map(|snapshot| snapshot.chunks).unwrap_or_default();
    let rows = entries.iter().map(|stored| &stored.encoded).chain([&snapshot]);
    Ok(rows.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
}

async fn raw(vault: &Vault, sql: &'static str) -> Result<()> {
    let mut connection = sqlx::SqliteConnection::connect(vault.path(LOG).to_str().context("a path")?).await?;
    sqlx::raw_sql(sql).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

#[tokio::test]
async fn a_stolen_disk_shows_no_content() -> Result<()> {
    let vault = Vault::new().await?;
    let document = vault.write(1, CANARY).await?;
    assert!(read(&*vault.store, document).await?.contains(CANARY), "it is readable with the keys");
    vault.back_up("stolen").await?;
    assert_eq!(files_with(vault.directory.path(), CANARY.as_bytes()), Vec::<String>::new());
    vault.store.close().await;
    assert_eq!(files_with(vault.directory.path(), CANARY.as_bytes()), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_row_put_into_the_place_of_another_is_damaged() -> Result<()> {
    let vault = Vault::new().await?;
    let document = vault.write(1, "first").await?;
    vault.store.append(&[about(document).change(b"second").append()]).await?;
    assert_eq!(vault.store.read(&tenant("dortmund"), &[Position(1), Position(2)]).await?.len(), 2);
    let swap = "create temp table other as select id, len, digest, payload from entry;
        update entry set (len, digest, payload) = (select len, digest, payload from other where other.id <> entry.id)";
    raw(&vault, swap).await?;
    for position in [1, 2] {
        let moved = vault.store.read(&tenant("dortmund"), &[Position(position)]).await;
        assert!(matches!(moved, Err(StoreError::Damaged(_))), "{moved:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_shredded_case_is_gone_and_all_others_stay() -> Result<()> {
    let vault = Vault::new().await?;
    let (gone, stays) = (vault.write(1, "gone").await?, vault.write(4, "stays").await?);
    let end = about(gone).revoke(&unit("rtw-1")).append();
    let ended = vault.store.append(&[end]).await?;
    assert_eq!(vault.shred(gone.case).await?, Shredded::Now);
    assert!(matches!(vault.store.document(gone).await, Err(StoreError::Shredded)));
    assert!(!read(&*vault.store, gone).await?.contains("gone"));
    assert!(vault.store.snapshot(gone).await?.is_none());
    // Its end is told to whoever could read it.
    let rows = vault.store.read(&tenant("dortmund"), &[Position(1), ended[0]]).await?;
    assert_eq!(rows.iter().map(|stored| stored.position).collect::<Vec<_>>(), ended);
    assert!(read(&*vault.store, stays).await?.contains("stays"));
    assert_eq!(vault.shred(gone.case).await?, Shredded::Before(receipt(gone.case)));
    assert_eq!(vault.keyring.receipts(None).await?, [receipt(gone.case)]);
    assert_eq!(vault.shred(document(700).case).await?, Shredded::Unknown);
    Ok(())
}

#[tokio::test]
async fn what_is_written_to_a_shredded_case_can_be_read_by_nobody() -> Result<()> {
    let vault = Vault::new().await?;
    let document = vault.write(1, "before").await?;
    vault.shred(document.case).await?;
    vault.write(1, CANARY).await?;
    assert_eq!(read(&*vault.store, document).await?, "");
    assert_eq!(files_with(vault.directory.path(), CANARY.as_bytes()), Vec::<String>::new());
    assert!(vault.keyring.tenant_of(document.case).await?.is_none(), "it got no new key");
    Ok(())
}

#[tokio::test]
async fn neither_database_nor_backups_open_after_shredding() -> Result<()> {
    let vault = Vault::new().await?;
    let (gone, stays) = (vault.write(1, "gone").await?, vault.write(4, "stays").await?);
    vault.back_up("old").await?;
    assert!(vault.read_with("old.log", "old.keys", gone).await?.contains("gone"), "the backups are whole");
    vault.shred(gone.case).await?;
    assert!(
        vault.read_with("old.log", "old.keys", gone).await?.contains("gone"),
        "without a rotation an old keyring opens"
    );
    vault.keyring.rotate(&tenant("dortmund")).await?;
    vault.back_up("new").await?;
    let old = vault.read_with("old.log", "old.keys", gone).await;
    assert!(matches!(old, Err(StoreError::Damaged(_))), "{old:?}");
    for log in ["old.log", "new.log"] {
        assert_eq!(vault.read_with(log, "new.keys", gone).await?, "", "{log}");
        assert!(vault.read_with(log, "new.keys", stays).await?.contains("stays"), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_destroyed_key_leaves_nothing_in_the_keyring_and_its_write_ahead_log() -> Result<()> {
    let vault = Vault::new().await?;
    let gone = vault.write(1, "gone").await?;
    let wrapped = {
        let mut keyring = sqlx::SqliteConnection::connect(vault.path(KEYRING).to_str().context("a path")?).await?;
        let wrapped: Vec<u8> = sqlx::query_scalar("select wrapped from case_key").fetch_one(&mut keyring).await?;
        keyring.close().await?;
        wrapped
    };
    assert!(!files_with(vault.directory.path(), &wrapped).is_empty(), "it is there before");
    vault.shred(gone.case).await?;
    assert_eq!(files_with(vault.directory.path(), &wrapped), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn rotation_wraps_all_keys_again_and_touches_no_content() -> Result<()> {
    let vault = Vault::new().await?;
    let mut documents = Vec::new();
    for number in 0..600 {
        documents.push(vault.write(3 * number, &format!("content {number}")).await?);
    }
    let rows = vault.log.entries_after(documents[7], Position::START).await?;
    let before = vault.keyring.summary(None).await?;
    let rotated = vault.keyring.rotate(&tenant("dortmund")).await?;
    assert_eq!(rotated.rewrapped, 600);
    assert_eq!(vault.log.entries_after(documents[7], Position::START).await?, rows);
    let after = vault.keyring.summary(None).await?;
    assert_eq!((after.len(), after[0].cases, &after[0].wrapped_by), (1, 600, &rotated.to));
    assert_ne!(after[0].wrapped_by, before[0].wrapped_by);
    vault.back_up("after").await?;
    assert!(vault.read_with("after.log", "after.keys", documents[599]).await?.contains("content 599"));
    Ok(())
}

/// A supervisor's matter and an entry of the log may be the first of a case at the same moment.
#[tokio::test]
async fn whoever_is_first_makes_the_key_and_all_others_use_it() -> Result<()> {
    let vault = Vault::new().await?;
    let (dortmund, matters) = (tenant("dortmund"), SqliteMatterStore::open(&vault.path("matters.db")).await?);
    let matters = SealedMatters::new(matters, vault.keyring.clone());
    for round in 0..20 {
        let document = document(round * 3);
        let review = super::matters::evidence(round * 3, "dortmund");
        let append = [about(document).change(b"content").append()];
        let (appended, kept) = tokio::join!(vault.store.append(&append), matters.keep(&review));
        let position = appended?[0];
        kept?;
        assert_eq!(vault.store.read(&dortmund, &[position]).await?.len(), 1, "round {round}");
        assert_eq!(matters.review(review.id).await?, Some(review), "round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn a_log_opens_with_no_other_keyring() -> Result<()> {
    let vault = Vault::new().await?;
    vault.write(1, "content").await?;
    let other = Keyring::open(&vault.path("other.keys"), Arc::new(TenantKeys::in_file(&vault.path("other"))?)).await?;
    let refused = SealedStore::pair(vault.log.clone(), other).await.err().context("refused")?;
    let why = std::error::Error::source(&refused).context("a source")?.to_string();
    assert!(why.contains("another keyring"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_missing_tenant_key_is_named_before_anybody_needs_it() -> Result<()> {
    let vault = Vault::new().await?;
    vault.write(1, "content").await?;
    assert_eq!(vault.keyring.missing().await?, None);
    let lost = Arc::new(TenantKeys::in_file(&vault.path("empty.keys"))?);
    let keyring = Keyring::open(&vault.path(KEYRING), lost).await?;
    assert_eq!(keyring.missing().await?, Some(tenant("dortmund")));
    Ok(())
}

/// A device that keeps tenant keys to itself: here, versions of one key in memory.
#[derive(Default)]
struct Hsm {
    versions: tokio::sync::Mutex<Vec<TenantKeys>>,
    is_away: AtomicBool,
    /// Wraps until it goes away.
    calls_left: AtomicU64,
}

impl Hsm {
    fn key(version: usize) -> TenantKeys {
        let digits = format!("{:064x}", version + 1);
        TenantKeys::from_environment("test", &format!("dortmund:{digits},hagen:{digits}")).expect("keys")
    }

    fn ask(&self) -> Result<(), KeyError> {
        let left = self.calls_left.load(Ordering::Relaxed);
        self.calls_left.store(left.saturating_sub(1), Ordering::Relaxed);
        match self.is_away.load(Ordering::Relaxed) || left == 0 {
            true => Err(KeyError::Unavailable("the device does not answer".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl KeyEncryption for Hsm {
    async fn wrap(&self, tenant: &TenantId, case: CaseId, key: &CaseKey) -> Result<WrappedKey, KeyError> {
        self.ask()?;
        self.versions.lock().await.last().expect("a version").wrap(tenant, case, key).await
    }

    async fn unwrap(&self, tenant: &TenantId, case: CaseId, wrapped: &WrappedKey) -> Result<CaseKey, KeyError> {
        self.ask()?;
        let versions = self.versions.lock().await;
        for version in versions.iter() {
            match version.unwrap(tenant, case, wrapped).await {
                Err(KeyError::Gone) => {}
                found => return found,
            }
        }
        Err(KeyError::Gone)
    }

    async fn renew(&self, tenant: &TenantId) -> Result<KeyId, KeyError> {
        let mut versions = self.versions.lock().await;
        if versions.len() < 2 {
            let next = Hsm::key(versions.len());
            versions.push(next);
        }
        let newest = versions.last().expect("a version");
        Ok(newest.wrap(tenant, document(1).case, &CaseKey::generate()?).await?.by)
    }

    async fn retire_all_but(&self, _: &TenantId, _: &KeyId) -> Result<(), KeyError> {
        let mut versions = self.versions.lock().await;
        let newest = versions.pop().expect("a version");
        *versions = vec![newest];
        Ok(())
    }
}

async fn with_hsm() -> Result<(Vault, Arc<Hsm>)> {
    let hsm = Arc::new(Hsm { calls_left: AtomicU64::new(u64::MAX), ..Hsm::default() });
    hsm.versions.lock().await.push(Hsm::key(0));
    let vault = Vault::with(|_| Ok(hsm.clone())).await?;
    Ok((vault, hsm))
}

#[tokio::test]
async fn a_key_device_that_is_away_holds_writing_up_and_loses_nothing() -> Result<()> {
    let (vault, hsm) = with_hsm().await?;
    let known = vault.write(1, "known").await?;
    hsm.is_away.store(true, Ordering::Relaxed);
    let refused = vault.write(4, "new").await.err().context("refused")?;
    assert!(matches!(refused.downcast_ref(), Some(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(vault.store.head(&tenant("dortmund")).await?.position, Position(1), "nothing was written");
    assert!(read(&*vault.store, known).await?.contains("known"), "keys in use stay in use");
    hsm.is_away.store(false, Ordering::Relaxed);
    let new = vault.write(4, "new").await?;
    assert!(read(&*vault.store, new).await?.contains("new"));
    Ok(())
}

#[tokio::test]
async fn a_rotation_that_breaks_off_is_finished_by_the_next_one() -> Result<()> {
    let (vault, hsm) = with_hsm().await?;
    for number in 0..600 {
        vault.write(3 * number, "content").await?;
    }
    let first = vault.keyring.summary(None).await?;
    hsm.calls_left.store(900, Ordering::Relaxed);
    let broken = vault.keyring.rotate(&tenant("dortmund")).await;
    assert!(matches!(broken, Err(StoreError::Unavailable(_))), "{broken:?}");
    let halfway = vault.keyring.summary(None).await?;
    assert_eq!(halfway.len(), 2, "some are wrapped again, some are not: {halfway:?}");
    hsm.calls_left.store(u64::MAX, Ordering::Relaxed);
    vault.keyring.rotate(&tenant("dortmund")).await?;
    let after = vault.keyring.summary(None).await?;
    assert_eq!((after.len(), after[0].cases), (1, 600));
    assert_ne!(after[0].wrapped_by, first[0].wrapped_by);
    Ok(())
}

#[tokio::test]
async fn a_key_is_on_the_disk_before_anything_is_sealed_under_it() -> Result<()> {
    let vault = Vault::new().await?;
    let full = vault.log.limit_pages(1).await;
    full?;
    let long = "x".repeat(1 << 20);
    let refused = vault.write(1, &long).await.err().context("there is no room")?;
    assert!(matches!(refused.downcast_ref(), Some(StoreError::Full)), "{refused:?}");
    assert!(vault.keyring.tenant_of(document(1).case).await?.is_some());
    Ok(())
}

/// Tenant keys in a file; a key that was wrapped is handed out when the test says so.
struct Gated {
    keys: TenantKeys,
    is_held: AtomicBool,
    wrapped: tokio::sync::Notify,
    go: tokio::sync::Notify,
}

#[async_trait]
impl KeyEncryption for Gated {
    async fn wrap(&self, tenant: &TenantId, case: CaseId, key: &CaseKey) -> Result<WrappedKey, KeyError> {
        let wrapped = self.keys.wrap(tenant, case, key).await;
        if self.is_held.swap(false, Ordering::Relaxed) {
            self.wrapped.notify_one();
            self.go.notified().await;
        }
        wrapped
    }

    async fn unwrap(&self, tenant: &TenantId, case: CaseId, wrapped: &WrappedKey) -> Result<CaseKey, KeyError> {
        self.keys.unwrap(tenant, case, wrapped).await
    }

    async fn renew(&self, tenant: &TenantId) -> Result<KeyId, KeyError> {
        self.keys.renew(tenant).await
    }

    async fn retire_all_but(&self, tenant: &TenantId, keep: &KeyId) -> Result<(), KeyError> {
        self.keys.retire_all_but(tenant, keep).await
    }
}

/// Its key was wrapped by the old tenant key and is not in the file yet: destroyed now, the old key would take the case
/// with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_begins_during_a_rotation_is_readable_after_it() -> Result<()> {
    let mut gate = None;
    let vault = Vault::with(|directory| {
        let keys = TenantKeys::in_file(&directory.join(TENANT_KEYS))?;
        let (is_held, wrapped, go) = (AtomicBool::new(false), Default::default(), Default::default());
        let gated = Arc::new(Gated { keys, is_held, wrapped, go });
        gate = Some(gated.clone());
        Ok(gated)
    })
    .await?;
    let gate = gate.context("it was made")?;
    vault.write(1, "before").await?;
    gate.is_held.store(true, Ordering::Relaxed);
    let (store, keyring) = (vault.store.clone(), vault.keyring.clone());
    let append = tokio::spawn(async move { store.append(&[about(document(4)).change(b"during").append()]).await });
    gate.wrapped.notified().await;
    let mut rotation = tokio::spawn(async move { keyring.rotate(&tenant("dortmund")).await });
    // As far as it comes while the case waits.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut rotation).await;
    gate.go.notify_one();
    append.await??;
    match early {
        Ok(rotated) => drop(rotated??),
        Err(_) => drop(rotation.await??),
    }
    vault.back_up("after").await?;
    assert!(vault.read_with("after.log", "after.keys", document(4)).await?.contains("during"));
    assert_eq!(vault.keyring.missing().await?, None);
    Ok(())
}

const LOG: &str = "log.sqlite";
const KEYRING: &str = "keys.sqlite";
const TENANT_KEYS: &str = "tenant.keys";
const CANARY: &str = "Brunhilde Kanarienvogel";

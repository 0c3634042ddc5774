//! The gateway's stores: one list of behaviours over both, one random test that compares them, and what only one has.
//!
//! `cargo test -p feldakte-tests --test store`

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use feldakte_core::ids::Epoch;
use feldakte_gateway::{
    keys::TenantKeys,
    store::{SharedStore, Store, keyring::Keyring, sealed::SealedStore, sqlite::SqliteStore},
};
use feldakte_tests::{
    for_each_store_behaviour,
    memory_store::MemoryStore,
    store_conformance::{self, Fixture, Operation, compare, operations},
};
use uuid::Uuid;

#[cfg(target_os = "linux")]
#[path = "store/failing_disk.rs"]
mod failing_disk;
#[path = "store/killed.rs"]
mod killed;
#[path = "store/matters.rs"]
mod matters;
#[path = "store/memory.rs"]
mod memory;
#[path = "store/sealed.rs"]
mod sealed;
#[path = "store/sqlite.rs"]
mod sqlite;

/// A database in a directory of its own.
struct SqliteFixture {
    directory: tempfile::TempDir,
    store: Arc<SqliteStore>,
}

impl SqliteFixture {
    async fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = SqliteStore::open(&directory.path().join("log.db"), epoch(1)).await?;
        Ok(Self { directory, store })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }
}

impl Fixture for SqliteFixture {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.store) as SharedStore
    }

    async fn reopen(&mut self) -> Result<()> {
        self.store.close().await;
        // An epoch is for new databases: this one has its own.
        self.store = SqliteStore::open(&self.path(), epoch(2)).await?;
        Ok(())
    }
}

/// A memory whose machine crashes.
struct MemoryFixture(Arc<MemoryStore>);

impl MemoryFixture {
    async fn new() -> Result<Self> {
        Ok(Self(MemoryStore::new(epoch(1), || Duration::from_millis(1))))
    }
}

impl Fixture for MemoryFixture {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.0) as SharedStore
    }

    async fn reopen(&mut self) -> Result<()> {
        self.0.crash();
        Ok(())
    }
}

/// Another store with its content sealed; the keyring is a file in either case.
struct SealedFixture<F> {
    inner: F,
    keys: tempfile::TempDir,
    sealed: Arc<SealedStore>,
    keyring: Arc<Keyring>,
}

impl<F: Fixture> SealedFixture<F> {
    async fn new(inner: F) -> Result<Self> {
        let keys = tempfile::tempdir()?;
        let (sealed, keyring) = Self::seal(&inner, &keys).await?;
        Ok(Self { inner, keys, sealed, keyring })
    }

    async fn seal(inner: &F, keys: &tempfile::TempDir) -> Result<(Arc<SealedStore>, Arc<Keyring>)> {
        let tenant_keys = TenantKeys::in_file(&keys.path().join("tenant.keys"))?;
        let keyring = Keyring::open(&keys.path().join("keys.sqlite"), Arc::new(tenant_keys)).await?;
        Ok((SealedStore::new(inner.store(), keyring.clone()), keyring))
    }
}

impl<F: Fixture> Fixture for SealedFixture<F> {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.sealed) as SharedStore
    }

    async fn reopen(&mut self) -> Result<()> {
        self.keyring.close().await;
        self.inner.reopen().await?;
        (self.sealed, self.keyring) = Self::seal(&self.inner, &self.keys).await?;
        Ok(())
    }
}

fn epoch(number: u128) -> Epoch {
    Epoch(Uuid::from_u128(number))
}

macro_rules! sqlite_behaviours {
    ($($name:ident)*) => {
        mod sqlite_behaves {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::store_conformance::$name(&mut super::SqliteFixture::new().await?).await
            })*
        }
    };
}
for_each_store_behaviour!(sqlite_behaviours);

macro_rules! memory_behaviours {
    ($($name:ident)*) => {
        mod memory_behaves {
            $(#[tokio::test(start_paused = true)]
            async fn $name() -> anyhow::Result<()> {
                super::store_conformance::$name(&mut super::MemoryFixture::new().await?).await
            })*
        }
    };
}
for_each_store_behaviour!(memory_behaviours);

macro_rules! sealed_behaviours {
    ($($name:ident)*) => {
        mod sealed_sqlite_behaves {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let inner = super::SqliteFixture::new().await?;
                super::store_conformance::$name(&mut super::SealedFixture::new(inner).await?).await
            })*
        }
        mod sealed_memory_behaves {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let inner = super::MemoryFixture::new().await?;
                super::store_conformance::$name(&mut super::SealedFixture::new(inner).await?).await
            })*
        }
    };
}
for_each_store_behaviour!(sealed_behaviours);

/// `FELDAKTE_STORE_SEED` repeats one seed.
#[tokio::test]
async fn all_stores_give_the_same_answers() -> Result<()> {
    let seeds = match std::env::var("FELDAKTE_STORE_SEED") {
        Ok(seed) => seed.parse()?..=seed.parse()?,
        Err(_) => 1..=25,
    };
    let memory = || MemoryFixture(MemoryStore::new(epoch(1), || Duration::ZERO));
    for seed in seeds {
        let repeat = || format!("repeat with FELDAKTE_STORE_SEED={seed}");
        give_the_same_answers(SqliteFixture::new().await?, memory(), seed).await.with_context(repeat)?;
        let sealed = SealedFixture::new(SqliteFixture::new().await?).await?;
        give_the_same_answers(sealed, memory(), seed).await.with_context(repeat)?;
    }
    Ok(())
}

async fn give_the_same_answers(mut one: impl Fixture, mut other: impl Fixture, seed: u64) -> Result<()> {
    for (number, operation) in operations(seed, 120).iter().enumerate() {
        compare(&*one.store(), &*other.store(), operation).await.with_context(|| format!("step {number}"))?;
        if matches!(operation, Operation::Reopen) {
            one.reopen().await?;
            other.reopen().await?;
        }
    }
    one.store().close().await;
    Ok(())
}

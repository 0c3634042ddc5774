//! The device's store: both implementations against one list of behaviours, against each other, and the encrypted
//! one against curious readers, crashes and full disks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{path::Path, sync::Arc, time::Duration};

use feldakte_client_sdk::{
    key::{DatabaseKey, KeyError, KeyProvider},
    store::{LocalStoreError, SharedLocalStore, sqlcipher::SqlCipherStore},
};
use feldakte_tests::{
    local_store_conformance::STORE,
    memory_local_store::{Durability, MemoryLocalStore},
};

mod child;
mod durability;
mod memory;
mod model;
mod opening;
mod secrecy;
mod size;
mod users;

/// A key that is the same each time.
struct FixedKey([u8; 32]);

impl KeyProvider for FixedKey {
    fn database_key(&self) -> Result<DatabaseKey, KeyError> {
        DatabaseKey::from_bytes(self.0.to_vec())
    }
}

/// Bytes that occur nowhere by accident.
const KEY: FixedKey = FixedKey(*b"\xf0\x1d\xcaf\xe5\x0fJ\x9a\x88Q\xd3\x02\xbb\x17\xeeZ;\xac\x99\x01\x7f\xc4\x6d\x2e\x93\xd8\x55\xb6\x0c\xfa\xe1\x72");

async fn open(directory: &Path) -> Result<Arc<SqlCipherStore>, LocalStoreError> {
    SqlCipherStore::open(&directory.join("case.db"), &KEY, STORE).await
}

macro_rules! on_memory {
    ($($behaviour:ident)*) => {
        mod on_memory {
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                async fn $behaviour() -> anyhow::Result<()> {
                    let store = MemoryLocalStore::new(STORE, Duration::from_millis(2), Durability::SyncsFirst);
                    feldakte_tests::local_store_conformance::$behaviour(store).await
                }
            )*
        }
    };
}

macro_rules! on_sqlcipher {
    ($($behaviour:ident)*) => {
        mod on_sqlcipher {
            use super::*;
            $(
                #[tokio::test]
                async fn $behaviour() -> anyhow::Result<()> {
                    let directory = tempfile::tempdir()?;
                    let store: SharedLocalStore = open(directory.path()).await?;
                    feldakte_tests::local_store_conformance::$behaviour(Arc::clone(&store)).await?;
                    store.close().await;
                    Ok(())
                }
            )*
        }
    };
}

feldakte_tests::for_each_local_store_behaviour!(on_memory);
feldakte_tests::for_each_local_store_behaviour!(on_sqlcipher);

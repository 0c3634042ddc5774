//! The keyring: the key of every case, wrapped, in a SQLite file of its own.
//!
//! It is kept apart from the log, so that a copy of the log is worth nothing without it. A case's key is on the disk before
//! anything is sealed under it. A key that is destroyed leaves nothing in the file or its write-ahead log; in older copies
//! of the file it can be opened until its tenant's key is rotated, which is therefore part of shredding.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use feldakte_core::ids::{CaseId, TenantId};
use sqlx::SqliteConnection;
use tokio::sync::RwLock;
use uuid::Uuid;

use self::cache::Cache;
use super::{
    StoreError,
    sealed::cipher::CaseCipher,
    sqlite::{
        connect::Purpose,
        migrate::Schema,
        side::{SideFile, Writing},
    },
};
use crate::keys::{CaseKey, KeyError, KeyId, SharedKeyEncryption, WrappedKey};

mod cache;
mod rotation;
mod shred;

pub use rotation::{Rotated, TenantSummary};
pub use shred::{Receipt, Shredded};

/// The keys of all cases.
pub struct Keyring {
    file: SideFile,
    id: Uuid,
    encryption: SharedKeyEncryption,
    cache: Mutex<Cache>,
    /// One rotation at a time.
    rotating: tokio::sync::Mutex<()>,
    /// Shared from wrapping a new key until it is in the file; alone may a tenant's old key be destroyed.
    wrapping: RwLock<()>,
}

/// What the keyring knows of a case.
#[derive(Debug, Clone)]
pub enum Held {
    /// Its key.
    Key(Arc<CaseCipher>),
    /// Its key was destroyed.
    Shredded,
}

impl Keyring {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When it is of a later release or not a keyring, or SQLite does not take a setting.
    pub async fn open(path: &Path, encryption: SharedKeyEncryption) -> Result<Arc<Self>, StoreError> {
        let file = SideFile::open(path, Purpose::Secret, SCHEMA).await?;
        let id = own_id(&file).await?;
        // What was deleted before a crash may stand in the write-ahead log still.
        file.empty_write_ahead_log().await?;
        let (cache, rotating, wrapping) = (Mutex::default(), tokio::sync::Mutex::default(), RwLock::default());
        Ok(Arc::new(Self { file, id, encryption, cache, rotating, wrapping }))
    }

    /// Whether the tenant keys are those that the case keys are wrapped with; names the first tenant whose key is missing.
    ///
    /// # Errors
    /// When the file cannot be read, or the tenant keys cannot be reached.
    pub async fn missing(&self) -> Result<Option<TenantId>, StoreError> {
        for TenantSummary { tenant, wrapped_by, .. } in self.summary(None).await? {
            let Some((case, wrapped)) = self.example(&tenant, &wrapped_by).await? else { continue };
            match self.encryption.unwrap(&tenant, case, &wrapped).await {
                Ok(_) => {}
                Err(KeyError::Gone) => return Ok(Some(tenant)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn example(&self, tenant: &TenantId, by: &KeyId) -> Result<Option<(CaseId, WrappedKey)>, StoreError> {
        let sql = "select id, wrapped from case_key where tenant = ? and wrapped_by = ? limit 1";
        let query = sqlx::query_as(sql).bind(tenant.as_str()).bind(&by.0);
        let row: Option<(Vec<u8>, Vec<u8>)> = query.fetch_optional(&mut *self.file.read().await?).await?;
        let Some((id, bytes)) = row else { return Ok(None) };
        let case = CaseId::from_slice(&id).map_err(|_| StoreError::Damaged("a case's key"))?;
        Ok(Some((case, WrappedKey { by: by.clone(), bytes })))
    }

    /// Writes a consistent copy of a keyring, which another process may have open, to a file that must not exist yet.
    ///
    /// # Errors
    /// [`DatabaseError::TargetExists`](super::sqlite::DatabaseError::TargetExists) and its like, or what SQLite says.
    pub async fn backup(source: &Path, target: &Path) -> Result<(), StoreError> {
        SideFile::backup(source, target, SCHEMA).await
    }

    /// Tells this keyring from all others: a log names the one it was sealed with.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What is known of a case; `None` when nothing of it was ever sealed here.
    ///
    /// # Errors
    /// When file or tenant key cannot be read.
    pub async fn held(&self, case: CaseId) -> Result<Option<Held>, StoreError> {
        if let Some(held) = self.cache().get(case) {
            return Ok(Some(held));
        }
        let found = find(&mut *self.file.read().await?, case).await?;
        let held = match found {
            None => return Ok(None),
            Some(Found::Shredded) => Held::Shredded,
            Some(Found::Key(tenant, wrapped)) => {
                let key = self.encryption.unwrap(&tenant, case, &wrapped).await?;
                Held::Key(Arc::new(CaseCipher::new(&key)?))
            }
        };
        Ok(Some(self.cache().put(case, held)))
    }

    /// The tenant of a case that has a key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn tenant_of(&self, case: CaseId) -> Result<Option<TenantId>, StoreError> {
        let found = find(&mut *self.file.read().await?, case).await?;
        Ok(found.and_then(|found| match found {
            Found::Key(tenant, _) => Some(tenant),
            Found::Shredded => None,
        }))
    }

    /// What is known of these cases; those that have no key get one, on the disk when this returns.
    ///
    /// # Errors
    /// None of the new keys is in use.
    pub async fn held_or_new(
        &self,
        cases: impl IntoIterator<Item = (CaseId, &TenantId)>,
    ) -> Result<BTreeMap<CaseId, Held>, StoreError> {
        let (mut all, mut missing) = (BTreeMap::new(), Vec::new());
        for (case, tenant) in cases {
            match self.held(case).await? {
                Some(held) => drop(all.insert(case, held)),
                None => missing.push((case, tenant)),
            }
        }
        if missing.is_empty() {
            return Ok(all);
        }
        let _wrapping = self.wrapping.read().await;
        let mut new = Vec::with_capacity(missing.len());
        for (case, tenant) in missing {
            let key = CaseKey::generate()?;
            let wrapped = self.encryption.wrap(tenant, case, &key).await?;
            new.push((case, tenant, wrapped, CaseCipher::new(&key)?));
        }
        let mut writing = self.file.begin().await?;
        let mut late = Vec::new();
        for (case, tenant, wrapped, _) in &new {
            if !insert(&mut writing, *case, tenant, wrapped).await? {
                late.push(*case);
            }
        }
        writing.commit().await?;
        for (case, _, _, cipher) in new.into_iter().filter(|(case, ..)| !late.contains(case)) {
            all.insert(case, self.cache().put(case, Held::Key(Arc::new(cipher))));
        }
        // Somebody else was faster: his key counts.
        for case in late {
            let held = self.held(case).await?.ok_or(StoreError::Damaged("a case's key"))?;
            all.insert(case, held);
        }
        Ok(all)
    }

    /// Lets go of the file. Nothing may be called afterwards.
    pub async fn close(&self) {
        self.file.close().await;
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unavailable(_) | KeyError::Elsewhere(_) => StoreError::Unavailable(error.into()),
            KeyError::Gone => StoreError::Damaged("a case's key: its tenant's key is missing"),
            KeyError::Damaged => StoreError::Damaged("a case's key"),
        }
    }
}

enum Found {
    Key(TenantId, WrappedKey),
    Shredded,
}

async fn find(connection: &mut SqliteConnection, case: CaseId) -> Result<Option<Found>, StoreError> {
    let sql = "select tenant, wrapped_by, wrapped from case_key where id = ?";
    let row: Option<(String, String, Vec<u8>)> =
        sqlx::query_as(sql).bind(&case.as_bytes()[..]).fetch_optional(&mut *connection).await?;
    if let Some((tenant, by, bytes)) = row {
        let tenant = tenant.parse().map_err(|_| StoreError::Damaged("a case's key"))?;
        return Ok(Some(Found::Key(tenant, WrappedKey { by: KeyId(by), bytes })));
    }
    let sql = "select exists (select 1 from shredded where id = ?)";
    let is_shredded: bool = sqlx::query_scalar(sql).bind(&case.as_bytes()[..]).fetch_one(connection).await?;
    Ok(is_shredded.then_some(Found::Shredded))
}

/// Whether the case had none, and was not shredded meanwhile.
async fn insert(
    writing: &mut Writing<'_>,
    case: CaseId,
    tenant: &TenantId,
    WrappedKey { by, bytes }: &WrappedKey,
) -> Result<bool, StoreError> {
    let sql = "insert or ignore into case_key (id, tenant, wrapped_by, wrapped)
        select ?1, ?2, ?3, ?4 where not exists (select 1 from shredded where id = ?1)";
    let query = sqlx::query(sql).bind(&case.as_bytes()[..]).bind(tenant.as_str()).bind(&by.0).bind(&bytes[..]);
    Ok(query.execute(writing.connection()).await?.rows_affected() == 1)
}

/// The file's own id; a new file gets one.
async fn own_id(file: &SideFile) -> Result<Uuid, StoreError> {
    let mut writing = file.begin().await?;
    let sql = "insert or ignore into meta (key, value) values ('id', randomblob(16))";
    sqlx::query(sql).execute(writing.connection()).await?;
    let sql = "select value from meta where key = 'id'";
    let id: Vec<u8> = sqlx::query_scalar(sql).fetch_one(writing.connection()).await?;
    writing.commit().await?;
    Uuid::from_slice(&id).map_err(|_| StoreError::Damaged("the keyring's id"))
}

/// "FELK": tells keyrings from the log and from other programs' files.
const SCHEMA: Schema = Schema { application_id: 0x4645_4c4b, migrations: &[include_str!("keyring/0001_keys.sql")] };

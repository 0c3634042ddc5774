//! What a gateway keeps on its disks, opened and checked against each other.

use std::{path::Path, sync::Arc};

use super::ServeError;
use crate::{
    audit::AuditKey,
    config::Config,
    environment::Environment,
    keys::{SharedKeyEncryption, TenantKeys},
    store::{
        SharedStore, StoreError,
        audit::sqlite::SqliteAuditStore,
        keyring::Keyring,
        matters::{SharedMatterStore, sqlite::SqliteMatterStore},
        registry::RegistryStore,
        sealed::{SealedMatters, SealedStore},
        sqlite::SqliteStore,
    },
};

/// All open files.
pub(super) struct Stores {
    pub store: SharedStore,
    pub matters: SharedMatterStore,
    pub keyring: Arc<Keyring>,
    pub registry: Arc<RegistryStore>,
    pub audit: Arc<SqliteAuditStore>,
    pub audit_key: Arc<AuditKey>,
}

impl Stores {
    pub async fn open(config: &Config, environment: &Environment) -> Result<Stores, ServeError> {
        let (store, keyring) = open_sealed(config, environment).await?;
        let registry = RegistryStore::open(&config.control.registry).await.map_err(of(&config.control.registry))?;
        let audit = SqliteAuditStore::open(&config.audit).await.map_err(of(&config.audit))?;
        let audit_key = Arc::new(AuditKey::load_or_create(&config.audit_key)?);
        let matters = SqliteMatterStore::open(&config.matters).await.map_err(of(&config.matters))?;
        let matters = SealedMatters::new(matters, keyring.clone());
        Ok(Stores { store, matters, keyring, registry, audit, audit_key })
    }
}

/// The log with its keyring. Each goes with the other only, and the keyring with its tenants' keys: what is found out now
/// would otherwise be found out when somebody needs a case.
async fn open_sealed(config: &Config, environment: &Environment) -> Result<(SharedStore, Arc<Keyring>), ServeError> {
    let log = SqliteStore::open(&config.store, environment.epoch()).await.map_err(of(&config.store))?;
    let keyring = Keyring::open(&config.keyring, encryption(config)?).await.map_err(of(&config.keyring))?;
    let store = SealedStore::pair(log, keyring.clone()).await.map_err(of(&config.store))?;
    if let Some(tenant) = keyring.missing().await.map_err(of(&config.keyring))? {
        return Err(ServeError::TenantKeyMissing { tenant });
    }
    Ok((store, keyring))
}

fn encryption(config: &Config) -> Result<SharedKeyEncryption, ServeError> {
    let keys = match std::env::var(TENANT_KEYS) {
        Ok(text) => TenantKeys::from_environment(TENANT_KEYS, &zeroize::Zeroizing::new(text))?,
        Err(_) => TenantKeys::in_file(&config.tenant_keys)?,
    };
    Ok(Arc::new(keys))
}

fn of(path: &Path) -> impl FnOnce(StoreError) -> ServeError {
    |source| ServeError::Store { path: path.to_owned(), source }
}

/// Keys of tenants, for machines that hand secrets over in the environment.
const TENANT_KEYS: &str = "FELDAKTE_TENANT_KEYS";

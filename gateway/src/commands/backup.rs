//! `feldakte backup` and `feldakte restore`: the store, and what waits and the registry beside it.

use std::path::{Path, PathBuf};

use clap::Args;
use feldakte_gateway::{
    environment::Environment,
    store::{matters::sqlite::SqliteMatterStore, registry::RegistryStore, sqlite::SqliteStore},
};

/// Copy the store while the gateway runs.
///
/// Case content in it is sealed. The keyring that opens it is copied by `feldakte keys backup`, to another place.
#[derive(Args)]
pub struct Backup {
    /// The gateway's store.
    #[arg(long, default_value = "feldakte.sqlite", value_name = "FILE")]
    store: PathBuf,
    /// The gateway's registry; by default registry.sqlite next to the store, if it is there.
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
    /// Where the copy goes; must not exist. The registry goes beside it, as NAME.registry.sqlite.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Make a store from a backup, with a new epoch: devices push back what the backup lacks.
///
/// It goes with the keyring that it was sealed with, or with a later copy of it.
#[derive(Args)]
pub struct Restore {
    /// The backup; its registry is looked for beside it.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The registry to be made, when the backup has one; by default registry.sqlite next to the store. Must not exist.
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
    /// The store to be made; must not exist.
    #[arg(long, default_value = "feldakte.sqlite", value_name = "FILE")]
    store: PathBuf,
}

impl Backup {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        SqliteStore::backup(&self.store, &self.to).await?;
        println!("backup    {}", self.to.display());
        let matters = self.store.with_file_name(MATTERS);
        if matters.exists() {
            let to = beside(&self.to, MATTERS);
            SqliteMatterStore::backup(&matters, &to).await?;
            println!("matters   {}", to.display());
        }
        let registry = self.registry.clone().unwrap_or_else(|| self.store.with_file_name(REGISTRY));
        if self.registry.is_some() || registry.exists() {
            let to = beside(&self.to, REGISTRY);
            RegistryStore::backup(&registry, &to).await?;
            println!("registry  {}", to.display());
        }
        Ok(())
    }
}

impl Restore {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let epoch = Environment::system().epoch();
        SqliteStore::restore(&self.from, &self.store, epoch).await?;
        println!("store     {}", self.store.display());
        println!("epoch     {epoch}");
        let from = beside(&self.from, MATTERS);
        if from.exists() {
            let matters = self.store.with_file_name(MATTERS);
            SqliteMatterStore::backup(&from, &matters).await?;
            println!("matters   {}", matters.display());
        }
        let from = beside(&self.from, REGISTRY);
        if from.exists() {
            let registry = self.registry.clone().unwrap_or_else(|| self.store.with_file_name(REGISTRY));
            RegistryStore::backup(&from, &registry).await?;
            println!("registry  {}", registry.display());
            println!(
                "Devices that were revoked after the backup are taken again: put them onto the deny list, or revoke them."
            );
        }
        Ok(())
    }
}

/// Where a copy stands that belongs to a copy of the store.
fn beside(copy: &Path, name: &str) -> PathBuf {
    copy.with_extension(name)
}

const REGISTRY: &str = "registry.sqlite";
const MATTERS: &str = "matters.sqlite";

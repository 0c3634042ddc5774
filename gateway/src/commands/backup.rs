//! `feldakte backup` and `feldakte restore`.

use std::path::PathBuf;

use clap::Args;
use feldakte_gateway::{environment::Environment, store::sqlite::SqliteStore};

/// Copy the store while the gateway runs.
#[derive(Args)]
pub struct Backup {
    /// The gateway's store.
    #[arg(long, default_value = "feldakte.sqlite", value_name = "FILE")]
    store: PathBuf,
    /// Where the copy goes; must not exist.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Make a store from a backup.
#[derive(Args)]
pub struct Restore {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The store to be made; must not exist.
    #[arg(long, default_value = "feldakte.sqlite", value_name = "FILE")]
    store: PathBuf,
}

impl Backup {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        SqliteStore::backup(&self.store, &self.to).await?;
        println!("backup  {}", self.to.display());
        Ok(())
    }
}

impl Restore {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let epoch = Environment::system().epoch();
        SqliteStore::restore(&self.from, &self.store, epoch).await?;
        println!("store   {}", self.store.display());
        println!("epoch   {epoch}");
        Ok(())
    }
}

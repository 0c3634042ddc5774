//! `feldakte keys`: the keys that wrap the keys of cases.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use feldakte_core::ids::TenantId;
use feldakte_gateway::{
    control::keys::{KeyEntry, Rotate, RotatedKey},
    store::keyring::Keyring,
};

use super::control::{Connect, scoped, table};

/// The keys that wrap the keys of cases.
///
/// All but `backup` are to be run by an operator with the role `operator`: the token is taken from FELDAKTE_OPERATOR_TOKEN or
/// --token-file.
#[derive(Args)]
pub struct Keys {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Which tenant key wraps how many case keys. Ids say nothing about keys.
    List {
        /// Of one tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Renew the key of a tenant, wrap its case keys again and destroy the old one.
    ///
    /// No content is written anew. Copies of the keyring that are older open nothing of the tenant any more: back it up again,
    /// and destroy the copies of the old key that you keep.
    Rotate {
        /// Whose.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Copy the keyring while the gateway runs.
    ///
    /// The copy is worth nothing without the tenants' keys, and a copy of the store is worth nothing without both: keep the
    /// three apart from each other.
    Backup {
        /// The gateway's keyring ([keys] path in its configuration).
        #[arg(long, default_value = "keys.sqlite", value_name = "FILE")]
        keyring: PathBuf,
        /// Where the copy goes; must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

impl Keys {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { connect, act } = self;
        match act {
            Act::List { tenant } => {
                let keys: Vec<KeyEntry> = connect.client()?.get(&scoped("/keys", tenant.as_ref())).await?;
                let row = |key: &KeyEntry| [key.tenant.to_string(), key.key.clone(), key.cases.to_string()];
                connect.print(&keys, |keys| table(["TENANT", "KEY", "CASES"], keys.iter().map(row)))
            }
            Act::Rotate { tenant } => {
                let rotated: RotatedKey = connect.client()?.post("/keys/rotate", &Rotate { tenant }).await?;
                connect.print(&rotated, |RotatedKey { key, rewrapped }| {
                    format!("key        {key}\nrewrapped  {rewrapped}\nBack up keyring and key anew; destroy copies of the old key.")
                })
            }
            Act::Backup { keyring, to } => {
                Keyring::backup(&keyring, &to).await?;
                println!("keyring  {}", to.display());
                Ok(())
            }
        }
    }
}

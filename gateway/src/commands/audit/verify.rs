//! `feldakte audit verify`: reads every row once, in bounded memory, and says which is the first bad one.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use feldakte_certs::signing::{SigningKey, VerifyingKey};
use feldakte_core::{audit::Chain, hex::hex, ids::TenantId};
use feldakte_gateway::{
    audit::check::{CheckError, Checked, check},
    store::audit::sqlite::reader::AuditReader,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Prove that no row was changed, removed, inserted or reordered; name the first bad one.
///
/// Ends with 0 only when every chain is whole. Rows after the last signed checkpoint, and the checkpoints with them, can
/// be cut off without a trace in the file: compare `head` with one that was written down elsewhere (the gateway logs
/// each checkpoint), or give it with --head.
#[derive(Args)]
pub struct Verify {
    /// The audit log, or a copy of it.
    #[arg(long, default_value = "audit.sqlite", value_name = "FILE")]
    path: PathBuf,
    /// The public key, as `feldakte audit key` prints it. Without it, the key file next to the log is taken.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// One tenant's chain alone.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// A hash that was written down: the chain must still hold the row that had it.
    #[arg(long, value_name = "HEX", requires = "tenant")]
    head: Option<String>,
}

impl Verify {
    /// Does it.
    pub async fn run(self, json: bool) -> anyhow::Result<()> {
        let key = self.key()?;
        let open = AuditReader::open(&self.path).await;
        let mut reader = open.with_context(|| format!("cannot read {}", self.path.display()))?;
        let mut chains = reader.chains().await?;
        if let Some(tenant) = &self.tenant {
            chains.retain(|chain| *chain == Chain::Tenant(tenant.clone()));
            if chains.is_empty() {
                bail!("there is no chain of {tenant} in {}", self.path.display());
            }
        }
        let bar = progress(&mut reader, &chains).await?;
        let mut bad = 0;
        for chain in &chains {
            let outcome = check(&mut reader, chain, &key, self.head.as_deref(), |rows| bar.inc(rows)).await;
            bad += usize::from(outcome.is_err());
            bar.suspend(|| print(chain, &outcome, json));
        }
        bar.finish_and_clear();
        if bad > 0 {
            bail!("{bad} of {} chains are not whole", chains.len());
        }
        Ok(())
    }

    fn key(&self) -> anyhow::Result<VerifyingKey> {
        if let Some(path) = &self.public_key {
            let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            return VerifyingKey::from_pem(&pem).with_context(|| format!("{} cannot be used", path.display()));
        }
        let path = self.path.with_file_name("audit.key");
        let pem = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; give the public key with --public-key", path.display()))?;
        Ok(SigningKey::from_pem(&pem).with_context(|| format!("{} cannot be used", path.display()))?.verifying_key())
    }
}

/// Seen on a terminal only.
async fn progress(reader: &mut AuditReader, chains: &[Chain]) -> anyhow::Result<ProgressBar> {
    let mut rows = 0;
    for chain in chains {
        rows += reader.head(chain).await?.seq;
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows  {per_sec}  {eta}").expect("a valid template");
    Ok(ProgressBar::new(rows).with_style(style))
}

fn print(chain: &Chain, outcome: &Result<Checked, CheckError>, json: bool) {
    match (outcome, json) {
        (Ok(Checked { rows, signed_up_to, head }), false) => {
            println!("{chain}  whole  {rows} rows, signed up to {signed_up_to}  head {}", hex(head));
        }
        (Err(error), false) => println!("{chain}  BAD  {error}"),
        (Ok(Checked { rows, signed_up_to, head }), true) => {
            let (chain, head) = (chain.name(), hex(head));
            let line = json!({ "tenant": chain, "whole": true, "rows": rows, "signed": signed_up_to, "head": head });
            println!("{line}");
        }
        (Err(error), true) => {
            let first_bad_row = match error {
                CheckError::Fault(fault) => Some(fault.first_bad_row()),
                CheckError::HeadGone | CheckError::Store(_) => None,
            };
            let (chain, error) = (chain.name(), error.to_string());
            println!("{}", json!({ "tenant": chain, "whole": false, "first_bad_row": first_bad_row, "error": error }));
        }
    }
}

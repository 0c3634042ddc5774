//! `feldakte audit`: who did what to which record, and the proof that nobody has changed the answer.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use feldakte_gateway::audit::AuditKey;

use super::control::Connect;

mod show;
mod source;
mod verify;

/// Who did what to which record, and the proof that nobody has changed the answer.
///
/// `verify` needs no gateway: it reads the file or a copy of it. `show` and `export` ask the running gateway in the name
/// of an operator with the role `auditor`, which is recorded; with --path they read a file instead.
#[derive(Args)]
pub struct Audit {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    Verify(verify::Verify),
    Show(show::Show),
    Export(show::Export),
    /// Print the public half of the key that signs checkpoints: give it to whoever is to verify.
    Key {
        /// The key's file.
        #[arg(long, default_value = "audit.key", value_name = "FILE")]
        key: PathBuf,
    },
}

impl Audit {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.act {
            Act::Verify(verify) => verify.run(self.connect.json).await,
            Act::Show(show) => show.run(&self.connect).await,
            Act::Export(export) => export.run(&self.connect).await,
            Act::Key { key } => {
                print!("{}", AuditKey::load(&key)?.public_pem());
                Ok(())
            }
        }
    }
}

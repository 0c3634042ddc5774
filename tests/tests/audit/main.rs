//! The audit log: what stands in it, that nobody can change it unnoticed, and what happens while it cannot be written.
//!
//! `cargo test -p feldakte-tests --test audit --features feldakte-client-sdk/sqlcipher`

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

use std::path::Path;

use feldakte_certs::signing::{SigningKey, VerifyingKey};
use feldakte_core::audit::{Act, Chain, Record};
use feldakte_gateway::{
    audit::check::{CheckError, Checked, check},
    store::audit::sqlite::reader::AuditReader,
};
use feldakte_tests::harness::local::Site;

mod acts;
mod command_line;
mod failing;
mod killed;
mod store;
mod tampered;

/// The chain of the tenant that most devices here belong to.
fn dortmund() -> Chain {
    Chain::Tenant("dortmund".parse().unwrap())
}

/// The public half of the key that a site's gateways sign with.
fn public_key(site: &Site) -> VerifyingKey {
    let pem = std::fs::read_to_string(site.audit_path().with_file_name("audit.key")).unwrap();
    SigningKey::from_pem(&pem).unwrap().verifying_key()
}

async fn verify(path: &Path, chain: &Chain, key: &VerifyingKey) -> Result<Checked, CheckError> {
    let mut reader = AuditReader::open(path).await.unwrap();
    check(&mut reader, chain, key, None, |_| {}).await
}

/// All records of a chain in a file.
async fn records(path: &Path, chain: &Chain) -> Vec<Record> {
    let mut reader = AuditReader::open(path).await.unwrap();
    let rows = reader.rows(chain, 0, usize::MAX).await.unwrap();
    rows.iter().map(|row| Record::decode(&row.record).unwrap()).collect()
}

fn acts(records: &[Record]) -> Vec<Act> {
    records.iter().map(|record| record.act).collect()
}

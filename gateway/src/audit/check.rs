//! Proves the chains of an audit file, or of a copy of one, page by page.

use feldakte_certs::signing::VerifyingKey;
use feldakte_core::audit::{Chain, Fault, Verifier, Whole};

use crate::store::{StoreError, audit::sqlite::reader::AuditReader};

/// A chain that is not whole, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Somebody was at it.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks one chain from its first row to its last; tells `progress` how many rows of a page are done.
///
/// # Errors
/// The first fault, or that the file cannot be read.
pub async fn check(
    reader: &mut AuditReader,
    chain: &Chain,
    key: &VerifyingKey,
    mut progress: impl FnMut(u64),
) -> Result<Whole, CheckError> {
    let checkpoints = reader.checkpoints(chain).await?;
    let is_signed = |message: &[u8], signature: &[u8]| key.is_signed(message, signature);
    let mut verifier = Verifier::new(chain.clone(), checkpoints, &is_signed);
    loop {
        let rows = reader.rows(chain, verifier.whole().head.seq, PAGE_ROWS).await?;
        if rows.is_empty() {
            return Ok(verifier.finish()?);
        }
        rows.iter().try_for_each(|row| verifier.handle_row(row))?;
        progress(rows.len() as u64);
    }
}

/// About a megabyte.
const PAGE_ROWS: usize = 4096;

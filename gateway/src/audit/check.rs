//! Proves the chains of an audit file, or of a copy of one, page by page.

use feldakte_certs::signing::VerifyingKey;
use feldakte_core::{
    audit::{Chain, Fault, Verifier},
    hex::hex,
};

use crate::store::{StoreError, audit::sqlite::reader::AuditReader};

/// What was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// How many rows there are.
    pub rows: u64,
    /// The last one under a signature; 0 when there is none.
    pub signed_up_to: u64,
    /// The hash of the last one: worth writing down elsewhere.
    pub head: [u8; 32],
}

/// A chain that is not whole, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Somebody was at it.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The rest of the chain holds together, but a row that is known to have been there is not.
    #[error("no row has the hash that was written down: rows were cut off, or made anew")]
    HeadGone,
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks one chain from its first row to its last; `head` is the hash of a row that has to be there, in hexadecimal, and
/// `progress` hears how many rows of each page are done.
///
/// # Errors
/// The first fault, or that the file cannot be read.
pub async fn check(
    reader: &mut AuditReader,
    chain: &Chain,
    key: &VerifyingKey,
    head: Option<&str>,
    mut progress: impl FnMut(u64),
) -> Result<Checked, CheckError> {
    let checkpoints = reader.checkpoints(chain).await?;
    let is_signed = |message: &[u8], signature: &[u8]| key.is_signed(message, signature);
    let mut verifier = Verifier::new(chain.clone(), checkpoints, &is_signed);
    let mut is_head_found = head.is_none();
    loop {
        let rows = reader.rows(chain, verifier.whole().head.seq, PAGE_ROWS).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            verifier.handle_row(row)?;
            is_head_found |= head.is_some_and(|head| head.eq_ignore_ascii_case(&hex(&row.hash)));
        }
        progress(rows.len() as u64);
    }
    let whole = verifier.finish()?;
    match is_head_found {
        true => Ok(Checked { rows: whole.head.seq, signed_up_to: whole.signed_up_to, head: whole.head.hash }),
        false => Err(CheckError::HeadGone),
    }
}

/// About a megabyte.
const PAGE_ROWS: usize = 4096;

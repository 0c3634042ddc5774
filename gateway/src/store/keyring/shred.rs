//! Destroying the key of a case, and the receipt that stays.

use feldakte_core::{
    audit,
    ids::{CaseId, OperatorName, TenantId},
};

use super::Keyring;
use crate::store::StoreError;

/// What is left of a case whose key was destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which case.
    pub case: CaseId,
    /// Whose it was.
    pub tenant: TenantId,
    /// Who asked for it.
    pub requested_by: OperatorName,
    /// Who agreed.
    pub approved_by: OperatorName,
    /// Why.
    pub reason: audit::Reason,
    /// When, by the gateway's clock.
    pub at_ms: i64,
}

/// What became of an order to shred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shredded {
    /// The key is gone.
    Now,
    /// It was gone before.
    Before(Receipt),
    /// Nothing was ever sealed for such a case.
    Unknown,
}

impl Keyring {
    /// Destroys the key of a case and writes the receipt, in one commit; durable when it returns, and nobody opens the
    /// case's content any more. Older copies of the keyring can until [`Keyring::rotate`] has renewed the tenant's key.
    ///
    /// # Errors
    /// When the file cannot be written; the key may be gone after [`StoreError::Unknown`].
    pub async fn shred(&self, receipt: &Receipt) -> Result<Shredded, StoreError> {
        if let Some(before) = self.receipt(receipt.case).await? {
            return Ok(Shredded::Before(before));
        }
        let Receipt { case, tenant, requested_by, approved_by, reason, at_ms } = receipt;
        let mut writing = self.file.begin().await?;
        let sql = "delete from case_key where id = ? and tenant = ?";
        let query = sqlx::query(sql).bind(&case.as_bytes()[..]).bind(tenant.as_str());
        if query.execute(writing.connection()).await?.rows_affected() == 0 {
            writing.undo().await?;
            return Ok(Shredded::Unknown);
        }
        let sql = "insert into shredded (id, tenant, requested_by, approved_by, reason, at) values (?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(&case.as_bytes()[..]).bind(tenant.as_str()).bind(requested_by.as_str());
        let query = query.bind(approved_by.as_str()).bind(i64::from(*reason as u16)).bind(at_ms);
        query.execute(writing.connection()).await?;
        writing.commit().await?;
        self.cache().shred(*case);
        if !self.file.empty_write_ahead_log().await? {
            // A copy of the file is under way. The rotation that follows makes what it copies worthless.
            tracing::warn!(%case, "the keyring's write-ahead log is emptied later");
        }
        Ok(Shredded::Now)
    }

    /// The receipt of a case that was shredded.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn receipt(&self, case: CaseId) -> Result<Option<Receipt>, StoreError> {
        let sql = "select id, tenant, requested_by, approved_by, reason, at from shredded where id = ?";
        let query = sqlx::query_as(sql).bind(case.as_bytes().to_vec());
        let row: Option<Row> = query.fetch_optional(&mut *self.file.read().await?).await?;
        row.map(receipt_of).transpose()
    }

    /// All receipts, newest first; of one tenant or of all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn receipts(&self, tenant: Option<&TenantId>) -> Result<Vec<Receipt>, StoreError> {
        let sql = "select id, tenant, requested_by, approved_by, reason, at from shredded
            where ?1 is null or tenant = ?1 order by at desc, id";
        let query = sqlx::query_as(sql).bind(tenant.map(TenantId::as_str));
        let rows: Vec<Row> = query.fetch_all(&mut *self.file.read().await?).await?;
        rows.into_iter().map(receipt_of).collect()
    }
}

/// id, tenant, requested_by, approved_by, reason, at.
type Row = (Vec<u8>, String, String, String, i64, i64);

fn receipt_of((id, tenant, requested_by, approved_by, reason, at_ms): Row) -> Result<Receipt, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("a receipt");
    let reason = u16::try_from(reason).ok().and_then(audit::Reason::from_number).ok_or(DAMAGED)?;
    Ok(Receipt {
        case: CaseId::from_slice(&id).map_err(|_| DAMAGED)?,
        tenant: tenant.parse().map_err(|_| DAMAGED)?,
        requested_by: requested_by.parse().map_err(|_| DAMAGED)?,
        approved_by: approved_by.parse().map_err(|_| DAMAGED)?,
        reason,
        at_ms,
    })
}

//! A new key for a tenant: every case key is wrapped again, no content is touched.

use feldakte_core::ids::{CaseId, TenantId};

use super::Keyring;
use crate::{
    keys::{KeyId, WrappedKey},
    store::StoreError,
};

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Under which key everything is wrapped now.
    pub to: KeyId,
    /// How many case keys were wrapped again.
    pub rewrapped: u64,
}

/// The keys of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSummary {
    /// Whose.
    pub tenant: TenantId,
    /// By which key.
    pub wrapped_by: KeyId,
    /// How many case keys.
    pub cases: u64,
}

impl Keyring {
    /// Makes a new key for the tenant, wraps all its case keys again and destroys the old one: copies of the keyring that are
    /// older than this open nothing of the tenant any more. After a crash in the middle it is done again from where it was.
    ///
    /// # Errors
    /// When the tenant's key cannot be renewed here, or the file cannot be written. Everything is readable all the same.
    pub async fn rotate(&self, tenant: &TenantId) -> Result<Rotated, StoreError> {
        let _one = self.rotating.lock().await;
        let to = self.encryption.renew(tenant).await?;
        let mut rewrapped = self.rewrap_all(tenant, &to).await?;
        // A case that began meanwhile may be wrapped by the old key still.
        let alone = self.wrapping.write().await;
        rewrapped += self.rewrap_all(tenant, &to).await?;
        self.encryption.retire_all_but(tenant, &to).await?;
        drop(alone);
        self.file.empty_write_ahead_log().await?;
        Ok(Rotated { to, rewrapped })
    }

    /// How many case keys are wrapped by which key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn summary(&self, tenant: Option<&TenantId>) -> Result<Vec<TenantSummary>, StoreError> {
        let sql = "select tenant, wrapped_by, count(*) from case_key where ?1 is null or tenant = ?1
            group by tenant, wrapped_by order by tenant, wrapped_by";
        let query = sqlx::query_as(sql).bind(tenant.map(TenantId::as_str));
        let rows: Vec<(String, String, i64)> = query.fetch_all(&mut *self.file.read().await?).await?;
        let summary = |(tenant, by, cases): (String, String, i64)| {
            let tenant = tenant.parse().map_err(|_| StoreError::Damaged("a case's key"))?;
            Ok(TenantSummary { tenant, wrapped_by: KeyId(by), cases: cases.cast_unsigned() })
        };
        rows.into_iter().map(summary).collect()
    }

    async fn rewrap_all(&self, tenant: &TenantId, to: &KeyId) -> Result<u64, StoreError> {
        let mut rewrapped = 0;
        loop {
            let page = self.wrapped_otherwise(tenant, to).await?;
            if page.is_empty() {
                return Ok(rewrapped);
            }
            rewrapped += self.rewrap(tenant, page).await?;
        }
    }

    async fn wrapped_otherwise(
        &self,
        tenant: &TenantId,
        than: &KeyId,
    ) -> Result<Vec<(CaseId, WrappedKey)>, StoreError> {
        let sql = "select id, wrapped_by, wrapped from case_key where tenant = ? and wrapped_by <> ? limit ?";
        let query = sqlx::query_as(sql).bind(tenant.as_str()).bind(&than.0).bind(PAGE);
        let rows: Vec<(Vec<u8>, String, Vec<u8>)> = query.fetch_all(&mut *self.file.read().await?).await?;
        let row = |(id, by, bytes): (Vec<u8>, String, Vec<u8>)| {
            let case = CaseId::from_slice(&id).map_err(|_| StoreError::Damaged("a case's key"))?;
            Ok((case, WrappedKey { by: KeyId(by), bytes }))
        };
        rows.into_iter().map(row).collect()
    }

    /// Wraps them again outside of the transaction: a device that keeps tenant keys may be slow.
    async fn rewrap(&self, tenant: &TenantId, page: Vec<(CaseId, WrappedKey)>) -> Result<u64, StoreError> {
        let mut renewed = Vec::with_capacity(page.len());
        for (case, wrapped) in page {
            let key = self.encryption.unwrap(tenant, case, &wrapped).await?;
            renewed.push((case, self.encryption.wrap(tenant, case, &key).await?));
        }
        let mut writing = self.file.begin().await?;
        let mut count = 0;
        for (case, WrappedKey { by, bytes }) in renewed {
            // A case that was shredded meanwhile has no row, and gets none.
            let sql = "update case_key set wrapped_by = ?, wrapped = ? where id = ?";
            let query = sqlx::query(sql).bind(by.0).bind(bytes).bind(&case.as_bytes()[..]);
            count += query.execute(writing.connection()).await?.rows_affected();
        }
        writing.commit().await?;
        Ok(count)
    }
}

/// Case keys wrapped in one commit: writers of new cases wait for no more than that.
const PAGE: i64 = 256;

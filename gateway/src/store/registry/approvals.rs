//! What one operator asks for and another has to approve: the two-person rule.
//!
//! An approval is by somebody else, in time, and once: whoever acts on it takes it by approving.

use feldakte_core::ids::{OperatorName, TenantId};
use sqlx::SqliteConnection;

use super::{RegistryStore, Writing};
use crate::store::{StoreError, sqlite::row::row};

/// An act that awaits a second operator, or has had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Counts up.
    pub id: i64,
    /// Whose affair it is.
    pub tenant: TenantId,
    /// Which act, such as `case_shred`.
    pub kind: String,
    /// On what: an id as text.
    pub subject: String,
    /// Who asked for it.
    pub requested_by: OperatorName,
    /// When.
    pub requested_at: i64,
    /// Until when it can be approved.
    pub expires_at: i64,
    /// Who approved it.
    pub approved_by: Option<OperatorName>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct NewApproval<'a> {
    /// Whose affair it is.
    pub tenant: &'a TenantId,
    /// Which act.
    pub kind: &'a str,
    /// On what.
    pub subject: &'a str,
    /// Who asks.
    pub by: &'a OperatorName,
    /// The gateway's clock by which authority ends.
    pub now_ms: i64,
    /// Until when a second operator may approve.
    pub expires_at: i64,
}

/// Something that was not approved, or could not be asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Somebody has asked for the same already, and it can still be approved.
    #[error("operator {by} has asked for this already; a different one has to approve")]
    Pending {
        /// Who.
        by: OperatorName,
    },
    /// Nobody has asked for it, or it was approved already, or too much time has passed.
    #[error("nothing of that kind awaits an approval: it was not asked for, is done, or has expired")]
    NotPending,
    /// One person alone may not.
    #[error("whoever asked for it cannot approve it: a different operator has to")]
    SameOperator,
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryStore {
    /// Asks for an act that needs two operators; durable when it returns.
    ///
    /// # Errors
    /// [`ApprovalError::Pending`] while an earlier request for the same can be approved.
    pub async fn request_approval(&self, new: NewApproval<'_>) -> Result<Approval, ApprovalError> {
        let NewApproval { tenant, kind, subject, by, now_ms, expires_at } = new;
        let mut writing = self.file.begin().await?;
        if let Some(pending) = pending(writing.connection(), kind, subject, now_ms).await? {
            return refuse(writing, ApprovalError::Pending { by: pending.requested_by }).await;
        }
        let sql = "insert into approval (tenant, kind, subject, requested_by, requested_at, expires_at)
            values (?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(kind).bind(subject).bind(by.as_str());
        let inserted = query.bind(now_ms).bind(expires_at).execute(writing.connection()).await;
        let id = inserted.map_err(StoreError::from)?.last_insert_rowid();
        writing.commit().await?;
        let (tenant, requested_by) = (tenant.clone(), by.clone());
        let (kind, subject) = (kind.to_owned(), subject.to_owned());
        Ok(Approval { id, tenant, kind, subject, requested_by, requested_at: now_ms, expires_at, approved_by: None })
    }

    /// Approves what another operator asked for; durable, and used up, when it returns.
    ///
    /// # Errors
    /// When nothing awaits it, or the same operator asked.
    pub async fn approve(
        &self,
        kind: &str,
        subject: &str,
        by: &OperatorName,
        now_ms: i64,
    ) -> Result<Approval, ApprovalError> {
        let mut writing = self.file.begin().await?;
        let Some(found) = pending(writing.connection(), kind, subject, now_ms).await? else {
            return refuse(writing, ApprovalError::NotPending).await;
        };
        if found.requested_by == *by {
            return refuse(writing, ApprovalError::SameOperator).await;
        }
        let sql = "update approval set approved_by = ?, approved_at = ? where id = ?";
        let query = sqlx::query(sql).bind(by.as_str()).bind(now_ms).bind(found.id);
        query.execute(writing.connection()).await.map_err(StoreError::from)?;
        writing.commit().await?;
        Ok(Approval { approved_by: Some(by.clone()), ..found })
    }

    /// What awaits a second operator, oldest first; of one tenant or of all.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn pending_approvals(&self, tenant: Option<&TenantId>, now_ms: i64) -> Result<Vec<Approval>, StoreError> {
        let sql = "select * from approval where approved_at is null and expires_at > ?1
            and (?2 is null or tenant = ?2) order by id";
        let mut connection = self.file.read().await?;
        let rows: Vec<ApprovalRow> =
            sqlx::query_as(sql).bind(now_ms).bind(tenant.map(TenantId::as_str)).fetch_all(&mut *connection).await?;
        rows.into_iter().map(ApprovalRow::approval).collect()
    }
}

async fn refuse<T>(writing: Writing<'_>, error: ApprovalError) -> Result<T, ApprovalError> {
    writing.undo().await?;
    Err(error)
}

async fn pending(
    connection: &mut SqliteConnection,
    kind: &str,
    subject: &str,
    now_ms: i64,
) -> Result<Option<Approval>, StoreError> {
    let sql = "select * from approval where kind = ? and subject = ? and approved_at is null and expires_at > ?";
    let query = sqlx::query_as(sql).bind(kind).bind(subject).bind(now_ms);
    let row: Option<ApprovalRow> = query.fetch_optional(connection).await?;
    row.map(ApprovalRow::approval).transpose()
}

row! {
    struct ApprovalRow {
        id: i64,
        tenant: String,
        kind: String,
        subject: String,
        requested_by: String,
        requested_at: i64,
        expires_at: i64,
        approved_by: Option<String>,
    }
}

impl ApprovalRow {
    fn approval(self) -> Result<Approval, StoreError> {
        let Self { id, tenant, kind, subject, requested_by, requested_at, expires_at, approved_by } = self;
        let damaged = |_| StoreError::Damaged("an approval");
        Ok(Approval {
            id,
            tenant: tenant.parse().map_err(damaged)?,
            kind,
            subject,
            requested_by: requested_by.parse().map_err(damaged)?,
            requested_at,
            expires_at,
            approved_by: approved_by.map(|name| name.parse()).transpose().map_err(damaged)?,
        })
    }
}

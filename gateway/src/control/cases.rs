//! `/cases/ID/shred`: a case is destroyed, which takes two operators.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use feldakte_core::{
    audit::{About, Act, Actor, Chain, Reason, Record},
    ids::{CaseId, DocumentId, OperatorName, Part, TenantId},
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{Control, ControlError, devices::Scope, operator::Authorised, text, to_the_end};
use crate::store::{
    StoreError,
    keyring::{Receipt, Shredded},
    registry::{Approval, NewApproval, OperatorRole},
};

/// A case that is to be made unreadable for ever.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Shred {
    /// Why: the same for both operators.
    #[serde(with = "text")]
    pub reason: Reason,
    /// Whether this agrees to what another operator has asked for.
    pub approve: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShredOutcome {
    /// A second operator has to approve, until then.
    Requested {
        /// Milliseconds since 1970 by the gateway's clock.
        until_ms: i64,
    },
    /// The case is gone.
    Shredded {
        /// What is left of it.
        receipt: ReceiptEntry,
        /// Why the tenant's key was not renewed: until it is, old copies of the keyring open the case.
        not_rotated: Option<String>,
    },
}

/// What is left of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEntry {
    /// Which.
    #[serde(with = "text")]
    pub case: CaseId,
    /// Whose it was.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// Who asked for it.
    #[serde(with = "text")]
    pub requested_by: OperatorName,
    /// Who agreed.
    #[serde(with = "text")]
    pub approved_by: OperatorName,
    /// Why.
    #[serde(with = "text")]
    pub reason: Reason,
    /// When.
    pub at_ms: i64,
}

/// A case that one operator wants shredded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingShred {
    /// Which case.
    pub case: String,
    /// Whose.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// Who asked.
    #[serde(with = "text")]
    pub requested_by: OperatorName,
    /// Why.
    pub reason: String,
    /// Until when it can be approved.
    pub until_ms: i64,
}

/// Cases that are gone, and those that await a second operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shreds {
    /// Oldest first.
    pub pending: Vec<PendingShred>,
    /// Newest first.
    pub receipts: Vec<ReceiptEntry>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/cases/shreds", get(shreds)).route("/cases/{id}/shred", post(shred))
}

async fn shreds(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Query(scope): Query<Scope>,
) -> Result<Json<Shreds>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let tenant = operator.scope(scope.tenant.as_ref())?;
    let pending = control.registry.pending_approvals(tenant, control.environment().latest_ms()).await?;
    let receipts = control.keyring.receipts(tenant).await?;
    Ok(Json(Shreds {
        pending: pending.into_iter().filter_map(PendingShred::of).collect(),
        receipts: receipts.into_iter().map(ReceiptEntry::from).collect(),
    }))
}

async fn shred(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
    Json(Shred { reason, approve }): Json<Shred>,
) -> Result<Json<ShredOutcome>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    if !REASONS.contains(&reason) {
        let names: Vec<&str> = REASONS.iter().map(|reason| reason.name()).collect();
        return Err(ControlError::Invalid(format!("a case is shredded for one of: {}", names.join(", "))));
    }
    let (case, tenant) = find(&control, &operator, &id).await?;
    let by = operator.name().clone();
    let order = Order { control, case, tenant, reason };
    let outcome = match approve {
        false => order.request(by).await,
        true => to_the_end(async move { order.approve(by).await }).await,
    };
    outcome.map(Json)
}

/// A case of another tenant is none to an operator who is bound to his.
pub(super) async fn find(
    control: &Control,
    operator: &Authorised,
    id: &str,
) -> Result<(CaseId, TenantId), ControlError> {
    let missing = || ControlError::NotFound("case");
    let case: CaseId = id.parse().map_err(|_| missing())?;
    let is_his = |tenant: &TenantId| operator.tenant().is_none_or(|own| own == tenant);
    if let Some(Receipt { tenant, requested_by, approved_by, .. }) = control.keyring.receipt(case).await?
        && is_his(&tenant)
    {
        let message = format!("the case was shredded before, by {requested_by} and {approved_by}");
        return Err(ControlError::Conflict(message));
    }
    let tenant = control.keyring.tenant_of(case).await?.filter(is_his).ok_or_else(missing)?;
    Ok((case, tenant))
}

/// One case on its way out.
struct Order {
    control: Arc<Control>,
    case: CaseId,
    tenant: TenantId,
    reason: Reason,
}

impl Order {
    async fn request(&self, by: OperatorName) -> Result<ShredOutcome, ControlError> {
        let now_ms = self.control.environment().latest_ms();
        let (kind, subject) = (self.kind(), self.case.to_string());
        let expires_at = now_ms + APPROVE_WITHIN_MS;
        let new = NewApproval { tenant: &self.tenant, kind: &kind, subject: &subject, by: &by, now_ms, expires_at };
        let Approval { expires_at, .. } = self.control.registry.request_approval(new).await?;
        self.record(&by, Act::ShredRequested).await?;
        Ok(ShredOutcome::Requested { until_ms: expires_at })
    }

    /// Who holds the case loses it first; then its key is destroyed, and then the tenant's old key, so that copies of the
    /// keyring that still have it cannot open it.
    async fn approve(&self, by: OperatorName) -> Result<ShredOutcome, ControlError> {
        let Control { registry, keyring, shared, .. } = &*self.control;
        let (at_ms, latest_ms) = (shared.environment.now_ms(), shared.environment.latest_ms());
        let approval = registry.approve(&self.kind(), &self.case.to_string(), &by, latest_ms).await?;
        self.record(&by, Act::ShredApproved).await?;
        shared.end_case(self.case).await?;
        let (case, tenant, reason) = (self.case, self.tenant.clone(), self.reason);
        let receipt = Receipt { case, tenant, requested_by: approval.requested_by, approved_by: by, reason, at_ms };
        let receipt = match keyring.shred(&receipt).await? {
            Shredded::Now => receipt,
            Shredded::Before(receipt) => receipt,
            Shredded::Unknown => return Err(ControlError::NotFound("case")),
        };
        Part::ALL.into_iter().for_each(|part| shared.ledgers.forget(DocumentId { case, part }));
        shared.audit.record_or_note(self.act(&receipt.approved_by, Act::Shredded)).await;
        info!(%case, "shredded");
        let not_rotated = self.rotate(&receipt.approved_by).await;
        Ok(ShredOutcome::Shredded { receipt: receipt.into(), not_rotated })
    }

    /// Why it was not done, if so: the case's key is gone in either case.
    async fn rotate(&self, by: &OperatorName) -> Option<String> {
        match self.control.rotate(&self.tenant, by).await {
            Ok(_) => None,
            Err(error) => {
                warn!(case = %self.case, %error, "old copies of the keyring still open the shredded case");
                Some(match error {
                    StoreError::Unavailable(why) => why.to_string(),
                    error => error.to_string(),
                })
            }
        }
    }

    async fn record(&self, by: &OperatorName, act: Act) -> Result<(), ControlError> {
        Ok(self.control.shared.audit.record(self.act(by, act)).await?)
    }

    fn act(&self, by: &OperatorName, act: Act) -> Record {
        let chain = Chain::Tenant(self.tenant.clone());
        Record::new(chain, Actor::Operator(by.clone()), act).about(About::case(self.case)).because(self.reason)
    }

    /// Both operators have to mean the same.
    fn kind(&self) -> String {
        format!("{KIND}{}", self.reason)
    }
}

impl PendingShred {
    /// `None` for an approval of something else.
    fn of(approval: Approval) -> Option<Self> {
        let Approval { tenant, kind, subject, requested_by, expires_at, .. } = approval;
        let reason = kind.strip_prefix(KIND)?.to_owned();
        Some(Self { case: subject, tenant, requested_by, reason, until_ms: expires_at })
    }
}

impl From<Receipt> for ReceiptEntry {
    fn from(receipt: Receipt) -> Self {
        let Receipt { case, tenant, requested_by, approved_by, reason, at_ms } = receipt;
        Self { case, tenant, requested_by, approved_by, reason, at_ms }
    }
}

/// Why cases are shredded; everything else is kept.
const REASONS: [Reason; 2] = [Reason::RetentionOver, Reason::PersonAsked];
const KIND: &str = "case_shred:";
/// A request that nobody has approved by the next working day is forgotten: three days cover a weekend.
const APPROVE_WITHIN_MS: i64 = 3 * 24 * 60 * 60 * 1000;

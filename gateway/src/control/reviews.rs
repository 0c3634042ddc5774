//! `/reviews`: what waits for a supervisor. Late work is taken into its case or left out; emergency access is found
//! justified, or not.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use feldakte_core::{
    access::Role,
    ids::{CaseId, DeviceId, OperatorName, TenantId, UnitId, UserId},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Control, ControlError, devices::Scope, evidence::EvidenceEntry, operator::Authorised, text, to_the_end};
use crate::{
    permit::ReviewPermit,
    store::{
        matters::{Decision, Matter, Review, Verdict},
        registry::OperatorRole,
    },
};

/// Something that waits, or was decided.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewEntry {
    /// Names it.
    #[serde(with = "text")]
    pub id: Uuid,
    /// `evidence` or `break_glass`.
    pub kind: String,
    /// In whose log.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// About which case.
    #[serde(with = "text")]
    pub case: CaseId,
    /// Of evidence: which document.
    pub part: Option<String>,
    /// Of evidence: how many changes.
    pub changes: Option<u32>,
    /// Of emergency access: why.
    pub reason: Option<String>,
    /// Of emergency access: until when; missing when it was without network.
    pub until_ms: Option<i64>,
    /// Whose device.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// Of which unit.
    #[serde(with = "text")]
    pub unit: UnitId,
    /// As what.
    #[serde(with = "text")]
    pub role: Role,
    /// Its user.
    #[serde(with = "text::optional", default)]
    pub user: Option<UserId>,
    /// When.
    pub at_ms: i64,
    /// What the user wrote; shown for one review alone.
    pub text: Option<String>,
    /// What late work does to its case; shown for one review alone, as long as the case was not shredded.
    #[serde(default)]
    pub evidence: Option<EvidenceEntry>,
    /// What came of it.
    pub decided: Option<DecidedEntry>,
}

feldakte_core::hide_content! { ReviewEntry { id, kind, case, device } }

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedEntry {
    /// `accepted` or `rejected`.
    pub verdict: String,
    /// By whom.
    #[serde(with = "text")]
    pub by: OperatorName,
    /// When.
    pub at_ms: i64,
}

/// Which way to decide.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Decide {
    /// Merged, or justified.
    pub accept: bool,
}

/// What a decision did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Changes that are in the log.
    pub taken: usize,
    /// Changes that cannot be taken as yet: what they stand on is missing. While there are any, the review waits on.
    pub refused: usize,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/reviews", get(list))
        .route("/reviews/{id}", get(show))
        .route("/reviews/{id}/decide", post(decide))
}

async fn list(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Query(scope): Query<Scope>,
) -> Result<Json<Vec<ReviewEntry>>, ControlError> {
    operator.require(OperatorRole::Supervisor)?;
    let tenant = operator.scope(scope.tenant.as_ref())?;
    let waiting = control.shared.matters.waiting(tenant, LIST_MAX).await?;
    Ok(Json(waiting.iter().map(|review| ReviewEntry { text: None, ..ReviewEntry::of(review) }).collect()))
}

async fn show(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<ReviewEntry>, ControlError> {
    let review = find(&control, &operator, &id).await?;
    let permit = ReviewPermit::record(&control.shared.audit, operator.name(), review).await?;
    let evidence = control.shared.preview(&permit).await?.map(EvidenceEntry::from);
    Ok(Json(ReviewEntry { evidence, ..ReviewEntry::of(permit.review()) }))
}

async fn decide(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
    Json(Decide { accept }): Json<Decide>,
) -> Result<Json<Decided>, ControlError> {
    let review = find(&control, &operator, &id).await?;
    let verdict = if accept { Verdict::Accepted } else { Verdict::Rejected };
    let by = operator.name().clone();
    let decide = async move { Ok(control.shared.decide(review.id, verdict, &by).await?) };
    let merged = to_the_end(decide).await?;
    Ok(Json(Decided { taken: merged.taken, refused: merged.refused }))
}

/// A review of another tenant is none to an operator who is bound to his.
async fn find(control: &Control, operator: &Authorised, id: &str) -> Result<Review, ControlError> {
    operator.require(OperatorRole::Supervisor)?;
    let missing = || ControlError::NotFound("review");
    let id: Uuid = id.parse().map_err(|_| missing())?;
    let review = control.shared.matters.review(id).await?.ok_or_else(missing)?;
    let is_his = operator.tenant().is_none_or(|own| *own == review.log);
    is_his.then_some(review).ok_or_else(missing)
}

impl ReviewEntry {
    fn of(review: &Review) -> Self {
        let Review { id, log, who, at_ms, matter, content, decision } = review;
        let text = || content.as_ref().map(|content| String::from_utf8_lossy(content).into_owned());
        let (kind, part, changes, reason, until_ms, text) = match matter {
            Matter::Evidence { document, changes } => {
                ("evidence", Some(document.part.name().to_owned()), Some(*changes), None, None, None)
            }
            Matter::BreakGlass { case: _, reason, until_ms } => {
                ("break_glass", None, None, Some(reason.name().to_owned()), *until_ms, text())
            }
        };
        Self {
            id: *id,
            kind: kind.to_owned(),
            tenant: log.clone(),
            case: matter.case(),
            part,
            changes,
            reason,
            until_ms,
            device: who.device,
            unit: who.unit.clone(),
            role: who.role,
            user: who.user,
            at_ms: *at_ms,
            text,
            evidence: None,
            decided: decision.as_ref().map(DecidedEntry::of),
        }
    }
}

impl DecidedEntry {
    fn of(Decision { verdict, by, at_ms }: &Decision) -> Self {
        let verdict = match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Rejected => "rejected",
        };
        Self { verdict: verdict.to_owned(), by: by.clone(), at_ms: *at_ms }
    }
}

/// What is listed at once: when these are decided, the next ones come.
const LIST_MAX: usize = 1000;

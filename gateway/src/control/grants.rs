//! `/cases/ID/close` and `/cases/ID/grant`: who has a case, and that it is over.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::post,
};
use feldakte_core::{
    access::{Access, Grant, Subject},
    audit::{About, Act, Actor, Chain, Record},
    ids::{CaseId, DeviceId, DocumentId, IdError, TenantId, UnitId},
};
use serde::{Deserialize, Serialize};

use super::{Control, ControlError, audit::PartName, cases::find, operator::Authorised, text, to_the_end};
use crate::{gateway::AuthorityError, store::registry::OperatorRole};

/// Access to a case that is to begin or end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantOrder {
    /// For a unit; with `guest_of` one of another tenant.
    #[serde(with = "text::optional", default)]
    pub unit: Option<UnitId>,
    /// For one device.
    #[serde(with = "text::optional", default)]
    pub device: Option<DeviceId>,
    /// Another tenant, with which the case is shared.
    #[serde(with = "text::optional", default)]
    pub guest_of: Option<TenantId>,
    /// To which parts.
    pub parts: Vec<PartName>,
    /// What begins; missing when it ends.
    #[serde(with = "text::optional", default)]
    pub access: Option<AccessName>,
    /// Until when, by the gateway's clock.
    pub until_ms: Option<i64>,
}

/// `read` or `write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessName(pub Access);

/// How many documents of a case an act has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// So many.
    pub documents: usize,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/cases/{id}/close", post(close)).route("/cases/{id}/grant", post(grant))
}

async fn close(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<Changed>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let (case, tenant) = find(&control, &operator, &id).await?;
    let who = Actor::Operator(operator.name().clone());
    let closing = async move {
        let record = Record::new(Chain::Tenant(tenant), who, Act::CaseClosed).about(About::case(case));
        control.shared.audit.record(record).await?;
        Ok(control.shared.close_case(case).await?)
    };
    Ok(Json(Changed { documents: to_the_end(closing).await? }))
}

async fn grant(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
    Json(order): Json<GrantOrder>,
) -> Result<Json<Changed>, ControlError> {
    operator.require(OperatorRole::Supervisor)?;
    let (case, _) = find(&control, &operator, &id).await?;
    let who = Actor::Operator(operator.name().clone());
    let granting = async move { order.carry_out(&control, who, case).await };
    Ok(Json(Changed { documents: to_the_end(granting).await? }))
}

impl GrantOrder {
    async fn carry_out(self, control: &Control, who: Actor, case: CaseId) -> Result<usize, ControlError> {
        let Self { unit, device, guest_of, parts, access, until_ms } = self;
        let subject = match (unit, device, guest_of) {
            (Some(unit), None, None) => Subject::Unit(unit),
            (None, Some(device), None) => Subject::Device(device),
            (Some(unit), None, Some(tenant)) => Subject::Guest { tenant, unit },
            _ => {
                return Err(ControlError::Invalid(
                    "a grant is for a unit, a device, or a unit of another tenant".into(),
                ));
            }
        };
        let is_over = until_ms.is_some_and(|until_ms| until_ms <= control.environment().latest_ms());
        if parts.is_empty() || is_over {
            return Err(ControlError::Invalid("a grant needs a part of the case, and an end that is to come".into()));
        }
        let (shared, mut documents) = (&control.shared, 0);
        for PartName(part) in parts {
            let document = DocumentId { case, part };
            let granted = match access {
                Some(AccessName(access)) => {
                    let grant = Grant { until: until_ms, ..Grant::new(subject.clone(), access) };
                    shared.grant(who.clone(), document, vec![grant]).await
                }
                None => shared.revoke(who.clone(), document, vec![subject.clone()]).await,
            };
            match granted {
                Ok(_) => documents += 1,
                Err(AuthorityError::UnknownDocument) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match documents {
            0 => Err(ControlError::NotFound("document of the case")),
            documents => Ok(documents),
        }
    }
}

impl fmt::Display for AccessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}

impl FromStr for AccessName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "read" => Ok(Self(Access::Read)),
            "write" => Ok(Self(Access::Write)),
            _ => Err(IdError { what: "access", why: "must be read or write" }),
        }
    }
}

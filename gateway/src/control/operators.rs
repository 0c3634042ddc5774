//! `/operators`: who may use the control plane. Named by the user the gateway runs as, not by operators.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{delete, get},
};
use feldakte_core::{
    audit::Act,
    ids::{OperatorName, TenantId},
};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{
    Control, ControlError,
    operator::{Owner, Token},
    text,
};
use crate::{
    enrolment::events,
    store::registry::{Operator, OperatorRole, operators::AddOperatorError},
};

/// An operator to be added, or as he is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEntry {
    /// What the audit log calls him.
    #[serde(with = "text")]
    pub name: OperatorName,
    /// What he may do.
    pub roles: Vec<RoleName>,
    /// Whose affairs he may touch; everybody's when missing.
    #[serde(with = "text::optional", default)]
    pub tenant: Option<TenantId>,
}

/// A role by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleName(#[serde(with = "text")] pub OperatorRole);

/// An operator that was added.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Serialize, Deserialize)]
pub struct AddedOperator {
    /// Who.
    #[serde(with = "text")]
    pub name: OperatorName,
    /// What he proves himself with. It is shown this once.
    pub token: String,
}

feldakte_core::hide_content! { AddedOperator { name } }

/// What became of a removal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemovedOperator {
    /// Who.
    #[serde(with = "text")]
    pub name: OperatorName,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/operators", get(list).post(add)).route("/operators/{name}", delete(remove))
}

async fn list(_: Owner, State(control): State<Arc<Control>>) -> Result<Json<Vec<OperatorEntry>>, ControlError> {
    let operators = control.registry.operators().await?;
    Ok(Json(operators.into_iter().map(OperatorEntry::from).collect()))
}

async fn add(
    _: Owner,
    State(control): State<Arc<Control>>,
    Json(entry): Json<OperatorEntry>,
) -> Result<Json<AddedOperator>, ControlError> {
    let OperatorEntry { name, roles, tenant } = entry;
    if roles.is_empty() {
        return Err(ControlError::Invalid("an operator needs at least one role".into()));
    }
    let roles = roles.into_iter().map(|RoleName(role)| role).collect();
    let token = Token::new(control.environment().random());
    let operator = Operator { name, roles, tenant };
    let now_ms = control.environment().now_ms();
    // Nobody is let in unrecorded.
    let record = events::operator_changed(Act::OperatorAdded, &operator.name, operator.tenant.as_ref());
    control.shared.audit.record(record).await?;
    match control.registry.add_operator(&operator, token.hash(), now_ms).await {
        Ok(()) => {}
        Err(AddOperatorError::Exists) => return Err(exists(&operator.name)),
        Err(AddOperatorError::Store(error)) => return Err(error.into()),
    }
    info!(operator = %operator.name, "operator added");
    Ok(Json(AddedOperator { name: operator.name, token: token.reveal().to_owned() }))
}

async fn remove(
    _: Owner,
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
) -> Result<Json<RemovedOperator>, ControlError> {
    let name: OperatorName = name.parse().map_err(|_| ControlError::NotFound("operator"))?;
    let Some(Operator { tenant, .. }) = control.registry.remove_operator(&name).await? else {
        return Err(ControlError::NotFound("operator"));
    };
    let record = events::operator_changed(Act::OperatorRemoved, &name, tenant.as_ref());
    control.shared.audit.record_or_note(record).await;
    info!(operator = %name, "operator removed");
    Ok(Json(RemovedOperator { name }))
}

fn exists(name: &OperatorName) -> ControlError {
    ControlError::Conflict(format!("operator {name} exists; remove him first to give him another token"))
}

impl From<Operator> for OperatorEntry {
    fn from(Operator { name, roles, tenant }: Operator) -> Self {
        Self { name, roles: roles.iter().map(RoleName).collect(), tenant }
    }
}

//! `/keys`: the keys that wrap the keys of cases.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use feldakte_core::{
    audit::{Act, Actor, Chain, Record},
    ids::{OperatorName, TenantId},
};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Control, ControlError, devices::Scope, operator::Authorised, text, to_the_end};
use crate::store::{StoreError, keyring::Rotated, registry::OperatorRole};

/// The keys of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Whose.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// The key's id, which says nothing about it.
    pub key: String,
    /// How many case keys it wraps.
    pub cases: u64,
}

/// Whose key is to be renewed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rotate {
    /// The tenant.
    #[serde(with = "text")]
    pub tenant: TenantId,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotatedKey {
    /// Under which key everything is wrapped now.
    pub key: String,
    /// How many case keys were wrapped again.
    pub rewrapped: u64,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/keys", get(list)).route("/keys/rotate", post(rotate))
}

async fn list(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Query(scope): Query<Scope>,
) -> Result<Json<Vec<KeyEntry>>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let summary = control.keyring.summary(operator.scope(scope.tenant.as_ref())?).await?;
    let entry = |tenant: crate::store::keyring::TenantSummary| KeyEntry {
        tenant: tenant.tenant,
        key: tenant.wrapped_by.0,
        cases: tenant.cases,
    };
    Ok(Json(summary.into_iter().map(entry).collect()))
}

async fn rotate(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Json(Rotate { tenant }): Json<Rotate>,
) -> Result<Json<RotatedKey>, ControlError> {
    operator.require_in(OperatorRole::Operator, &tenant)?;
    let by = operator.name().clone();
    let rotate = async move { control.rotate(&tenant, &by).await.map_err(unavailable) };
    let rotated = to_the_end(rotate).await?;
    Ok(Json(RotatedKey { key: rotated.to.0, rewrapped: rotated.rewrapped }))
}

fn unavailable(error: StoreError) -> ControlError {
    match error {
        StoreError::Unavailable(why) => ControlError::Unavailable(why.to_string()),
        error => error.into(),
    }
}

impl Control {
    /// Renews the key of a tenant and says so in the audit log.
    ///
    /// # Errors
    /// When it could not be done to the end; it can be done again.
    pub(super) async fn rotate(&self, tenant: &TenantId, by: &OperatorName) -> Result<Rotated, StoreError> {
        let rotated = self.keyring.rotate(tenant).await?;
        let (chain, who) = (Chain::Tenant(tenant.clone()), Actor::Operator(by.clone()));
        self.shared.audit.record_or_note(Record::new(chain, who, Act::KeyRotated)).await;
        info!(%tenant, to = %rotated.to, rewrapped = rotated.rewrapped, "tenant key rotated");
        Ok(rotated)
    }
}

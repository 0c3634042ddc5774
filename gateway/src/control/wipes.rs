//! `/devices/ID/wipe`: a lost device destroys what it holds at its next contact.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::post,
};
use feldakte_core::{
    audit::{About, Act, Actor, Chain, Reason, Record},
    ids::DeviceId,
};
use feldakte_proto::CloseCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use uuid::Uuid;

use super::{Control, ControlError, devices::find, operator::Authorised, text};
use crate::store::{
    matters::Wipe,
    registry::{Device, OperatorRole, Revocation},
};

/// An order, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WipeEntry {
    /// Which device.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// Names the order.
    #[serde(with = "text")]
    pub order: Uuid,
    /// When it was given.
    pub ordered_at_ms: i64,
    /// When the device confirmed that it has nothing left.
    pub done_at_ms: Option<i64>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/devices/{id}/wipe", post(order).get(show))
}

/// Recorded and written before the device can hear of it. It comes back at once if it is there, and gets the order.
async fn order(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<WipeEntry>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let Device { id: device, tenant, revocation, .. } = find(&control, &operator, &id).await?;
    if let Some(Revocation { by, reason, .. }) = revocation {
        return Err(ControlError::Conflict(format!(
            "the device was revoked, by {by} ({reason}): it is refused before it could hear an order to wipe. It keeps what \
             it holds until its app's `purge_after` is over"
        )));
    }
    if control.shared.deny.is_device_denied(device) {
        return Err(ControlError::Conflict(
            "the device is on the deny list: it is refused before it could hear an order to wipe. Take it off \
             `tls.deny_list`, then order it: from the order on it gets nothing else"
                .into(),
        ));
    }
    let (shared, environment) = (&control.shared, control.environment());
    let wipe = Wipe { order: environment.random_uuid(), device, ordered_ms: environment.now_ms(), done_ms: None };
    let record = Record::new(Chain::Tenant(tenant), Actor::Operator(operator.name().clone()), Act::WipeOrdered);
    shared.audit.record(record.about(About::device(device)).because(Reason::DeviceLost)).await?;
    shared.matters.order_wipe(&wipe).await?;
    shared.wipes.order(&wipe);
    let closed = shared.registry.close_device(device, CloseCode::Lapsed);
    info!(%device, closed, "wipe ordered");
    Ok(Json(wipe.into()))
}

async fn show(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<WipeEntry>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let Device { id: device, .. } = find(&control, &operator, &id).await?;
    let wipe = control.shared.matters.wipe_of(device).await?.ok_or(ControlError::NotFound("wipe order"))?;
    Ok(Json(wipe.into()))
}

impl From<Wipe> for WipeEntry {
    fn from(Wipe { order, device, ordered_ms, done_ms }: Wipe) -> Self {
        Self { device, order, ordered_at_ms: ordered_ms, done_at_ms: done_ms }
    }
}

//! `/devices` and `/invites`: how devices come to the gateway, and how they end.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use feldakte_certs::identity::Fingerprint;
use feldakte_core::{
    access::Role,
    code::Code,
    ids::{DeviceId, OperatorName, TenantId, UnitId},
};
use serde::{Deserialize, Serialize};

use super::{Control, ControlError, operator::Authorised, text, wipes::WipeEntry};
use crate::{
    enrolment::{self, events},
    store::{
        matters::Wipe,
        registry::{self, Device, OperatorRole, Revocation, RevocationReason, devices::Revoked},
    },
};

/// A device to be invited.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewInvite {
    /// Whose device.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// Its unit.
    #[serde(with = "text")]
    pub unit: UnitId,
    /// What for.
    #[serde(with = "text")]
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// How long the code is taken, in seconds.
    pub valid_s: u64,
}

/// An invitation. The code is shown this once.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Serialize, Deserialize)]
pub struct Invited {
    /// In groups, to be typed.
    pub code: String,
    /// Where to enrol, `host:port`.
    pub gateway: String,
    /// SHA-256 of the root that vouches for the gateway.
    pub root: String,
    /// Whose device.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// Its unit.
    #[serde(with = "text")]
    pub unit: UnitId,
    /// What for.
    #[serde(with = "text")]
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// Until when the code is taken.
    pub expires_at_ms: i64,
}

feldakte_core::hide_content! { Invited { gateway, tenant, unit, role } }

/// An invitation as it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteEntry {
    /// Whose device.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// Its unit.
    #[serde(with = "text")]
    pub unit: UnitId,
    /// What for.
    #[serde(with = "text")]
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// Who invited.
    #[serde(with = "text")]
    pub invited_by: OperatorName,
    /// Until when the code is taken.
    pub expires_at_ms: i64,
    /// How often it was presented in vain.
    pub attempts: i64,
    /// The device that it made.
    #[serde(with = "text::optional", default)]
    pub device: Option<DeviceId>,
}

/// A device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceEntry {
    /// Its id.
    #[serde(with = "text")]
    pub id: DeviceId,
    /// Whose.
    #[serde(with = "text")]
    pub tenant: TenantId,
    /// Its unit.
    #[serde(with = "text")]
    pub unit: UnitId,
    /// What for.
    #[serde(with = "text")]
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// Whether it is in a session.
    pub is_connected: bool,
    /// When it was enrolled.
    pub enrolled_at_ms: i64,
    /// When it was last in a session.
    pub last_seen_ms: Option<i64>,
    /// Serial number of its newest certificate.
    pub serial: Option<String>,
    /// SHA-256 of it.
    pub fingerprint: Option<String>,
    /// Its last moment.
    pub not_after_ms: Option<i64>,
    /// The order to destroy what it holds, and whether it says that it has.
    #[serde(default)]
    pub wipe: Option<WipeEntry>,
    /// How it ended.
    pub revoked: Option<RevokedEntry>,
}

/// The end of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedEntry {
    /// When.
    pub at_ms: i64,
    /// Why.
    #[serde(with = "text")]
    pub reason: RevocationReason,
    /// By whom.
    #[serde(with = "text")]
    pub by: OperatorName,
}

/// Why a device is to end.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Revoke {
    /// Out of a closed set.
    #[serde(with = "text")]
    pub reason: RevocationReason,
    /// Whether a lost device is to keep what it holds: once revoked it hears no order to wipe.
    #[serde(default)]
    pub unwiped: bool,
}

/// What a revocation did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokedDevice {
    /// Which.
    #[serde(with = "text")]
    pub id: DeviceId,
    /// Sessions that were closed.
    pub closed: usize,
}

/// Which of them to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scope {
    /// One tenant's.
    #[serde(with = "text::optional", default)]
    pub tenant: Option<TenantId>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/devices", get(list))
        .route("/devices/{id}", get(show))
        .route("/devices/{id}/revoke", post(revoke))
        .route("/invites", get(invites).post(invite))
}

async fn invite(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Json(new): Json<NewInvite>,
) -> Result<Json<Invited>, ControlError> {
    let NewInvite { tenant, unit, role, label, valid_s } = new;
    operator.require_in(OperatorRole::Operator, &tenant)?;
    let enrolment = control.shared.enrolment.as_ref().ok_or_else(no_authority)?;
    let is_label =
        !label.trim().is_empty() && label.chars().count() <= LABEL_MAX && !label.chars().any(char::is_control);
    if !is_label {
        return Err(ControlError::Invalid(format!("the label must be 1 to {LABEL_MAX} printable characters")));
    }
    if !(1..=VALID_MAX.as_secs()).contains(&valid_s) {
        return Err(ControlError::Invalid("an invitation can be valid for at most 30 days".into()));
    }
    let code = Code::from_random(control.environment().random());
    let now_ms = control.environment().latest_ms();
    let expires_at = now_ms + enrolment::millis(Duration::from_secs(valid_s));
    let (code_hash, by) = (enrolment::hash_of(&code), operator.name().clone());
    let new = registry::NewInvite { code_hash, tenant, unit, role, label, by, now_ms, expires_at };
    // Nobody is let in unrecorded.
    control.shared.audit.record(events::invited(&new.by, &new.tenant, &new.unit)).await?;
    control.registry.invite(&new).await?;
    let registry::NewInvite { tenant, unit, label, .. } = new;
    let root = enrolment.ca().pins().first().map(|root| Fingerprint::of(root).to_string()).ok_or_else(no_authority)?;
    let gateway = control.enrol_address.clone();
    Ok(Json(Invited { code: code.to_string(), gateway, root, tenant, unit, role, label, expires_at_ms: expires_at }))
}

async fn invites(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Query(scope): Query<Scope>,
) -> Result<Json<Vec<InviteEntry>>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let invites = control.registry.invites(operator.scope(scope.tenant.as_ref())?).await?;
    Ok(Json(invites.into_iter().map(InviteEntry::from).collect()))
}

async fn list(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Query(scope): Query<Scope>,
) -> Result<Json<Vec<DeviceEntry>>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    control.write_seen().await?;
    let devices = control.registry.devices(operator.scope(scope.tenant.as_ref())?).await?;
    let connected = control.shared.registry.devices();
    let wipes = control.shared.matters.wipes().await?.into_iter();
    let mut wipes: HashMap<DeviceId, Wipe> = wipes.map(|wipe| (wipe.device, wipe)).collect();
    let entry = |device: Device| {
        let wipe = wipes.remove(&device.id);
        DeviceEntry::new(device, wipe, &connected)
    };
    Ok(Json(devices.into_iter().map(entry).collect()))
}

async fn show(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<DeviceEntry>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    control.write_seen().await?;
    let device = find(&control, &operator, &id).await?;
    let wipe = control.shared.matters.wipe_of(device.id).await?;
    Ok(Json(DeviceEntry::new(device, wipe, &control.shared.registry.devices())))
}

async fn revoke(
    operator: Authorised,
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
    Json(Revoke { reason, unwiped }): Json<Revoke>,
) -> Result<Json<RevokedDevice>, ControlError> {
    operator.require(OperatorRole::Operator)?;
    let Device { id, tenant, .. } = find(&control, &operator, &id).await?;
    if !unwiped && matches!(reason, RevocationReason::Lost | RevocationReason::Stolen) {
        check_wiped(&control, id).await?;
    }
    let by = operator.name();
    let revocation = Revocation { at: control.environment().now_ms(), reason, by: by.clone() };
    match control.registry.revoke(id, revocation).await? {
        None => return Err(ControlError::NotFound("device")),
        Some(Revoked::Already(before)) => {
            let message = format!("the device was revoked before, by {} ({})", before.by, before.reason);
            return Err(ControlError::Conflict(message));
        }
        Some(Revoked::Done) => {}
    }
    // Written first: a crash from here on finds it at the next start.
    let shared = &control.shared;
    shared.deny.revoke([id]);
    let closed = shared.close_lapsed();
    // The device is out, recorded or not.
    shared.audit.record_or_note(events::device_revoked(by, &tenant, id, reason)).await;
    Ok(Json(RevokedDevice { id, closed }))
}

/// A revocation cannot be taken back: whoever revokes a device that may hold content has to know what he gives up.
async fn check_wiped(control: &Control, device: DeviceId) -> Result<(), ControlError> {
    let missing = match control.shared.matters.wipe_of(device).await? {
        Some(Wipe { done_ms: Some(_), .. }) => return Ok(()),
        Some(_) => "its order to wipe is not carried out yet: wait for it (`feldakte device show`)",
        None => "order it to wipe instead, which blocks it just as well (`feldakte device wipe`)",
    };
    Err(ControlError::Conflict(format!(
        "a revoked device never hears an order to wipe and keeps what it holds; {missing}, or revoke it all the same with \
         `--unwiped`"
    )))
}

/// A device of another tenant is none to an operator who is bound to his.
pub(super) async fn find(control: &Control, operator: &Authorised, id: &str) -> Result<Device, ControlError> {
    let missing = || ControlError::NotFound("device");
    let id: DeviceId = id.parse().map_err(|_| missing())?;
    let device = control.registry.device(id).await?.ok_or_else(missing)?;
    let is_his = operator.tenant().is_none_or(|own| *own == device.tenant);
    is_his.then_some(device).ok_or_else(missing)
}

fn no_authority() -> ControlError {
    ControlError::Unavailable(
        "this gateway issues no certificates: set `ca.key` and `ca.certificate` in its configuration".into(),
    )
}

impl DeviceEntry {
    fn new(device: Device, wipe: Option<Wipe>, connected: &[DeviceId]) -> Self {
        let Device { id, tenant, unit, role, label, enrolled_at, last_seen, certificate, revocation } = device;
        Self {
            is_connected: connected.contains(&id),
            id,
            tenant,
            unit,
            role,
            label,
            enrolled_at_ms: enrolled_at,
            last_seen_ms: last_seen,
            serial: certificate.as_ref().map(|certificate| certificate.serial.clone()),
            fingerprint: certificate.as_ref().map(|certificate| Fingerprint(certificate.fingerprint).to_string()),
            not_after_ms: certificate.map(|certificate| certificate.not_after),
            wipe: wipe.map(WipeEntry::from),
            revoked: revocation.map(|Revocation { at, reason, by }| RevokedEntry { at_ms: at, reason, by }),
        }
    }
}

impl From<registry::Invite> for InviteEntry {
    fn from(invite: registry::Invite) -> Self {
        let registry::Invite { tenant, unit, role, label, invited_by, created_at: _, expires_at, attempts, used_by } =
            invite;
        Self { tenant, unit, role, label, invited_by, expires_at_ms: expires_at, attempts, device: used_by }
    }
}

/// Long enough for any radio name.
const LABEL_MAX: usize = 64;

/// A code that lies about for longer is forgotten, and found by somebody else.
const VALID_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

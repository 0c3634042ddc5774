//! What the outside learns of enrolments: acts of devices and operators, without codes, keys or labels.

use feldakte_core::{
    access::Principal,
    ids::{DeviceId, OperatorName, TenantId, UnitId},
};
use tracing::{info, warn};

use crate::store::registry::RevocationReason;

/// Something that happened to the registry.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// An operator has made a code.
    Invited {
        /// Who.
        by: &'a OperatorName,
        /// For whose device.
        tenant: &'a TenantId,
        /// Its unit.
        unit: &'a UnitId,
    },
    /// A device has its first certificate.
    Enrolled(&'a Principal),
    /// A device has its next certificate.
    Renewed(&'a Principal),
    /// A code or certificate was not taken.
    EnrolmentRefused,
    /// A device is taken no more.
    DeviceRevoked {
        /// By whom.
        by: &'a OperatorName,
        /// Whose.
        tenant: &'a TenantId,
        /// Which.
        device: DeviceId,
        /// Why.
        reason: RevocationReason,
    },
}

/// Tells it.
pub fn tell(event: Event<'_>) {
    match event {
        Event::Invited { by, tenant, unit } => info!(%by, %tenant, %unit, "invited"),
        Event::Enrolled(Principal { tenant, unit, device, role, user: _ }) => {
            info!(%tenant, %unit, %device, %role, "enrolled");
        }
        Event::Renewed(Principal { tenant, device, .. }) => info!(%tenant, %device, "renewed"),
        Event::EnrolmentRefused => warn!("enrolment refused"),
        Event::DeviceRevoked { by, tenant, device, reason } => info!(%by, %tenant, %device, %reason, "device revoked"),
    }
}

//! What stands in the audit log of enrolments and of operators' acts upon devices: without codes, keys or labels.

use feldakte_certs::renewal::RenewalError;
use feldakte_core::{
    access::Principal,
    audit::{About, Act, Actor, Chain, Reason, Record},
    ids::{DeviceId, OperatorName, TenantId, UnitId},
};

use super::EnrolmentError;
use crate::store::registry::{RevocationReason, invites::Refusal};

/// An operator has made a code.
pub fn invited(by: &OperatorName, tenant: &TenantId, unit: &UnitId) -> Record {
    let about = About { unit: Some(unit.clone()), ..About::default() };
    Record::new(Chain::Tenant(tenant.clone()), Actor::Operator(by.clone()), Act::Invited).about(about)
}

/// A device has its first certificate.
pub(super) fn enrolled(principal: &Principal) -> Record {
    of_device(principal, Act::Enrolled)
}

/// A device has its next certificate.
pub(super) fn renewed(principal: &Principal) -> Record {
    of_device(principal, Act::Renewed)
}

/// Somebody has got no certificate; `None` when the fault is the gateway's own. Whoever shows a code or a certificate that
/// is not taken has proven nothing: it stands in the gateway's chain, not in a tenant's.
pub(super) fn refused(error: &EnrolmentError) -> Option<Record> {
    let reason = match error {
        EnrolmentError::Code(Refusal::Unknown) => Reason::Unknown,
        EnrolmentError::Code(Refusal::Expired) | EnrolmentError::Renewal(RenewalError::TooLate) => Reason::Expired,
        EnrolmentError::Code(Refusal::Used) => Reason::Used,
        EnrolmentError::Code(Refusal::Revoked) | EnrolmentError::Revoked => Reason::Denied,
        EnrolmentError::Renewal(RenewalError::Proof) => Reason::Signature,
        EnrolmentError::Renewal(RenewalError::ForeignAuthority) => Reason::CertificateIssuer,
        EnrolmentError::Renewal(RenewalError::Unreadable) => Reason::CertificateInvalid,
        EnrolmentError::TooMany => Reason::RateLimited,
        EnrolmentError::Authority(_) if !error.is_ours() => Reason::Malformed,
        EnrolmentError::Authority(_) | EnrolmentError::Issued(_) | EnrolmentError::Store(_) => return None,
    };
    Some(Record::new(Chain::Gateway, Actor::Unknown, Act::EnrolmentRefused).because(reason))
}

/// A device is taken no more.
pub fn device_revoked(by: &OperatorName, tenant: &TenantId, device: DeviceId, reason: RevocationReason) -> Record {
    let reason = match reason {
        RevocationReason::Lost | RevocationReason::Stolen => Reason::DeviceLost,
        RevocationReason::KeyCompromised => Reason::KeyCompromised,
        RevocationReason::Misused => Reason::Misused,
        RevocationReason::Replaced => Reason::Replaced,
        RevocationReason::Retired => Reason::Retired,
    };
    let record = Record::new(Chain::Tenant(tenant.clone()), Actor::Operator(by.clone()), Act::DeviceRevoked);
    record.about(About::device(device)).because(reason)
}

/// An operator was let in or shut out, by the user the gateway runs as.
pub fn operator_changed(act: Act, operator: &OperatorName, tenant: Option<&TenantId>) -> Record {
    let chain = tenant.map_or(Chain::Gateway, |tenant| Chain::Tenant(tenant.clone()));
    let about = About { operator: Some(operator.clone()), ..About::default() };
    Record::new(chain, Actor::Gateway, act).about(about)
}

fn of_device(principal: &Principal, act: Act) -> Record {
    let Principal { tenant, unit, device, .. } = principal;
    let who = Actor::Device { device: *device, user: None };
    let about = About { unit: Some(unit.clone()), ..About::default() };
    Record::new(Chain::Tenant(tenant.clone()), who, act).about(about)
}

//! How devices get their certificates: for a code once, and from then on for the certificate they have.
//!
//! The one place that issues. The HTTPS door ([`http`]) and sessions both call it, so that no rule holds on one path alone.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_certs::{
    authority::{self, AuthorityError, CrlTerms, Issued},
    deny::DenyList,
    identity::{self, Fingerprint, IdentityError},
    renewal::{self, RenewalError},
};
use feldakte_core::{access::Principal, audit::Record, code::Code, ids::DeviceId, limits};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::{
    audit::Audit,
    environment::Environment,
    store::{
        StoreError,
        registry::{
            Certificate, RegistryStore,
            devices::CertifyError,
            invites::{Presented, RedeemError, Refusal},
        },
    },
};

mod ca;
pub mod events;
mod guesses;
pub mod http;
pub mod listener;

pub use self::ca::{Ca, CaError, Terms};

/// Issues certificates to devices.
#[derive(Debug)]
pub struct Enrolment {
    ca: Ca,
    registry: Arc<RegistryStore>,
    deny: DenyList,
    environment: Environment,
}

/// A certificate that was issued and is durable in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Whom it names.
    pub principal: Principal,
    /// PEM.
    pub certificate: String,
    /// Roots that vouch for gateways, PEM.
    pub roots: String,
    /// From when it should be renewed.
    pub renew_at: SystemTime,
    /// How long after its end it still can be.
    pub overlap: Duration,
}

/// A device that gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The code is not taken.
    #[error("the code is not taken")]
    Code(Refusal),
    /// The certificate at hand is not renewed.
    #[error(transparent)]
    Renewal(#[from] RenewalError),
    /// The device was revoked, here or by the deny list.
    #[error("the device is revoked")]
    Revoked,
    /// It has had [`limits::CERTIFICATES_PER_HOUR`].
    #[error("the device has had too many certificates lately")]
    TooMany,
    /// The authority refuses the signing request, or cannot sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Its own certificate cannot be read.
    #[error("what the authority has issued cannot be read")]
    Issued(#[from] IdentityError),
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Enrolment {
    /// Issues from that authority into that registry.
    pub fn new(ca: Ca, registry: Arc<RegistryStore>, deny: DenyList, environment: Environment) -> Arc<Self> {
        Arc::new(Self { ca, registry, deny, environment })
    }

    /// The authority and its terms.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// Makes a device for a code; the same key may ask again for [`limits::ENROLMENT_AGAIN_WITHIN`].
    ///
    /// # Errors
    /// When the code is not taken; a request that cannot be signed leaves it unused.
    pub async fn enrol(&self, audit: &Audit, code: &Code, csr_pem: &str) -> Result<Granted, EnrolmentError> {
        recorded(audit, self.try_enrol(code, csr_pem).await, events::enrolled).await
    }

    /// The next certificate for a device that shows the one it has and proves to hold its key.
    ///
    /// # Errors
    /// When the certificate is not of our authorities, ended too long ago, is revoked, or the proof is not good.
    pub async fn renew(
        &self,
        audit: &Audit,
        old: &CertificateDer<'_>,
        csr_pem: &str,
        proof: &[u8],
    ) -> Result<Granted, EnrolmentError> {
        let terms = renewal::Terms { now: self.environment.latest(), overlap: self.ca.terms().overlap };
        let granted = match renewal::check(old, self.ca.authorities(), csr_pem, proof, terms) {
            Ok(renewable) => self.try_renew(old, renewable.principal, csr_pem).await,
            Err(error) => Err(error.into()),
        };
        recorded(audit, granted, events::renewed).await
    }

    /// The next certificate for a device that has proven in a TLS handshake who it is.
    ///
    /// # Errors
    /// When it is revoked, or the request cannot be signed.
    pub async fn renew_proven(
        &self,
        audit: &Audit,
        old: &CertificateDer<'_>,
        named: Principal,
        csr_pem: &str,
    ) -> Result<Granted, EnrolmentError> {
        recorded(audit, self.try_renew(old, named, csr_pem).await, events::renewed).await
    }

    /// The certificates of revoked devices that have not ended by themselves, signed, for the outside world (DER).
    ///
    /// # Errors
    /// When the registry cannot be read or the authority cannot sign.
    pub async fn revocation_list(&self) -> Result<Vec<u8>, EnrolmentError> {
        let now_ms = self.environment.now_ms();
        let serials = self.registry.revoked_serials(now_ms).await?;
        // Numbers have to grow from list to list, which seconds do.
        let number = u64::try_from(now_ms / 1000).unwrap_or_default();
        let terms = CrlTerms { number, validity: limits::CRL_VALIDITY, now: self.environment.now() };
        Ok(self.ca.authority().issue_crl(&serials, terms)?.der)
    }

    async fn try_enrol(&self, code: &Code, csr_pem: &str) -> Result<Granted, EnrolmentError> {
        // The request first: whether it is well-formed says nothing about the code.
        let key_hash = authority::key_hash_of(csr_pem)?;
        let presented = Presented {
            code_hash: hash_of(code),
            key_hash,
            device: DeviceId(uuid::Builder::from_random_bytes(self.environment.random()).into_uuid()),
            now_ms: self.environment.latest_ms(),
            again_within_ms: millis(limits::ENROLMENT_AGAIN_WITHIN),
        };
        let issue = |principal: &Principal| self.issue(csr_pem, principal, key_hash);
        match self.registry.redeem(presented, issue).await {
            Ok((principal, issued)) => Ok(self.grant(principal, issued)),
            Err(RedeemError::Refused(refusal)) => Err(EnrolmentError::Code(refusal)),
            Err(RedeemError::Issue(error)) => Err(error),
            Err(RedeemError::Store(error)) => Err(error.into()),
        }
    }

    async fn try_renew(
        &self,
        old: &CertificateDer<'_>,
        named: Principal,
        csr_pem: &str,
    ) -> Result<Granted, EnrolmentError> {
        if self.deny.is_denied(old) {
            return Err(EnrolmentError::Revoked);
        }
        let key_hash = authority::key_hash_of(csr_pem)?;
        // The registry knows better than the certificate which unit and role the device has by now.
        let principal = match self.registry.device(named.device).await? {
            Some(device) => {
                Principal { tenant: device.tenant, unit: device.unit, device: device.id, role: device.role, user: None }
            }
            None => Principal { user: None, ..named },
        };
        let (certificate, issued) = self.issue(csr_pem, &principal, key_hash)?;
        match self.registry.certify(&principal, &certificate).await {
            Ok(()) => Ok(self.grant(principal, issued)),
            Err(CertifyError::Revoked) => Err(EnrolmentError::Revoked),
            Err(CertifyError::TooMany) => Err(EnrolmentError::TooMany),
            Err(CertifyError::Store(error)) => Err(error.into()),
        }
    }

    fn issue(
        &self,
        csr_pem: &str,
        principal: &Principal,
        key_hash: [u8; 32],
    ) -> Result<(Certificate, Issued), EnrolmentError> {
        let now = self.environment.now();
        let issued = self.ca.authority().sign_device(csr_pem, principal, self.ca.terms().lifetime, now)?;
        let certificate = Certificate {
            serial: identity::serial_of(&issued.der)?,
            fingerprint: Fingerprint::of(&issued.der).0,
            key_hash,
            issued_at: self.environment.now_ms(),
            not_after: since_1970_ms(identity::validity_of(&issued.der)?.not_after),
        };
        Ok((certificate, issued))
    }

    fn grant(&self, principal: Principal, issued: Issued) -> Granted {
        let terms = self.ca.terms();
        let renew_at = self.environment.now() + terms.lifetime.saturating_sub(terms.renew_from);
        Granted {
            principal,
            certificate: issued.certificate_pem,
            roots: self.ca.pins_pem().to_owned(),
            renew_at,
            overlap: terms.overlap,
        }
    }
}

/// What has happened is durable in the registry already: it is recorded as soon as it can be.
async fn recorded(
    audit: &Audit,
    result: Result<Granted, EnrolmentError>,
    granted: impl FnOnce(&Principal) -> Record,
) -> Result<Granted, EnrolmentError> {
    match &result {
        Ok(Granted { principal, .. }) => audit.record_or_note(granted(principal)).await,
        // Strangers may knock as often as they like: put together.
        Err(error) => audit.note_all(events::refused(error)),
    }
    result
}

/// What is kept of a code.
pub fn hash_of(code: &Code) -> [u8; 32] {
    Sha256::digest(code.canonical()).into()
}

/// Milliseconds since 1970.
pub fn since_1970_ms(moment: SystemTime) -> i64 {
    millis(moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// As the registry counts.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl EnrolmentError {
    /// Whether the gateway is at fault, not the device.
    pub fn is_ours(&self) -> bool {
        match self {
            EnrolmentError::Code(_)
            | EnrolmentError::Renewal(_)
            | EnrolmentError::Revoked
            | EnrolmentError::TooMany => false,
            EnrolmentError::Issued(_) | EnrolmentError::Store(_) => true,
            EnrolmentError::Authority(error) => !is_of_the_request(error),
        }
    }
}

fn is_of_the_request(error: &AuthorityError) -> bool {
    matches!(
        error,
        AuthorityError::RequestTooLarge { .. }
            | AuthorityError::RequestUnreadable
            | AuthorityError::RequestSignature
            | AuthorityError::RequestKey
    )
}

#[cfg(test)]
mod tests;

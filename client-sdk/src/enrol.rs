//! How a device gets its certificates: the first for an invitation's code, each next one for the one it has.
//!
//! The key is made on the device and never leaves it. Whom to believe before there is anything comes with the invitation:
//! the fingerprint of a root, or the root itself. From the first answer on it is the pins: the root in use and, when it is
//! about to change, the next.

use std::time::Duration;

use feldakte_certs::{
    identity::{self, Fingerprint},
    pem,
    pinned::PinnedRoot,
    policy, renewal,
    request::{DeviceKey, RequestError},
};
use feldakte_core::{access::Principal, code::Code, hex::hex};
use feldakte_proto::{
    Renewed,
    enrolment::{self, EnrolRequest, EnrolmentRefused, RenewRequest},
};
use zeroize::Zeroizing;

use crate::identity::Identity;

mod https;

/// What an invitation says, and the key if there is one already.
pub struct EnrolOptions {
    /// Where devices enrol, `host:port`.
    pub gateway: String,
    /// The name in the gateway's certificate; usually the host of `gateway`.
    pub server_name: String,
    /// The one-time code, as the user has typed it.
    pub code: String,
    /// Whom to believe.
    pub trust: Trust,
    /// The device's key, PKCS#8 in PEM form; a new one is made when it is `None`. Keep it before you ask: with the same key
    /// an answer that was lost can be had again for ten minutes.
    pub key: Option<Zeroizing<String>>,
}

/// Whom a device believes before it has pins.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The root of that SHA-256, as an invitation says.
    Fingerprint(Fingerprint),
    /// These roots, PEM.
    Roots(String),
}

/// A device's credentials, to be kept and then used.
#[derive(Clone)]
pub struct Enrolled {
    /// The certificate and those above it, PEM.
    pub certificate: String,
    /// The key, PKCS#8 in PEM form.
    pub key: Zeroizing<String>,
    /// The pins: roots that vouch for gateways, PEM.
    pub roots: String,
    /// Who the certificate says this device is.
    pub principal: Principal,
    /// Where sessions are had, `host:port`.
    pub sessions: String,
    /// From when the certificate is renewed, milliseconds since 1970.
    pub renew_at_ms: i64,
}

/// A certificate that was not had.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The code has a typing error: ask the user to look again.
    #[error(transparent)]
    Code(#[from] feldakte_core::code::CodeError),
    /// The gateway does not give one.
    #[error("{}", .0.message)]
    Refused(EnrolmentRefused),
    /// Whoever answered is not the gateway of the invitation: do not go on, ask whoever invited.
    #[error("what answered at this address is not the gateway of the invitation")]
    Untrusted,
    /// No answer: try again when there is a network.
    #[error("the gateway cannot be reached")]
    Unreachable,
    /// An answer that cannot be used.
    #[error("the gateway's answer cannot be used")]
    Unreadable,
    /// Key or roots cannot be used.
    #[error("{0} cannot be used")]
    Unusable(&'static str),
    /// No key or request could be made.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl EnrolError {
    /// Whether asking again can help without somebody acting first.
    pub fn is_retryable(&self) -> bool {
        match self {
            EnrolError::Unreachable => true,
            EnrolError::Refused(refused) => refused.retry_after_s.is_some(),
            _ => false,
        }
    }
}

/// Gets the device's first certificate.
///
/// # Errors
/// When the code is not taken, the gateway is not the invitation's, or there is no answer.
pub async fn enrol(options: EnrolOptions) -> Result<Enrolled, EnrolError> {
    let EnrolOptions { gateway, server_name, code, trust, key } = options;
    let code: Code = code.parse()?;
    let key = match key {
        Some(key) => DeviceKey::from_pem(&key)?,
        None => DeviceKey::generate()?,
    };
    let request = EnrolRequest { code: code.canonical(), csr: key.csr_pem()? };
    let tls = match trust {
        Trust::Fingerprint(root) => policy::pinned_enrolment_client_config(PinnedRoot::new(root)),
        Trust::Roots(roots) => {
            let roots = pem::roots(roots.as_bytes()).map_err(|_| EnrolError::Unusable("the root certificate"))?;
            policy::enrolment_client_config(roots).map_err(|_| EnrolError::Unusable("the root certificate"))?
        }
    };
    let place = https::Place { gateway: &gateway, server_name: &server_name, path: "/v1/enrol" };
    // With the same key the code can be presented again: an answer may have been lost.
    let mut tries = 1;
    let answer = loop {
        match https::post(&place, tls.clone(), &request).await {
            Err(EnrolError::Unreachable) if tries < TRIES => tokio::time::sleep(AGAIN_AFTER).await,
            answer => break answer?,
        }
        tries += 1;
    };
    enrolled(answer, key.to_pem(), &gateway)
}

/// Gets the next certificate for the one at hand; with `next`, for another key.
///
/// # Errors
/// When the certificate is not renewed, or there is no answer.
pub async fn renew(
    gateway: &str,
    server_name: &str,
    current: &Identity,
    next: Option<DeviceKey>,
) -> Result<Enrolled, EnrolError> {
    let old = DeviceKey::from_private_key(&current.key)?;
    let csr = next.as_ref().unwrap_or(&old).csr_pem()?;
    let proof = hex(&renewal::prove(&old, &csr)?);
    let leaf = current.chain.first().ok_or(EnrolError::Unusable("the certificate"))?;
    let request = RenewRequest { certificate: hex(leaf), csr, proof };
    let tls = policy::enrolment_client_config(current.roots.clone());
    let tls = tls.map_err(|_| EnrolError::Unusable("the root certificates"))?;
    let answer = https::post(&https::Place { gateway, server_name, path: "/v1/renew" }, tls, &request).await?;
    enrolled(answer, next.as_ref().unwrap_or(&old).to_pem(), gateway)
}

fn enrolled(answer: enrolment::Enrolled, key: Zeroizing<String>, gateway: &str) -> Result<Enrolled, EnrolError> {
    let enrolment::Enrolled { certificate, roots, renew_at_ms, overlap_ms: _, quic_port } = answer;
    let identity = usable(&certificate, &roots, &key)?;
    let host = gateway.rsplit_once(':').map_or(gateway, |(host, _)| host);
    let sessions = format!("{host}:{quic_port}");
    Ok(Enrolled { certificate, key, roots, principal: identity.principal, sessions, renew_at_ms })
}

/// What a gateway has answered in a session at `sessions`.
///
/// # Errors
/// When it cannot be used with the key.
pub(crate) fn renewed(answer: Renewed, key: &DeviceKey, sessions: &str) -> Result<Enrolled, EnrolError> {
    let Renewed { request: _, certificate, roots, renew_at_ms } = answer;
    let key = key.to_pem();
    let identity = usable(&certificate, &roots, &key)?;
    let renew_at_ms = renew_at_ms.or_else(|| due_ms(&identity)).ok_or(EnrolError::Unreadable)?;
    let sessions = sessions.to_owned();
    Ok(Enrolled { certificate, key, roots, principal: identity.principal, sessions, renew_at_ms })
}

/// Checks an answer before anybody keeps it: a certificate for another key would shut the device out.
fn usable(certificate: &str, roots: &str, key: &str) -> Result<Identity, EnrolError> {
    let identity = Identity::from_pem(roots.as_bytes(), certificate.as_bytes(), key.as_bytes());
    let identity = identity.map_err(|_| EnrolError::Unreadable)?;
    crate::transport::DialConfig::new(&identity).map_err(|_| EnrolError::Unreadable)?;
    Ok(identity)
}

impl Enrolled {
    /// As the client takes it.
    ///
    /// # Errors
    /// Never for what [`enrol`] and [`renew`] return.
    pub fn identity(&self) -> Result<Identity, crate::SdkError> {
        Identity::from_pem(self.roots.as_bytes(), self.certificate.as_bytes(), self.key.as_bytes())
    }
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled").field("device", &self.principal.device).finish_non_exhaustive()
    }
}

/// When a certificate is due: at the time the gateway gave, else at half of its life.
pub(crate) fn due_ms(identity: &Identity) -> Option<i64> {
    let validity = identity::validity_of(identity.chain.first()?).ok()?;
    let half = validity.not_after.duration_since(validity.not_before).ok()? / 2;
    Some(crate::environment::since_1970_ms(validity.not_before + half))
}

/// Enough for a link that comes and goes.
const TRIES: u32 = 4;
const AGAIN_AFTER: Duration = Duration::from_millis(500);

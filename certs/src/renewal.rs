//! A device asks for its next certificate: its old key vouches for the request, the old certificate says who it is.
//!
//! A certificate alone is no secret. What counts is the signature over the request by the old key, bound to this use, so
//! that neither a copied certificate nor anything else the key has ever signed can be renewed with.

use std::time::{Duration, SystemTime};

use feldakte_core::access::Principal;
use rcgen::SigningKey as _;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};

use crate::{
    identity::{self, IdentityError},
    request::{DeviceKey, RequestError},
};

/// A renewal that is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewalError {
    /// The old certificate cannot be read or names no device.
    #[error("the certificate to be renewed names no device")]
    Unreadable,
    /// No authority of ours has issued it.
    #[error("the certificate to be renewed is of an authority that is not known here")]
    ForeignAuthority,
    /// Whoever asks does not hold its key.
    #[error("the request is not signed with the key of the certificate to be renewed")]
    Proof,
    /// It has ended too long ago, or has not begun.
    #[error("the certificate to be renewed ended too long ago")]
    TooLate,
}

/// A certificate whose holder may have the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewable {
    /// Who it names.
    pub principal: Principal,
    /// Its serial number.
    pub serial: String,
    /// Its last moment.
    pub not_after: SystemTime,
}

/// The device's side: its old key's signature over the request for the next certificate.
///
/// # Errors
/// When signing fails.
pub fn prove(old: &DeviceKey, csr_pem: &str) -> Result<Vec<u8>, RequestError> {
    old.secret().pair().sign(&message(csr_pem)).map_err(RequestError::Signing)
}

/// The authority's side. `authorities` are those whose certificates are renewed here; `overlap` is how long after its
/// end a certificate can still be.
///
/// # Errors
/// When the certificate is not of them, its key has not signed the request, or it ended too long ago.
pub fn check(
    old: &CertificateDer<'_>,
    authorities: &[CertificateDer<'_>],
    csr_pem: &str,
    proof: &[u8],
    terms: Terms,
) -> Result<Renewable, RenewalError> {
    let unreadable = |_: IdentityError| RenewalError::Unreadable;
    let certificate = identity::read(old).map_err(unreadable)?;
    let is_of = |authority: &CertificateDer<'_>| {
        let Ok(authority) = identity::read(authority) else { return false };
        let is_named = authority.subject() == certificate.issuer();
        is_named && certificate.verify_signature(Some(authority.public_key())).is_ok()
    };
    if !authorities.iter().any(is_of) {
        return Err(RenewalError::ForeignAuthority);
    }
    let principal = identity::principal_of(old).map_err(unreadable)?;
    let public_key = &certificate.public_key().subject_public_key.data;
    let algorithms: [&dyn SignatureVerificationAlgorithm; 2] = [ECDSA_P256_SHA256, ECDSA_P384_SHA384];
    // Only the algorithm of its own curve can succeed.
    let message = message(csr_pem);
    if !algorithms.iter().any(|algorithm| algorithm.verify_signature(public_key, &message, proof).is_ok()) {
        return Err(RenewalError::Proof);
    }
    let validity = identity::validity_of(old).map_err(unreadable)?;
    let is_in_time = terms.now >= validity.not_before && terms.now <= validity.not_after + terms.overlap;
    is_in_time.then_some(()).ok_or(RenewalError::TooLate)?;
    let serial = identity::serial_of(old).map_err(unreadable)?;
    Ok(Renewable { principal, serial, not_after: validity.not_after })
}

/// What the answer depends on besides what is shown.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The authority's clock.
    pub now: SystemTime,
    /// How long after its end a certificate can be renewed.
    pub overlap: Duration,
}

/// What the old key signs: the request, for this purpose and no other.
fn message(csr_pem: &str) -> Vec<u8> {
    [DOMAIN, csr_pem.as_bytes()].concat()
}

/// Stands before what is signed. Changing it refuses every device of an earlier release.
const DOMAIN: &[u8] = b"feldakte certificate renewal v1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DAY, World, today};

    fn at(now: SystemTime) -> Terms {
        Terms { now, overlap: 7 * DAY }
    }

    #[test]
    fn the_holder_of_the_old_key_may_have_the_next_certificate() {
        let world = World::new();
        let (device, next) = (world.device(), DeviceKey::generate().unwrap());
        let (csr, old) = (next.csr_pem().unwrap(), &device.certificate.der);
        let proof = prove(&device.key, &csr).unwrap();
        let authorities =
            [World::named("another").authority.certificate().clone(), world.authority.certificate().clone()];
        for now in [today(), today() + DAY, today() + 8 * DAY] {
            let renewable = check(old, &authorities, &csr, &proof, at(now)).unwrap();
            assert_eq!(renewable.principal, crate::testing::crew());
        }
    }

    #[test]
    fn a_stolen_certificate_without_its_key_is_not_renewed() {
        let world = World::new();
        let (device, thief) = (world.device(), DeviceKey::generate().unwrap());
        let csr = thief.csr_pem().unwrap();
        let authorities = [world.authority.certificate().clone()];
        let check = |proof: &[u8]| check(&device.certificate.der, &authorities, &csr, proof, at(today()));
        assert_eq!(check(&prove(&thief, &csr).unwrap()), Err(RenewalError::Proof));
        assert_eq!(check(b""), Err(RenewalError::Proof));
        // What the device itself has asked for cannot be used for the thief's key.
        let its_own = prove(&device.key, &device.key.csr_pem().unwrap()).unwrap();
        assert_eq!(check(&its_own), Err(RenewalError::Proof));
        // Nor anything that it has signed for another purpose.
        let unbound = device.key.secret().pair().sign(csr.as_bytes()).unwrap();
        assert_eq!(check(&unbound), Err(RenewalError::Proof));
    }

    #[test]
    fn a_certificate_that_ended_too_long_ago_or_of_another_authority_is_not_renewed() {
        let world = World::new();
        let device = world.device();
        let csr = device.key.csr_pem().unwrap();
        let proof = prove(&device.key, &csr).unwrap();
        let old = &device.certificate.der;
        let own = [world.authority.certificate().clone()];
        let late = check(old, &own, &csr, &proof, at(today() + 8 * DAY + Duration::from_secs(1)));
        assert_eq!(late, Err(RenewalError::TooLate));
        // The same name is not the same authority.
        for other in [World::named("another"), World::new()] {
            let foreign = check(old, &[other.authority.certificate().clone()], &csr, &proof, at(today()));
            assert_eq!(foreign, Err(RenewalError::ForeignAuthority));
        }
        let garbage = CertificateDer::from(&b"x"[..]);
        assert_eq!(check(&garbage, &own, &csr, &proof, at(today())), Err(RenewalError::Unreadable));
    }
}

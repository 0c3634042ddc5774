//! The authority that vouches for devices and gateways: one root certificate and its key.
//!
//! From a signing request it takes the public key and nothing else: every name, usage and lifetime in a certificate
//! is our own decision.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use feldakte_core::access::Principal;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams,
    SanType, SerialNumber, SubjectPublicKeyInfo, date_time_ymd,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};
use zeroize::Zeroizing;

use crate::{
    identity::{self, IdentityError},
    key::{self, KeyError, SecretKey},
    pem::{self, PemError},
    policy,
};

/// A certificate that was not issued, or an authority that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A serial number to be revoked is no serial number.
    #[error("`{serial}` is not a serial number in hexadecimal")]
    BadSerial {
        /// The text.
        serial: String,
    },
    /// The signing request is longer than any honest one.
    #[error("the signing request is {len} bytes, limit {max}")]
    RequestTooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The signing request cannot be read.
    #[error("the signing request is not PKCS#10 in PEM form")]
    RequestUnreadable,
    /// Whoever made the request does not hold the key in it.
    #[error("the signing request is not signed with its own key")]
    RequestSignature,
    /// The request's key is of a kind the TLS policy does not allow.
    #[error("the signing request's key is not an ECDSA key on P-256 or P-384")]
    RequestKey,
    /// A gateway certificate without a name is of no use.
    #[error("a gateway needs at least one DNS name or IP address that devices connect to")]
    NoName,
    /// A gateway name that cannot stand in a certificate.
    #[error("`{name}` is neither a DNS name nor an IP address")]
    BadName {
        /// The name.
        name: String,
    },
    /// The lifetime is zero or ends after the year 9999.
    #[error("the lifetime is zero or ends after the year 9999")]
    BadValidity,
    /// The certificate would be valid longer than its root.
    #[error("the certificate would outlive its root: shorten its lifetime or make a new root")]
    OutlivesRoot,
    /// The certificate to load is no authority's.
    #[error("the root certificate is not one certificate of a certificate authority")]
    NotAnAuthority,
    /// The key to load is another certificate's.
    #[error("the root's key does not belong to the root certificate")]
    KeyMismatch,
    /// The key could not be made or read.
    #[error("the private key cannot be used")]
    Key(#[from] KeyError),
    /// The root certificate's text could not be read.
    #[error("the root certificate cannot be read")]
    Pem(#[from] PemError),
    /// A certificate could not be read.
    #[error("the root certificate cannot be used")]
    Certificate(#[from] IdentityError),
    /// The system's random number generator failed.
    #[error("no serial number could be made: the system's random number generator failed")]
    Entropy,
    /// The certificate could not be put together or signed.
    #[error("the certificate could not be signed")]
    Signing(#[from] rcgen::Error),
}

/// A certificate fresh from the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// For files and for the wire.
    pub certificate_pem: String,
    /// For rustls.
    pub der: CertificateDer<'static>,
}

/// A gateway's certificate together with the key made for it.
#[derive(Debug)]
pub struct IssuedGateway {
    /// The certificate.
    pub certificate: Issued,
    /// Its key, PKCS#8 in PEM form.
    pub key_pem: Zeroizing<String>,
}

/// A revocation list fresh from the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCrl {
    /// For files.
    pub pem: String,
    /// For HTTP (`application/pkix-crl`).
    pub der: Vec<u8>,
}

/// What a revocation list says besides serial numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlTerms {
    /// Greater than that of every list before; a later list with a smaller number is refused.
    pub number: u64,
    /// How long from `now` until there must be a newer one.
    pub validity: Duration,
    /// The time of issue.
    pub now: SystemTime,
}

/// A certificate authority: a root certificate and its key, wiped from memory when dropped.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    /// The root's end in seconds since 1970.
    not_after: i64,
    key: SecretKey,
}

impl Authority {
    /// Makes a new root. Certificates it issues end with it at the latest.
    ///
    /// # Errors
    /// When the lifetime is of no use or the system has no randomness.
    pub fn generate(name: &str, validity: Duration, now: SystemTime) -> Result<Self, AuthorityError> {
        let key = SecretKey::generate()?;
        let mut params = parameters(validity, now)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(key.pair())?;
        Self::new(certificate.der().clone(), certificate.pem(), key)
    }

    /// Takes up a root made earlier.
    ///
    /// # Errors
    /// When the two cannot be read, the certificate is no authority's, or the key is not its key.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let mut certificates = pem::certificates(certificate_pem.as_bytes())?;
        let (Some(certificate), true) = (certificates.pop(), certificates.is_empty()) else {
            return Err(AuthorityError::NotAnAuthority);
        };
        Self::new(certificate, certificate_pem.to_owned(), SecretKey::from_pem(key_pem)?)
    }

    /// Takes up the root of this key out of several certificates, as there are while roots change.
    ///
    /// # Errors
    /// When none is of the key, or they cannot be read.
    pub fn find(certificates_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let mut failed = AuthorityError::NotAnAuthority;
        for section in certificates_pem.split_inclusive(PEM_END).filter(|section| section.ends_with(PEM_END)) {
            match Self::load(section.trim_start(), key_pem) {
                Ok(found) => return Ok(found),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn new(
        certificate: CertificateDer<'static>,
        certificate_pem: String,
        key: SecretKey,
    ) -> Result<Self, AuthorityError> {
        let root = identity::read(&certificate)?;
        let may_sign = root.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
        if !root.is_ca() || !may_sign {
            return Err(AuthorityError::NotAnAuthority);
        }
        if root.public_key().raw != key.pair().subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        let not_after = root.validity().not_after.timestamp();
        Ok(Self { certificate, certificate_pem, not_after, key })
    }

    /// The root certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The root certificate, for whoever shall trust what this authority signs.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root's key, PKCS#8 in PEM form. Whoever holds it can make any device.
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.key.to_pem()
    }

    /// This root alone, as rustls takes it.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("our root is a well-formed authority, checked in `new`");
        roots
    }

    /// Issues a device certificate for the key in a signing request. The caller has decided that the sender of the
    /// request is `principal`.
    ///
    /// # Errors
    /// When the request is malformed, not signed with its own key or its key is not allowed, or the lifetime is of
    /// no use.
    pub fn sign_device(
        &self,
        csr_pem: &str,
        principal: &Principal,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let public_key = public_key_of(csr_pem)?;
        let mut params = parameters(validity, now)?;
        params.distinguished_name.push(DnType::OrganizationName, principal.tenant.as_str());
        params.distinguished_name.push(DnType::OrganizationalUnitName, principal.unit.as_str());
        params.distinguished_name.push(DnType::CommonName, principal.device.to_string());
        params.subject_alt_names = vec![SanType::URI(identity::device_uri(principal).try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &public_key)
    }

    /// Issues a gateway certificate for these DNS names and IP addresses, with a key of its own.
    ///
    /// # Errors
    /// When there is no name, one is no name, or the lifetime is of no use.
    pub fn issue_gateway(
        &self,
        names: &[String],
        validity: Duration,
        now: SystemTime,
    ) -> Result<IssuedGateway, AuthorityError> {
        let first = names.first().ok_or(AuthorityError::NoName)?;
        let key = SecretKey::generate()?;
        let mut params = parameters(validity, now)?;
        params.distinguished_name.push(DnType::CommonName, first.as_str());
        params.subject_alt_names = names.iter().map(|name| gateway_name(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(IssuedGateway { certificate: self.issue(params, key.pair())?, key_pem: key.to_pem() })
    }

    /// Issues a list of certificates that are taken back, by their serial numbers in hexadecimal.
    ///
    /// # Errors
    /// When a serial number is none, or the lifetime is of no use.
    pub fn issue_crl(&self, serials: &[String], terms: CrlTerms) -> Result<IssuedCrl, AuthorityError> {
        let CrlTerms { number, validity, now } = terms;
        let [this_update, next_update] = lifetime(validity, now)?.map(|moment| date_time_ymd(1970, 1, 1) + moment);
        let revoked = |serial: &String| {
            let bytes = identity::parse_hex(serial).filter(|bytes| bytes.iter().any(|byte| *byte != 0));
            let bytes = bytes.ok_or_else(|| AuthorityError::BadSerial { serial: serial.clone() })?;
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&bytes),
                revocation_time: this_update,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect::<Result<_, AuthorityError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer: Issuer<'_, &KeyPair> = Issuer::from_ca_cert_der(&self.certificate, self.key.pair())?;
        let list = params.signed_by(&issuer)?;
        Ok(IssuedCrl { pem: list.pem()?, der: list.der().to_vec() })
    }

    fn issue(&self, mut params: CertificateParams, public_key: &impl PublicKeyData) -> Result<Issued, AuthorityError> {
        if params.not_after.unix_timestamp() > self.not_after {
            return Err(AuthorityError::OutlivesRoot);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let issuer: Issuer<'_, &KeyPair> = Issuer::from_ca_cert_der(&self.certificate, self.key.pair())?;
        let certificate = params.signed_by(public_key, &issuer)?;
        Ok(Issued { certificate_pem: certificate.pem(), der: certificate.der().clone() })
    }
}

/// What all our certificates have in common: lifetime, a fresh serial number, and a subject still to be filled.
fn parameters(validity: Duration, now: SystemTime) -> Result<CertificateParams, AuthorityError> {
    let [not_before, not_after] = lifetime(validity, now)?;
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + not_before;
    params.not_after = epoch + not_after;
    params.serial_number = Some(fresh_serial()?);
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

/// First and last moment since 1970, the first somewhat early.
fn lifetime(validity: Duration, now: SystemTime) -> Result<[Duration; 2], AuthorityError> {
    let now = now.duration_since(UNIX_EPOCH).map_err(|_| AuthorityError::BadValidity)?.as_secs();
    let end = now.checked_add(validity.as_secs()).filter(|end| (now + 1..=YEAR_9999_END).contains(end));
    let end = end.ok_or(AuthorityError::BadValidity)?;
    Ok([now.saturating_sub(BACKDATE.as_secs()), end].map(Duration::from_secs))
}

/// 16 random bytes; a renewed certificate has the old key but never the old number.
fn fresh_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    policy::provider().secure_random.fill(&mut bytes).map_err(|_| AuthorityError::Entropy)?;
    // Positive and of full length, so that it has one spelling.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn gateway_name(name: &str) -> Result<SanType, AuthorityError> {
    let bad = || AuthorityError::BadName { name: name.to_owned() };
    match rustls_pki_types::ServerName::try_from(name).map_err(|_| bad())? {
        rustls_pki_types::ServerName::IpAddress(address) => Ok(SanType::IpAddress(address.into())),
        _ => Ok(SanType::DnsName(name.try_into().map_err(|_| bad())?)),
    }
}

/// SHA-256 of the public key in a signing request, which is checked as [`Authority::sign_device`] does.
///
/// # Errors
/// When the request is malformed, not signed with its own key or its key is not allowed.
pub fn key_hash_of(csr_pem: &str) -> Result<[u8; 32], AuthorityError> {
    Ok(Sha256::digest(public_key_of(csr_pem)?.subject_public_key_info()).into())
}

/// The public key of a request that is signed with it; all else in the request is left unread.
fn public_key_of(csr_pem: &str) -> Result<SubjectPublicKeyInfo, AuthorityError> {
    if csr_pem.len() > CSR_LEN_MAX {
        return Err(AuthorityError::RequestTooLarge { len: csr_pem.len(), max: CSR_LEN_MAX });
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| AuthorityError::RequestUnreadable)?;
    let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
        return Err(AuthorityError::RequestUnreadable);
    };
    let public_key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| AuthorityError::RequestKey)?;
    if !key::is_allowed(public_key.algorithm()) {
        return Err(AuthorityError::RequestKey);
    }
    request.verify_signature().map_err(|_| AuthorityError::RequestSignature)?;
    Ok(public_key)
}

const PEM_END: &str = "-----END CERTIFICATE-----";

/// A tablet whose clock is somewhat slow still accepts a certificate that was issued this minute.
const BACKDATE: Duration = Duration::from_secs(60 * 60);

/// The last second an X.509 certificate can name.
const YEAR_9999_END: u64 = 253_402_300_799;

/// An honest request is under 1 KiB; RSA keys with many attributes stay under this as well.
const CSR_LEN_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;

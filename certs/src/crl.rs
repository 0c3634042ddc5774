//! Certificate revocation lists of the authorities that issue device certificates.
//!
//! A set of lists is taken whole or not at all: each is signed by one of our authorities, and every authority has one,
//! because a certificate of whom no list speaks is refused (status unknown).
//!
//! A list past its next update still says who is revoked. Whoever takes up a new one asks [`Revocations::is_stale`]
//! first; one that has grown stale while in force goes on refusing those it names and shuts nobody else out, because
//! our own late file must not take the tablets from a city's crews.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use webpki::BorrowedCertRevocationList;
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{OID_PKCS1_RSASSAPSS, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, Oid},
    prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

use crate::identity;

/// Lists that cannot be taken up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// A section is cut off or is not base64.
    #[error("the PEM text is damaged")]
    Damaged,
    /// There is no `BEGIN X509 CRL`.
    #[error("the PEM text holds no revocation list")]
    NoList,
    /// An authority's certificate cannot be read.
    #[error("a device authority's certificate cannot be read")]
    Authority,
    /// One of the lists is of no use.
    #[error("revocation list {number} {why}")]
    List {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// All devices of that authority would be refused.
    #[error("there is no revocation list of device authority {number}, whose devices would all be refused")]
    Uncovered {
        /// Which authority, counted from 1 in the order of its file.
        number: usize,
    },
}

/// What the lists say of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its authority's list does not name it.
    Good,
    /// Its authority has taken it back.
    Revoked,
    /// No list speaks for its issuer.
    Unknown,
}

/// The lists of all device authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    lists: Vec<List>,
    /// Names of authorities that another one has taken back: what they issued fell with them.
    fallen: HashSet<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    /// The issuer's name as it stands in certificates (DER).
    issuer: Vec<u8>,
    /// Big-endian without leading zeros.
    number: Vec<u8>,
    next_update: SystemTime,
    serials: HashSet<String>,
    /// Which authorities' keys it is signed with: two may share a name while one replaces the other.
    signers: Vec<usize>,
}

impl Revocations {
    /// Reads PEM lists that `authorities` have signed.
    ///
    /// # Errors
    /// When one cannot be read, is not signed by an authority, has no number or next update or speaks for a part of
    /// the certificates only, or when an authority has no list.
    pub fn from_pem(pem: &[u8], authorities: &[CertificateDer<'_>]) -> Result<Self, CrlError> {
        let authorities: Vec<X509Certificate<'_>> =
            authorities.iter().map(identity::read).collect::<Result<_, _>>().map_err(|_| CrlError::Authority)?;
        let ders: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| CrlError::Damaged)?;
        if ders.is_empty() {
            return Err(CrlError::NoList);
        }
        let lists = ders
            .iter()
            .enumerate()
            .map(|(index, der)| List::read(der, &authorities).map_err(|why| CrlError::List { number: index + 1, why }));
        let lists: Vec<List> = lists.collect::<Result<_, _>>()?;
        let is_covered = |index: &usize| lists.iter().any(|list| list.signers.contains(index));
        match (0..authorities.len()).find(|index| !is_covered(index)) {
            Some(index) => Err(CrlError::Uncovered { number: index + 1 }),
            None => {
                let fallen = authorities.iter().filter(|authority| names(&lists, authority));
                let fallen = fallen.map(|authority| authority.subject().as_raw().to_vec()).collect();
                Ok(Self { lists, fallen })
            }
        }
    }

    /// What the lists say of this certificate; one that cannot be read is of unknown standing.
    pub fn standing(&self, certificate: &CertificateDer<'_>) -> Standing {
        let Ok(certificate) = identity::read(certificate) else { return Standing::Unknown };
        let issuer = certificate.issuer().as_raw();
        if names(&self.lists, &certificate) || self.fallen.contains(issuer) {
            Standing::Revoked
        } else if self.lists.iter().any(|list| list.issuer == issuer) {
            Standing::Good
        } else {
            Standing::Unknown
        }
    }

    /// The first moment at which one of the lists should have been replaced.
    pub fn next_update(&self) -> SystemTime {
        self.lists.iter().map(|list| list.next_update).min().unwrap_or(UNIX_EPOCH)
    }

    /// Whether one of the lists should have been replaced by `now`.
    pub fn is_stale(&self, now: SystemTime) -> bool {
        now > self.next_update()
    }

    /// Whether a list here is older than one of the same authority there: whoever puts back an old list puts back
    /// into service what was revoked since.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let older = |list: &List, than: &List| {
            list.issuer == than.issuer
                && list.signers == than.signers
                && (list.number.len(), &list.number) < (than.number.len(), &than.number)
        };
        other.lists.iter().any(|than| self.lists.iter().any(|list| older(list, than)))
    }

    /// How many certificates are revoked.
    pub fn len(&self) -> usize {
        self.lists.iter().map(|list| list.serials.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl List {
    fn read(der: &[u8], authorities: &[X509Certificate<'_>]) -> Result<Self, &'static str> {
        // Strict where the other parser is lenient: nothing left over, no delta, no indirect list, no critical
        // extension that nobody here understands.
        let strict =
            BorrowedCertRevocationList::from_der(der).map_err(|_| "is not a complete X.509 list (version 2)")?;
        if webpki::CertRevocationList::from(strict).issuing_distribution_point().is_some() {
            return Err("speaks for a part of the certificates only");
        }
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else { return Err("cannot be read") };
        if !SIGNATURES.contains(&list.signature_algorithm.algorithm) {
            return Err("is signed with an algorithm outside of the TLS policy");
        }
        let signers: Vec<usize> =
            (0..).zip(authorities).filter(|(_, by)| has_signed(by, &list)).map(|(at, _)| at).collect();
        if signers.is_empty() {
            return Err("is not signed by a device authority");
        }
        let number = list.crl_number().ok_or("has no number")?.to_bytes_be();
        let next_update = list.next_update().ok_or("has no next update")?.timestamp();
        let next_update = u64::try_from(next_update).map_err(|_| "ended before 1970")?;
        Ok(Self {
            issuer: list.issuer().as_raw().to_vec(),
            number,
            next_update: UNIX_EPOCH + Duration::from_secs(next_update),
            serials: list.iter_revoked_certificates().map(|gone| identity::serial_text(gone.raw_serial())).collect(),
            signers,
        })
    }
}

/// Whether a list of its issuer's names the certificate.
fn names(lists: &[List], certificate: &X509Certificate<'_>) -> bool {
    let serial = identity::serial_text(certificate.raw_serial());
    let mut lists = lists.iter().filter(|list| list.issuer == certificate.issuer().as_raw());
    lists.any(|list| list.serials.contains(&serial))
}

fn has_signed(authority: &X509Certificate<'_>, list: &CertificateRevocationList<'_>) -> bool {
    let may_sign = authority.key_usage().ok().flatten().is_none_or(|usage| usage.value.crl_sign());
    may_sign
        && authority.subject().as_raw() == list.issuer().as_raw()
        && list.verify_signature(authority.public_key()).is_ok()
}

/// As in the TLS policy; what each stands for is checked against the authority's own key.
const SIGNATURES: [Oid<'static>; 3] = [OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_PKCS1_RSASSAPSS];

#[cfg(test)]
mod tests;

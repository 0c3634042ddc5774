//! What a device certificate says about its device: one URI, `feldakte://<tenant>/<unit>/<device>?role=<role>`.
//!
//! There is exactly one spelling of each identity; a certificate that says anything else names nobody.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_core::{access::Principal, hex, ids::IdError};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

/// A certificate that does not say who its device is. Never contains the rejected text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are not one X.509 certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// There is no URI among the subject's alternative names.
    #[error("the certificate names no device")]
    Missing,
    /// There are several URIs among the subject's alternative names.
    #[error("the certificate names several devices")]
    Several,
    /// The URI is not of the form we write.
    #[error("the device's URI is not feldakte://<tenant>/<unit>/<device>?role=<role> exactly")]
    Form,
    /// A part of the URI is no valid id.
    #[error("the device's URI is not valid")]
    Id(#[from] IdError),
}

/// The URI that names a device in its certificate.
pub fn device_uri(principal: &Principal) -> String {
    let Principal { tenant, unit, device, role, user: _ } = principal;
    format!("{SCHEME}{tenant}/{unit}/{device}{ROLE}{role}")
}

/// Who the holder of this certificate is. The caller has checked the chain; this reads the name alone.
///
/// # Errors
/// When the certificate does not hold exactly one URI, or it is not exactly of our form.
pub fn principal_of(leaf: &CertificateDer<'_>) -> Result<Principal, IdentityError> {
    let certificate = read(leaf)?;
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut uri = None;
    for name in names {
        match name {
            GeneralName::URI(found) if uri.is_none() => uri = Some(*found),
            GeneralName::URI(_) => return Err(IdentityError::Several),
            // An unreadable name could be a second URI to somebody else.
            GeneralName::Invalid(..) => return Err(IdentityError::Unreadable),
            _ => {}
        }
    }
    parse_uri(uri.ok_or(IdentityError::Missing)?)
}

fn parse_uri(uri: &str) -> Result<Principal, IdentityError> {
    let (path, role) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once(ROLE)).ok_or(IdentityError::Form)?;
    let mut segments = path.split('/');
    let (Some(tenant), Some(unit), Some(device), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err(IdentityError::Form);
    };
    let (tenant, unit, device, role) = (tenant.parse()?, unit.parse()?, device.parse()?, role.parse()?);
    let principal = Principal { tenant, unit, device, role, user: None };
    // UUIDs have several spellings; deny lists and logs know one.
    if device_uri(&principal) != uri {
        return Err(IdentityError::Form);
    }
    Ok(principal)
}

/// From when to when a certificate may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// Whether the certificate may be used at `now`.
    pub fn covers(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// The certificate's lifetime, for checks on connections that live longer than their handshake.
///
/// # Errors
/// When the certificate cannot be read or was made for a time before 1970.
pub fn validity_of(leaf: &CertificateDer<'_>) -> Result<Validity, IdentityError> {
    let certificate = read(leaf)?;
    let validity = certificate.validity();
    Ok(Validity { not_before: time_of(validity.not_before)?, not_after: time_of(validity.not_after)? })
}

fn time_of(time: ASN1Time) -> Result<SystemTime, IdentityError> {
    let seconds = u64::try_from(time.timestamp()).map_err(|_| IdentityError::Unreadable)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(IdentityError::Unreadable)
}

/// The certificate's serial number: lower-case hexadecimal without leading zero bytes.
///
/// # Errors
/// When the certificate cannot be read.
pub fn serial_of(leaf: &CertificateDer<'_>) -> Result<String, IdentityError> {
    Ok(serial_text(read(leaf)?.raw_serial()))
}

/// DNS names and IP addresses of a gateway's certificate, in its order.
///
/// # Errors
/// When the certificate cannot be read.
pub fn gateway_names_of(leaf: &CertificateDer<'_>) -> Result<Vec<String>, IdentityError> {
    let certificate = read(leaf)?;
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    Ok(names.iter().filter_map(name).collect())
}

/// The one spelling of a serial number.
pub(crate) fn serial_text(bytes: &[u8]) -> String {
    bytes.iter().skip_while(|byte| **byte == 0).map(|byte| format!("{byte:02x}")).collect()
}

/// A certificate that is one certificate to its last byte.
pub(crate) fn read<'a>(leaf: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    match X509Certificate::from_der(leaf) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(IdentityError::Unreadable),
    }
}

/// The SHA-256 of a whole certificate: names this very certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of `leaf`.
    pub fn of(leaf: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(leaf).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { what: "fingerprint", why: "must be 32 bytes in hexadecimal" };
        let bytes = parse_hex(text).ok_or(error)?;
        bytes.try_into().map(Self).map_err(|_| error)
    }
}

/// Bytes from hexadecimal of either case; colons between the bytes, as other tools print them, are left out.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    hex::unhex(&text.replace(':', ""))
}

const SCHEME: &str = "feldakte://";
const ROLE: &str = "?role=";

#[cfg(test)]
mod tests {
    use feldakte_core::access::Role;
    use proptest::prelude::*;
    use rcgen::SanType;

    use super::*;
    use crate::testing::{DAY, World, today};

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn identity_of(names: Vec<SanType>) -> Result<Principal, IdentityError> {
        principal_of(&World::new().leaf_with_names(names))
    }

    const GOOD: &str = "feldakte://dortmund/rtw-1-83-1/00000000-0000-4000-8000-00000000000a?role=ambulance_crew";

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn identities_round_trip_through_certificates(
            tenant in "[a-z0-9-]{1,63}", unit in "[a-z0-9-]{1,63}", device: [u8; 16], role in 1u32..=11,
        ) {
            let principal = Principal {
                tenant: tenant.parse().unwrap(),
                unit: unit.parse().unwrap(),
                device: feldakte_core::ids::DeviceId::from_slice(&device).unwrap(),
                role: Role::from_number(role).unwrap(),
                user: None,
            };
            let issued = World::new().issue(&principal);
            prop_assert_eq!(principal_of(&issued.der), Ok(principal));
        }

        #[test]
        fn hex_round_trips(bytes: [u8; 32]) {
            let fingerprint = Fingerprint(bytes);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            prop_assert_eq!(fingerprint.to_string().to_uppercase().parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn one_good_uri_is_an_identity_whatever_dns_names_stand_beside_it() {
        let dns = SanType::DnsName("tablet.example".try_into().unwrap());
        let principal = identity_of(vec![dns, uri(GOOD)]).unwrap();
        assert_eq!(device_uri(&principal), GOOD);
    }

    #[test]
    fn none_and_several_are_refused() {
        assert_eq!(identity_of(vec![]), Err(IdentityError::Missing));
        let dns = SanType::DnsName("tablet.example".try_into().unwrap());
        assert_eq!(identity_of(vec![dns]), Err(IdentityError::Missing));
        assert_eq!(identity_of(vec![uri(GOOD), uri(GOOD)]), Err(IdentityError::Several));
        assert_eq!(identity_of(vec![uri(GOOD), uri("https://example.org")]), Err(IdentityError::Several));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for bad in [
            "",
            "feldakte:dortmund",
            "https://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=ambulance_crew",
            "FELDAKTE://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=ambulance_crew",
            "feldakte://dortmund/00000000-0000-4000-8000-00000000000a?role=ambulance_crew",
            "feldakte://dortmund/rtw-1/x/00000000-0000-4000-8000-00000000000a?role=ambulance_crew",
            "feldakte://Dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=ambulance_crew",
            "feldakte://dortmund//00000000-0000-4000-8000-00000000000a?role=ambulance_crew",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000A?role=ambulance_crew",
            "feldakte://dortmund/rtw-1/0000000000004000800000000000000a?role=ambulance_crew",
            "feldakte://dortmund/rtw-1/{00000000-0000-4000-8000-00000000000a}?role=ambulance_crew",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a/?role=ambulance_crew",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=root",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=supervisor&role=dispatcher",
            "feldakte://dortmund/rtw-1/00000000-0000-4000-8000-00000000000a?role=supervisor#x",
        ] {
            let error = identity_of(vec![uri(bad)]).unwrap_err();
            assert!(matches!(error, IdentityError::Form | IdentityError::Id(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let world = World::new();
        let good = world.leaf_with_names(vec![uri(GOOD)]);
        let cut = CertificateDer::from(&good[..good.len() - 1]);
        let longer = CertificateDer::from([&good[..], b"x"].concat());
        for bad in [CertificateDer::from(&b""[..]), cut, longer] {
            assert_eq!(principal_of(&bad), Err(IdentityError::Unreadable));
            assert_eq!(validity_of(&bad), Err(IdentityError::Unreadable));
            assert_eq!(serial_of(&bad), Err(IdentityError::Unreadable));
        }
    }

    #[test]
    fn lifetimes_cover_their_ends_and_nothing_beyond() {
        let leaf = World::new().device().certificate.der;
        let validity = validity_of(&leaf).unwrap();
        assert_eq!(validity.not_after, today() + DAY);
        assert!(
            validity.covers(today()) && validity.covers(validity.not_before) && validity.covers(validity.not_after)
        );
        assert!(!validity.covers(validity.not_after + Duration::from_secs(1)));
        assert!(!validity.covers(validity.not_before - Duration::from_secs(1)));
    }

    #[test]
    fn serials_have_one_spelling() {
        assert_eq!(serial_text(&[0, 0x0a, 0xff]), "0aff");
        assert_eq!(parse_hex("0A:FF"), Some(vec![0x0a, 0xff]));
        assert_eq!(parse_hex("abc"), None);
        assert_eq!(parse_hex("zz"), None);
    }
}

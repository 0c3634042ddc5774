//! The device's side of enrolment: its key, made on the device and never leaving it, and the signing request.

use rcgen::{CertificateParams, DistinguishedName};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::key::{KeyError, SecretKey};

/// A key or signing request that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The request could not be signed with the key.
    #[error("the signing request could not be made")]
    Signing(#[source] rcgen::Error),
}

/// A device's private key: ECDSA on P-256. Wiped from memory when dropped.
#[derive(Debug)]
pub struct DeviceKey(SecretKey);

impl DeviceKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, RequestError> {
        Ok(Self(SecretKey::generate()?))
    }

    /// Reads a key written by [`DeviceKey::to_pem`].
    ///
    /// # Errors
    /// When the text is not such a key.
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        Ok(Self(SecretKey::from_pem(pem)?))
    }

    /// The key behind [`DeviceKey::private_key`].
    ///
    /// # Errors
    /// When it is of a kind that no device has.
    pub fn from_private_key(key: &PrivateKeyDer<'_>) -> Result<Self, RequestError> {
        Ok(Self(SecretKey::from_der(key)?))
    }

    /// The key as PKCS#8 in PEM form, for the device's own protected storage.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.0.to_pem()
    }

    /// The key as [`crate::policy::client_config`] takes it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        self.0.to_der()
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.0
    }

    /// The request for a certificate. It proves possession of the key and asks for no name: who the device is
    /// decides the authority.
    ///
    /// # Errors
    /// When signing fails.
    pub fn csr_pem(&self) -> Result<String, RequestError> {
        let mut request = CertificateParams::default();
        request.distinguished_name = DistinguishedName::new();
        let request = request.serialize_request(self.0.pair()).map_err(RequestError::Signing)?;
        request.pem().map_err(RequestError::Signing)
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

    use super::*;

    #[test]
    fn keys_round_trip_and_are_never_printed() {
        let key = DeviceKey::generate().unwrap();
        let again = DeviceKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.private_key(), key.private_key());
        assert_eq!(format!("{key:?}"), "DeviceKey(SecretKey(redacted))");
    }

    #[test]
    fn requests_prove_the_key_and_ask_for_no_name() {
        let (_, pem) = x509_parser::pem::parse_x509_pem(DeviceKey::generate().unwrap().csr_pem().unwrap().as_bytes())
            .map(|(rest, pem)| (rest.len(), pem))
            .unwrap();
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        assert!(request.verify_signature().is_ok());
        assert_eq!(request.certification_request_info.subject.iter().count(), 0);
        assert_eq!(request.requested_extensions().into_iter().flatten().count(), 0);
    }
}

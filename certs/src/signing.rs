//! A key that signs what a gateway keeps, so that whoever has the public half can tell that nobody else wrote it.
//!
//! ECDSA on P-256 with SHA-256; no certificate, because nobody is to be identified by it.

use std::fmt;

use rcgen::{PublicKeyData, SigningKey as _};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::key::{KeyError, SecretKey};

/// The private half.
pub struct SigningKey(SecretKey);

/// The public half: 65 bytes of a point on the curve.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(Vec<u8>);

/// The system's random number generator failed in the middle of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be signed: the system's random number generator failed")]
pub struct SigningError;

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        SecretKey::generate().map(Self)
    }

    /// Reads what [`SigningKey::to_pem`] wrote.
    ///
    /// # Errors
    /// When the text is no private key on P-256.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = SecretKey::from_pem(pem)?;
        match key.pair().algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 {
            true => Ok(Self(key)),
            false => Err(KeyError::Unsupported),
        }
    }

    /// PKCS#8 in PEM form.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.0.to_pem()
    }

    /// The public half in PEM form.
    pub fn public_pem(&self) -> String {
        self.0.pair().public_key_pem()
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.pair().der_bytes().to_vec())
    }

    /// Signs; ASN.1 form.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.0.pair().sign(message).map_err(|_| SigningError)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

impl VerifyingKey {
    /// Reads what [`SigningKey::public_pem`] gave.
    ///
    /// # Errors
    /// When the text is no public key in PEM form. One on another curve verifies nothing.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Unreadable)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| KeyError::Unreadable)?;
        Ok(Self(key.subject_public_key.data.to_vec()))
    }

    /// Whether the signature over the message is by the private half.
    pub fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        ECDSA_P256_SHA256.verify_signature(&self.0, message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_half_verifies_and_only_what_was_signed() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(b"a checkpoint").unwrap();
        assert!(key.verifying_key().is_signed(b"a checkpoint", &signature));
        assert!(!key.verifying_key().is_signed(b"b checkpoint", &signature));
        assert!(!key.verifying_key().is_signed(b"a checkpoint", &[]));
        assert!(!SigningKey::generate().unwrap().verifying_key().is_signed(b"a checkpoint", &signature));
    }

    #[test]
    fn both_halves_round_trip_as_pem() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert_eq!(VerifyingKey::from_pem(&key.public_pem()).unwrap(), key.verifying_key());
        assert_eq!(VerifyingKey::from_pem(&key.to_pem()).unwrap_err(), KeyError::Unreadable);
    }

    #[test]
    fn a_key_on_another_curve_is_refused() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(SigningKey::from_pem(&pair.serialize_pem()).unwrap_err(), KeyError::Unsupported);
    }
}

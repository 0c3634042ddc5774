//! A private key while this crate holds it: wiped when dropped, never printed.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::{Zeroize, Zeroizing};

/// A private key that cannot be used. Never contains key material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text holds no unencrypted private key in PEM form.
    #[error("not an unencrypted private key in PEM form")]
    Unreadable,
    /// The key is of a kind the TLS policy does not allow for our own certificates.
    #[error("the key is not an ECDSA key on P-256 or P-384")]
    Unsupported,
    /// The system's random number generator failed.
    #[error("no key could be made: the system's random number generator failed")]
    Generation,
}

/// An ECDSA key pair on P-256 (made here) or P-384 (read).
pub(crate) struct SecretKey(KeyPair);

impl SecretKey {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(|_| KeyError::Generation)
    }

    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = Zeroizing::new(PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Unreadable)?);
        Self::from_der(&der)
    }

    pub(crate) fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyError> {
        let key = Self(KeyPair::try_from(der).map_err(|_| KeyError::Unreadable)?);
        if !is_allowed(key.0.algorithm()) {
            return Err(KeyError::Unsupported);
        }
        Ok(key)
    }

    /// PKCS#8 in PEM form.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// PKCS#8 in DER form, as rustls takes it.
    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

/// Whether certificates of ours may carry keys of this kind.
pub(crate) fn is_allowed(algorithm: &SignatureAlgorithm) -> bool {
    [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384].contains(&algorithm)
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ED25519, PublicKeyData};

    use super::*;

    #[test]
    fn keys_round_trip_as_pem() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let key = SecretKey::from_pem(&pair.serialize_pem()).unwrap();
            assert_eq!(key.pair().subject_public_key_info(), pair.subject_public_key_info());
            assert_eq!(*key.to_pem(), pair.serialize_pem());
        }
    }

    #[test]
    fn keys_outside_the_policy_are_refused() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert_eq!(SecretKey::from_pem(&pair.serialize_pem()).unwrap_err(), KeyError::Unsupported);
        assert_eq!(SecretKey::from_pem("no key").unwrap_err(), KeyError::Unreadable);
    }
}

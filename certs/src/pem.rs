//! Certificates and keys out of PEM text, in the form rustls takes them.

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// PEM text that cannot be used. Never contains any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A section is cut off or is not base64.
    #[error("the PEM text is damaged")]
    Damaged,
    /// There is no `BEGIN CERTIFICATE`.
    #[error("the PEM text holds no certificate")]
    NoCertificate,
    /// There is no unencrypted private key.
    #[error("the PEM text holds no unencrypted private key")]
    NoKey,
    /// A certificate is not fit to be a root.
    #[error("certificate {number} of the PEM text cannot be a root")]
    NotARoot {
        /// Which one, counted from 1.
        number: usize,
    },
}

/// Reads a certificate chain, leaf first; other sections are skipped.
///
/// # Errors
/// When there is none, or the text is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| PemError::Damaged)?;
    if chain.is_empty() {
        return Err(PemError::NoCertificate);
    }
    Ok(chain)
}

/// Reads the first private key; other sections are skipped.
///
/// # Errors
/// When there is none, or the text is damaged.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => Err(PemError::NoKey),
        Err(_) => Err(PemError::Damaged),
    }
}

/// Reads certificates to trust as roots.
///
/// # Errors
/// When there is none, one is unfit, or the text is damaged.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(pem)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|_| PemError::NotARoot { number: index + 1 })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn what_the_authority_writes_can_be_read() {
        let world = World::new();
        let root = world.authority.certificate_pem();
        assert_eq!(certificates(root.as_bytes()), Ok(vec![world.authority.certificate().clone()]));
        assert_eq!(roots(root.as_bytes()).unwrap().len(), 1);
        assert!(private_key(world.authority.key_pem().as_bytes()).is_ok());
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        let world = World::new();
        let root = world.authority.certificate_pem();
        assert_eq!(certificates(b"nothing").unwrap_err(), PemError::NoCertificate);
        assert_eq!(certificates(&root.as_bytes()[..root.len() / 2]).unwrap_err(), PemError::Damaged);
        assert_eq!(private_key(root.as_bytes()).unwrap_err(), PemError::NoKey);
        let not_der = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(roots(not_der).unwrap_err(), PemError::NotARoot { number: 1 });
    }
}

//! What a device proves itself with: its certificate, its key, and the gateways it trusts.

use feldakte_certs::{identity, pem};
use feldakte_core::access::Principal;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::SdkError;

/// A device's credentials, checked.
pub struct Identity {
    pub(crate) roots: RootCertStore,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Who the certificate says this device is.
    pub principal: Principal,
}

impl Identity {
    /// From PEM texts: the gateway's roots, the device's certificate chain and its private key.
    ///
    /// # Errors
    /// When one of them cannot be read or the certificate does not name a device.
    pub fn from_pem(roots: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, SdkError> {
        let bad = |what: &str, error: &dyn std::fmt::Display| SdkError::Identity(format!("{what}: {error}"));
        let roots = pem::roots(roots).map_err(|error| bad("gateway roots", &error))?;
        let chain = pem::certificates(certificate).map_err(|error| bad("certificate", &error))?;
        let key = pem::private_key(key).map_err(|error| bad("key", &error))?;
        let leaf = chain.first().ok_or_else(|| SdkError::Identity("certificate: the file is empty".into()))?;
        let principal = identity::principal_of(leaf).map_err(|error| bad("certificate", &error))?;
        Ok(Self { roots, chain, key, principal })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("device", &self.principal.device).finish_non_exhaustive()
    }
}

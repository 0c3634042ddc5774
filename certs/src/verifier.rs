//! The gateway's judgement of a device certificate during the handshake.
//!
//! A certificate is accepted when its chain ends at one of our roots and it is within its lifetime, when nobody
//! denied it, and when it says exactly who the device is. The three are checked in this order. Browsers may come without
//! one, and have to prove a user.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    deny::DenyList,
    identity::principal_of,
    policy::{self, PolicyError},
};

/// Refuses everybody who is not an enrolled device, and, unless it is [`DeviceVerifier::optional`], clients without a certificate.
#[derive(Debug)]
pub struct DeviceVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    deny: DenyList,
    is_mandatory: bool,
}

impl DeviceVerifier {
    /// Accepts devices under `roots` that `deny` does not name.
    ///
    /// # Errors
    /// When there are no roots.
    pub fn new(roots: RootCertStore, deny: DenyList) -> Result<Arc<Self>, PolicyError> {
        Self::build(roots, deny, true)
    }

    /// The same, and lets clients in that show no certificate: who they are has to be asked behind the handshake. Whoever shows
    /// one is judged by it.
    ///
    /// # Errors
    /// When there are no roots.
    pub fn optional(roots: RootCertStore, deny: DenyList) -> Result<Arc<Self>, PolicyError> {
        Self::build(roots, deny, false)
    }

    fn build(roots: RootCertStore, deny: DenyList, is_mandatory: bool) -> Result<Arc<Self>, PolicyError> {
        if roots.is_empty() {
            return Err(PolicyError::NoRoots);
        }
        let chain = WebPkiClientVerifier::builder_with_provider(roots.into(), policy::provider());
        Ok(Arc::new(Self { chain: chain.build().map_err(PolicyError::Verifier)?, deny, is_mandatory }))
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(leaf, intermediates, now)?;
        if self.deny.is_denied(leaf) || intermediates.iter().any(|above| self.deny.is_revoked(above)) {
            return Err(CertificateError::Revoked.into());
        }
        principal_of(leaf).map_err(|error| CertificateError::Other(OtherError(Arc::new(error))))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;

//! A device that has no certificates yet believes one root by its fingerprint, as an invitation names it.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{identity::Fingerprint, policy};

/// Believes gateways that show a chain up to the root of that fingerprint, the root included.
#[derive(Debug)]
pub struct PinnedRoot(Fingerprint);

impl PinnedRoot {
    /// Believes that root alone.
    pub fn new(root: Fingerprint) -> Arc<Self> {
        Arc::new(Self(root))
    }

    /// The pinned root in what a gateway has shown.
    pub fn find<'c>(&self, shown: &[CertificateDer<'c>]) -> Option<CertificateDer<'c>> {
        shown.iter().find(|certificate| Fingerprint::of(certificate) == self.0).cloned()
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = self.find(intermediates).ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.into_owned()).map_err(|_| CertificateError::BadEncoding)?;
        let chain = WebPkiServerVerifier::builder_with_provider(roots.into(), policy::provider()).build();
        let chain = chain.map_err(|error| Error::General(error.to_string()))?;
        chain.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // The policy has no TLS 1.2.
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = policy::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        policy::provider().signature_verification_algorithms.supported_schemes()
    }
}

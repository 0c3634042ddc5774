//! The one TLS policy: what both ends of every connection agree to, and nothing else.
//!
//! TLS 1.3 with AES-GCM, the NIST curves and the post-quantum hybrids; certificates on both sides; no tickets, no
//! resumption and no early data, because a resumed session asks no verifier whether its certificate has ended or
//! was denied. Both configurations read the clock through their `time_provider`, which a test may set.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::Resumption,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms,
        aws_lc_rs::{cipher_suite, default_provider, kx_group},
    },
    server::{NoServerSessionStorage, VerifierBuilderError},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::aws_lc_rs as algorithm;

use crate::verifier::DeviceVerifier;

/// Certificates or keys a connection cannot be configured with.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Nobody would be trusted.
    #[error("there is no root certificate to trust")]
    NoRoots,
    /// The roots for device certificates are of no use.
    #[error("the root certificates for devices cannot be used")]
    Verifier(#[source] VerifierBuilderError),
    /// The certificate chain is empty or unreadable, or the key cannot be read or does not belong to it.
    #[error("the certificate chain and its key cannot be used together")]
    Credentials(#[source] rustls::Error),
}

/// The protocol both ends name in the handshake (ALPN).
pub const ALPN: &[u8] = b"feldakte/1";

/// The cryptography both ends use.
///
/// QUIC protects its first packets with AES-128-GCM, so that suite must stay.
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// A gateway's configuration: it demands a certificate that `devices` accepts.
///
/// # Errors
/// When chain and key cannot be used together.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    devices: Arc<DeviceVerifier>,
) -> Result<ServerConfig, PolicyError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider's suites and groups are those of TLS 1.3")
        .with_client_cert_verifier(devices)
        .with_single_cert(chain, key)
        .map_err(PolicyError::Credentials)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// A device's configuration: it shows its own certificate and trusts gateways under `roots`.
///
/// # Errors
/// When there are no roots, or chain and key cannot be used together.
pub fn client_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, PolicyError> {
    if roots.is_empty() {
        return Err(PolicyError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider's suites and groups are those of TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(PolicyError::Credentials)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256],
        // The second is for peers that have no other hybrid.
        kx_groups: vec![
            kx_group::SECP256R1MLKEM768,
            kx_group::X25519MLKEM768,
            kx_group::SECP384R1,
            kx_group::SECP256R1,
        ],
        signature_verification_algorithms: SIGNATURES,
        ..default_provider()
    })
});

/// Signatures on certificates (`all`) and on handshakes (`mapping`): ECDSA on the NIST curves and RSA-PSS.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithm::ECDSA_P256_SHA256,
        algorithm::ECDSA_P256_SHA384,
        algorithm::ECDSA_P384_SHA256,
        algorithm::ECDSA_P384_SHA384,
        algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[algorithm::ECDSA_P384_SHA384]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[algorithm::ECDSA_P256_SHA256]),
        (SignatureScheme::RSA_PSS_SHA512, &[algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
    ],
};

#[cfg(test)]
mod tests;

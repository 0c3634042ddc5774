//! The TLS policy `bsi`: what both ends of every connection agree to, and nothing else.
//!
//! It is the part of BSI TR-02102-2 that we need: TLS 1.3 with AES-GCM, the NIST curves and the post-quantum hybrids,
//! ECDSA and RSA-PSS. Sessions have certificates on both sides; enrolment, where a device gets its own, has the
//! gateway's alone, and so has a browser whose user proves himself by a token. No tickets, no resumption and no early data anywhere, because a resumed session asks no verifier
//! whether its certificate has ended or was denied. Every configuration reads the clock through its
//! `time_provider`, which a test may set.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SignatureScheme, WantsVerifier,
    client::{Resumption, WantsClientCert},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms,
        aws_lc_rs::{cipher_suite, default_provider, kx_group},
    },
    server::{NoServerSessionStorage, VerifierBuilderError},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::aws_lc_rs as algorithm;

use crate::{pinned::PinnedRoot, verifier::DeviceVerifier};

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

/// The protocol both ends of a session name in the handshake (ALPN).
pub const ALPN: &[u8] = b"feldakte/1";

/// The protocol both ends name for sessions over gRPC.
pub const GRPC_ALPN: &[u8] = b"h2";

/// The protocol both ends name for enrolment.
pub const ENROLMENT_ALPN: &[u8] = HTTP_ALPN;

const HTTP_ALPN: &[u8] = b"http/1.1";

/// The cryptography both ends use.
///
/// QUIC protects its first packets with AES-128-GCM, so that suite must stay.
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// A gateway's configuration for sessions: it demands a certificate that `devices` accepts.
///
/// # Errors
/// When chain and key cannot be used together.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    devices: Arc<DeviceVerifier>,
) -> Result<ServerConfig, PolicyError> {
    let config = server_builder().with_client_cert_verifier(devices).with_single_cert(chain, key);
    config.map(|config| finish_server(config, ALPN)).map_err(PolicyError::Credentials)
}

/// The same for sessions over gRPC.
///
/// # Errors
/// When chain and key cannot be used together.
pub fn grpc_server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    devices: Arc<DeviceVerifier>,
) -> Result<ServerConfig, PolicyError> {
    let mut config = server_config(chain, key, devices)?;
    config.alpn_protocols = vec![GRPC_ALPN.to_vec()];
    Ok(config)
}

/// The same for browsers over TCP. With [`DeviceVerifier::optional`] some come without a certificate and prove a user afterwards.
///
/// # Errors
/// When chain and key cannot be used together.
pub fn web_server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    devices: Arc<DeviceVerifier>,
) -> Result<ServerConfig, PolicyError> {
    let mut config = server_config(chain, key, devices)?;
    config.alpn_protocols = vec![HTTP_ALPN.to_vec()];
    Ok(config)
}

/// A gateway's configuration for enrolment over TCP: it shows its certificate and asks for none.
///
/// # Errors
/// When chain and key cannot be used together.
pub fn enrolment_server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, PolicyError> {
    let config = server_builder().with_no_client_auth().with_single_cert(chain, key);
    config.map(|config| finish_server(config, ENROLMENT_ALPN)).map_err(PolicyError::Credentials)
}

/// A device's configuration for sessions: it shows its own certificate and trusts gateways under `roots`.
///
/// # Errors
/// When there are no roots, or chain and key cannot be used together.
pub fn client_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, PolicyError> {
    let config = client_builder(roots)?.with_client_auth_cert(chain, key);
    config.map(|config| finish_client(config, ALPN)).map_err(PolicyError::Credentials)
}

/// The same for sessions over gRPC.
///
/// # Errors
/// When there are no roots, or chain and key cannot be used together.
pub fn grpc_client_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, PolicyError> {
    let mut config = client_config(roots, chain, key)?;
    config.alpn_protocols = vec![GRPC_ALPN.to_vec()];
    Ok(config)
}

/// A device's configuration for enrolment: it has no certificate yet and trusts gateways under `roots`.
///
/// # Errors
/// When there are no roots.
pub fn enrolment_client_config(roots: RootCertStore) -> Result<ClientConfig, PolicyError> {
    Ok(finish_client(client_builder(roots)?.with_no_client_auth(), ENROLMENT_ALPN))
}

/// A gateway's configuration to fetch over HTTPS from others' servers, such as identity providers: it shows no
/// certificate. Suites and groups are the policy's; of signatures it takes PKCS#1 too, in which public authorities sign.
///
/// # Errors
/// When there are no roots.
pub fn web_client_config(roots: RootCertStore) -> Result<ClientConfig, PolicyError> {
    if roots.is_empty() {
        return Err(PolicyError::NoRoots);
    }
    let signature_verification_algorithms = default_provider().signature_verification_algorithms;
    let provider = Arc::new(CryptoProvider { signature_verification_algorithms, ..(*provider()).clone() });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let config = builder.expect(TLS13_FITS).with_root_certificates(roots).with_no_client_auth();
    Ok(finish_client(config, HTTP_ALPN))
}

/// A device's configuration for its first enrolment: it knows its root by an invitation alone.
pub fn pinned_enrolment_client_config(root: Arc<PinnedRoot>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.expect(TLS13_FITS).dangerous().with_custom_certificate_verifier(root);
    finish_client(builder.with_no_client_auth(), ENROLMENT_ALPN)
}

fn server_builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).expect(TLS13_FITS)
}

fn finish_server(mut config: ServerConfig, protocol: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config
}

fn client_builder(roots: RootCertStore) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, PolicyError> {
    if roots.is_empty() {
        return Err(PolicyError::NoRoots);
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    Ok(builder.expect(TLS13_FITS).with_root_certificates(roots))
}

fn finish_client(mut config: ClientConfig, protocol: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config
}

const TLS13_FITS: &str = "the provider's suites and groups are those of TLS 1.3";

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

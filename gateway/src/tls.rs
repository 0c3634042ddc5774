//! QUIC endpoint configuration on top of the one TLS policy (`feldakte_certs::policy`).

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use feldakte_certs::{
    deny::DenyList,
    pem::PemError,
    policy::{self, PolicyError},
    verifier::DeviceVerifier,
};
use feldakte_core::limits;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// What a gateway proves itself with, and whom it believes.
pub struct Credentials {
    /// The gateway's certificate and those above it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Who issues device certificates.
    pub device_roots: RootCertStore,
}

/// TLS or QUIC could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file does not hold what it should.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Chain and key do not fit, or there are no roots.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy lacks the suite QUIC begins with.
    #[error(transparent)]
    Suite(#[from] NoInitialCipherSuite),
}

/// The QUIC server configuration: client certificates demanded, no tickets, no 0-RTT.
///
/// # Errors
/// When the credentials do not fit together.
pub fn server_config(credentials: Credentials, deny: DenyList) -> Result<ServerConfig, TlsError> {
    let Credentials { chain, key, device_roots } = credentials;
    let verifier = DeviceVerifier::new(device_roots, deny)?;
    let tls = policy::server_config(chain, key, verifier)?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// A server endpoint on a UDP address.
///
/// The reset key is derived from the gateway's private key, so that after a crash the restarted gateway tells the
/// devices of the dead one at once, instead of leaving them to a time-out.
///
/// # Errors
/// When the address cannot be bound.
pub fn endpoint(listen: SocketAddr, config: ServerConfig, reset_secret: &[u8; 32]) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(listen)?;
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
    Endpoint::new(endpoint_config(reset_secret), Some(config), socket, runtime)
}

/// Endpoint configuration with a reset key that survives restarts.
pub fn endpoint_config(reset_secret: &[u8; 32]) -> EndpointConfig {
    let key = rustls_reset_key(reset_secret);
    EndpointConfig::new(key)
}

/// A secret that only this gateway can derive again: a hash over its private key.
pub fn reset_secret(key: &PrivateKeyDer<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"feldakte stateless reset 1");
    hash.update(key.secret_der());
    hash.finalize().into()
}

fn rustls_reset_key(secret: &[u8; 32]) -> Arc<dyn quinn::crypto::HmacKey> {
    Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("far below the largest QUIC integer");
    transport
        // The session stream; the rest is room for the lanes of later versions.
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle));
    transport
}

/// One full frame in flight per device: what a hostile device can make the gateway hold.
const RECEIVE_WINDOW: u32 = limits::FRAME_LEN_MAX as u32;
/// Unacknowledged bytes per device.
const SEND_WINDOW: u64 = 2 << 20;

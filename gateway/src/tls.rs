//! Configuration of QUIC and TLS on top of the one policy (`feldakte_certs::policy`).

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
use feldakte_proto::quic;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use socket2::SockRef;

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
    config
        .max_incoming(limits::INCOMING_MAX)
        .incoming_buffer_size(limits::INCOMING_BYTES)
        .incoming_buffer_size_total(limits::INCOMING_BYTES_ALL);
    Ok(config)
}

/// The TLS configuration of sessions over gRPC, with the same demands.
///
/// # Errors
/// When the credentials do not fit together.
pub fn grpc_config(credentials: &Credentials, deny: DenyList) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let Credentials { chain, key, device_roots } = credentials;
    let verifier = DeviceVerifier::new(device_roots.clone(), deny)?;
    Ok(Arc::new(policy::grpc_server_config(chain.clone(), key.clone_key(), verifier)?))
}

/// The TLS configuration of browsers: whoever shows a device's certificate is judged by it, others prove a user afterwards.
///
/// # Errors
/// When the credentials do not fit together.
pub fn web_config(credentials: &Credentials, deny: DenyList) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let Credentials { chain, key, device_roots } = credentials;
    let verifier = DeviceVerifier::optional(device_roots.clone(), deny)?;
    Ok(Arc::new(policy::web_server_config(chain.clone(), key.clone_key(), verifier)?))
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
    // As much as the system allows: packets that are dropped here are sent again a second later.
    let _ = SockRef::from(&socket).set_recv_buffer_size(limits::UDP_RECEIVE_BUFFER);
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
    Endpoint::new(endpoint_config(reset_secret), Some(config), socket, runtime)
}

/// Endpoint configuration with a reset key that survives restarts. So does the key of connection ids: packets whose
/// id the endpoint does not recognise as its own are dropped without a reset.
pub fn endpoint_config(reset_secret: &[u8; 32]) -> EndpointConfig {
    let mut config = EndpointConfig::new(rustls_reset_key(reset_secret));
    let ids_key = connection_ids_key(reset_secret);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids_key)));
    config
}

/// A secret that only this gateway can derive again: a hash over its private key.
pub fn reset_secret(key: &PrivateKeyDer<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"feldakte stateless reset 1");
    hash.update(key.secret_der());
    hash.finalize().into()
}

fn connection_ids_key(reset_secret: &[u8; 32]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(b"feldakte connection ids 1");
    hash.update(reset_secret);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn rustls_reset_key(secret: &[u8; 32]) -> Arc<dyn quinn::crypto::HmacKey> {
    Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("far below the largest QUIC integer");
    quic::take_datagrams(quic::configure(&mut transport))
        // The session's, its other lanes, and one that is about to take the place of another.
        .max_concurrent_bidi_streams(VarInt::from_u32(2 + limits::LANES_MAX as u32))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(idle));
    transport
}

/// 20 Mbit/s at a round trip of 200 ms.
const STREAM_WINDOW: u32 = 512 << 10;
/// What a hostile device can make the gateway hold. Two lanes that nobody reads from leave room for the urgent one.
const RECEIVE_WINDOW: u32 = 2 * STREAM_WINDOW + limits::URGENT_FRAME_LEN_MAX as u32;
/// Unacknowledged bytes per device.
const SEND_WINDOW: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use feldakte_certs::{authority::Authority, pem, request::DeviceKey};
    use feldakte_core::{
        access::{Principal, Role},
        ids::DeviceId,
    };
    use quinn::{ConnectionError, crypto::rustls::QuicClientConfig};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const WITHIN: Duration = Duration::from_secs(5);

    fn gateway(authority: &Authority) -> (ServerConfig, [u8; 32]) {
        let issued = authority.issue_gateway(&["localhost".into()], DAY, SystemTime::now()).expect("issued");
        let key = pem::private_key(issued.key_pem.as_bytes()).expect("a key");
        let secret = reset_secret(&key);
        let chain = vec![issued.certificate.der];
        let credentials = Credentials { chain, key, device_roots: authority.roots() };
        (server_config(credentials, DenyList::default()).expect("fits"), secret)
    }

    fn device(authority: &Authority) -> quinn::ClientConfig {
        let key = DeviceKey::generate().expect("a key");
        let principal = Principal {
            tenant: "dortmund".parse().expect("a slug"),
            unit: "rtw-1".parse().expect("a slug"),
            device: DeviceId(uuid::Uuid::from_u128(1)),
            role: Role::AmbulanceCrew,
            user: None,
        };
        let csr = key.csr_pem().expect("a request");
        let issued = authority.sign_device(&csr, &principal, DAY, SystemTime::now()).expect("signed");
        let tls = policy::client_config(authority.roots(), vec![issued.der], key.private_key()).expect("fits");
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("has the suite")))
    }

    /// Accepts one connection and dies without a farewell when it is told to: its runtime vanishes under it.
    fn short_lived(config: ServerConfig, secret: [u8; 32]) -> (SocketAddr, impl FnOnce()) {
        let (bound, address) = std::sync::mpsc::channel();
        let (kill, killed) = tokio::sync::oneshot::channel::<()>();
        let life = async move {
            let endpoint = endpoint(([127, 0, 0, 1], 0).into(), config, &secret).expect("a port");
            bound.send(endpoint.local_addr().expect("bound")).expect("the test waits");
            let connection = endpoint.accept().await.expect("open").await.expect("handshake");
            killed.await.expect("the test kills");
            drop(connection);
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let thread = std::thread::spawn(move || runtime().block_on(life));
        let die = move || {
            kill.send(()).expect("still alive");
            thread.join().expect("no panic");
        };
        (address.recv().expect("it starts"), die)
    }

    #[tokio::test]
    async fn a_restarted_gateway_resets_the_connections_of_the_dead_one() {
        let authority = Authority::generate("root", 2 * DAY, SystemTime::now()).expect("an authority");
        let (config, secret) = gateway(&authority);
        let (address, die) = short_lived(config.clone(), secret);
        let client = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a port");
        let connecting = client.connect_with(device(&authority), address, "localhost").expect("a valid name");
        let connection = connecting.await.expect("handshake");
        die();
        let _second = endpoint(address, config, &secret).expect("the port is free");
        let (mut stream, _) = connection.open_bi().await.expect("room for a stream");
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let asking = async {
            // Long enough to be answered: a reset is shorter than what it answers.
            while stream.write_all(&[0; 100]).await.is_ok() {
                tick.tick().await;
            }
            connection.closed().await
        };
        let end = tokio::time::timeout(WITHIN, asking).await.expect("told at once, not by a time-out");
        assert!(matches!(end, ConnectionError::Reset), "{end}");
    }
}

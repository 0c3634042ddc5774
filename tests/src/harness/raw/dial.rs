//! What a raw client dials with, for every transport.

use std::sync::Arc;

use feldakte_certs::policy;
use feldakte_client_sdk::transport::DialConfig;
use quinn::TransportConfig;

use crate::harness::pki;

/// A device's certificate and key, as transports want them.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Over QUIC.
    pub quic: quinn::ClientConfig,
    /// Over TCP; `None` when the test is about QUIC.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How much the gateway may send of the session before it is read.
    pub window: u32,
}

impl Dial {
    /// With any TLS configuration.
    pub fn new(tls: rustls::ClientConfig) -> Self {
        let mut over_tcp = tls.clone();
        over_tcp.alpn_protocols = vec![policy::GRPC_ALPN.to_vec()];
        Self { quic: pki::quic(tls), tls: Some(Arc::new(over_tcp)), window: WINDOW }
    }

    /// The gateway may send little before it is read.
    #[must_use]
    pub fn narrow(mut self, window: u32) -> Self {
        let mut narrow: TransportConfig = pki::transport();
        narrow.stream_receive_window(window.into());
        self.quic.transport_config(Arc::new(narrow));
        Self { window, ..self }
    }
}

impl From<quinn::ClientConfig> for Dial {
    fn from(quic: quinn::ClientConfig) -> Self {
        Self { quic, tls: None, window: WINDOW }
    }
}

impl From<DialConfig> for Dial {
    fn from(DialConfig { quic, grpc }: DialConfig) -> Self {
        Self { quic, tls: Some(grpc), window: WINDOW }
    }
}

const WINDOW: u32 = 1 << 20;

//! Where a gateway listens, and over what a test reaches it.

use std::{fmt, net::SocketAddr};

use feldakte_client_sdk::Transports;
pub use feldakte_client_sdk::transport::Transport;

/// A gateway's address with the transport that a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Where it listens, over UDP and TCP.
    pub socket: SocketAddr,
    /// What carries sessions of raw clients.
    pub over: Transport,
    /// What may carry sessions of the SDK.
    pub transports: Transports,
}

impl Address {
    /// Reached over that alone.
    pub fn over(socket: SocketAddr, over: Transport) -> Self {
        let transports = match over {
            Transport::Quic => Transports::Quic,
            Transport::Grpc => Transports::Grpc,
        };
        Self { socket, over, transports }
    }

    /// Reached over whatever works. Raw clients do not try: they begin with what always does.
    #[must_use]
    pub fn over_any(self) -> Self {
        Self { over: Transport::Grpc, transports: Transports::Both, ..self }
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self::over(socket, Transport::Quic)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// Runs each of these tests over every transport: `async fn test(over: Transport)`.
#[macro_export]
macro_rules! over_both {
    ($($test:ident),+ $(,)?) => {
        mod over_quic {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::harness::address::Transport::Quic).await;
            })+
        }

        mod over_grpc {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::harness::address::Transport::Grpc).await;
            })+
        }
    };
}

//! The sockets on which devices have sessions: QUIC over UDP, and gRPC over TCP on the same port unless it is said otherwise.

use std::{io, net::SocketAddr};

use quinn::{Endpoint, ServerConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::ServeError;
use crate::{config::Config, tls};

/// Bound.
pub(super) struct Bound {
    pub(super) endpoint: Endpoint,
    pub(super) listener: TcpListener,
}

impl Bound {
    pub(super) fn bind(config: &Config, quic: ServerConfig, reset_secret: &[u8; 32]) -> Result<Self, ServeError> {
        let failed = |address| move |source| ServeError::Listen { address, source };
        let mut tries = if config.quic.port() == 0 && config.grpc.is_none() { TRIES } else { 1 };
        loop {
            let endpoint = tls::endpoint(config.quic, quic.clone(), reset_secret).map_err(failed(config.quic))?;
            let beside = endpoint.local_addr().map_err(failed(config.quic))?;
            let address = config.grpc.unwrap_or(beside);
            tries -= 1;
            match listen(address) {
                Ok(listener) => return Ok(Self { endpoint, listener }),
                // Any port will do: one that is free for both.
                Err(_) if tries > 0 => {}
                Err(source) => return Err(ServeError::Listen { address, source }),
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A gateway that comes back must not wait for the last packets of the one before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Ports to be tried when any will do.
const TRIES: u32 = 16;
/// Connections that wait to be accepted: a city that comes back at once. The kernel may hold fewer.
const BACKLOG: i32 = 4096;

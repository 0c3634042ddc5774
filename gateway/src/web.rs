//! Browsers: a physician's page takes calls over a WebSocket, with the messages that devices have, as JSON.
//!
//! A listener of its own, off unless it is configured, behind the same TLS policy, handshakes, shares and deny list as all others.
//! Whoever shows a device's certificate is that device; everybody else says in his first message, never in an address, which
//! user he is. Pages of other origins are refused before anything is said.

use std::sync::Arc;

use feldakte_core::limits;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use self::{
    config::WebConfig,
    line::{Closing, Line},
};
use crate::{
    gateway::Shared,
    handshake::{self, Handshakes, TcpHandshake},
};

mod config;
mod http;
mod line;
mod message;
mod page;
mod session;

pub(crate) use self::config::RawWeb;

/// Where browsers connect.
pub struct Listener {
    /// Bound.
    pub listener: TcpListener,
    /// Each connection is served with the newest.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// Whose pages are let in, and whether there is a page here.
    pub config: WebConfig,
}

/// What all connections share.
struct Door {
    shared: Arc<Shared>,
    config: WebConfig,
    /// Connections that are nobody's yet.
    strangers: Arc<Semaphore>,
}

/// Serves until shutdown, then lets sessions say their last word.
pub async fn serve(shared: Arc<Shared>, listener: Listener, handshakes: Handshakes, shutdown: CancellationToken) {
    let Listener { listener, tls, config } = listener;
    let door = Arc::new(Door { shared, config, strangers: Arc::new(Semaphore::new(limits::WEB_STRANGERS_MAX)) });
    let stop = shutdown.clone();
    let begin = |stream, handshake, acceptor| begin(door.clone(), stream, handshake, acceptor, stop.clone());
    handshake::serve_tcp(listener, tls, handshakes, shutdown, begin).await;
}

async fn begin(
    door: Arc<Door>,
    stream: TcpStream,
    handshake: TcpHandshake,
    acceptor: TlsAcceptor,
    shutdown: CancellationToken,
) {
    // Small messages that somebody waits for.
    if let Err(error) = stream.set_nodelay(true) {
        return debug!(%error, "a socket that was accepted is gone");
    }
    let complete = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        complete = handshake.complete(acceptor, stream) => complete,
    };
    let Some((stream, _place)) = complete else { return };
    let Ok(stranger) = door.strangers.clone().try_acquire_owned() else {
        door.shared.metrics.rejected.get_or_create(&vec![("reason", "busy")]).inc();
        return;
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let socket = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        socket = http::upgraded(&door, stream) => socket,
    };
    if let Some(socket) = socket {
        session::serve(door.shared.clone(), socket, (chain, stranger), shutdown).await;
    }
}

//! Sessions over gRPC: HTTP/2 behind our own TCP and TLS, for networks that let no QUIC through.
//!
//! Whoever gets in here has been judged as over QUIC: the same handshakes, shares and certificates. What a session is, is
//! said in [`crate::session`] alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use feldakte_proto::grpc::SessionName;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    gateway::Shared,
    handshake::{self, Handshakes, TcpHandshake},
    transport::grpc::{Connection, Socket},
};

mod connection;
mod errands;
mod modest;
mod service;

/// Where devices connect over TCP.
pub struct Listener {
    /// Bound.
    pub listener: TcpListener,
    /// Each connection is served with the newest.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
}

/// Tells whether commits succeed at the moment.
pub type Readiness = Arc<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// What all connections share.
pub struct Door {
    /// What sessions share.
    pub shared: Arc<Shared>,
    /// Sessions run here.
    pub sessions: TaskTracker,
    /// Health and reflection.
    errands: errands::Errands,
    /// Open sessions by the names that only their devices know.
    names: Names,
}

/// Sessions by name.
#[derive(Default)]
struct Names(Mutex<HashMap<[u8; 32], Connection>>);

/// Serves until shutdown, then lets sessions say their last word.
pub async fn serve(door: Arc<Door>, listener: Listener, handshakes: Handshakes, shutdown: CancellationToken) {
    let Listener { listener, tls } = listener;
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
    let socket = match Socket::new(stream) {
        Ok(socket) => socket,
        Err(error) => return debug!(%error, "a socket that was accepted is gone"),
    };
    let complete = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        complete = handshake.complete(acceptor, socket) => complete,
    };
    if let Some((stream, _place)) = complete {
        connection::serve(door, stream, shutdown).await;
    }
}

impl Door {
    /// `readiness` tells whether commits succeed.
    pub fn new(shared: Arc<Shared>, sessions: TaskTracker, readiness: Readiness) -> Arc<Self> {
        let (errands, names) = (errands::Errands::new(readiness), Names::default());
        Arc::new(Self { shared, sessions, errands, names })
    }
}

impl Names {
    /// The session answers to that name until [`Names::remove`].
    fn insert(&self, name: &SessionName, session: Connection) {
        self.lock().insert(name.0, session);
    }

    /// The session of that name.
    fn find(&self, name: &SessionName) -> Option<Connection> {
        self.lock().get(&name.0).cloned()
    }

    /// The session has ended.
    fn remove(&self, name: &SessionName) {
        self.lock().remove(&name.0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

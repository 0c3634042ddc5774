//! `feldakte serve`: from a configuration to a running gateway, and down again in order.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use feldakte_core::access::Policy;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::Config,
    control::{self, Control, socket::Socket},
    environment::Environment,
    gateway::{Gateway, Parts},
    ops,
    store::{StoreError, registry::RegistryStore, sqlite::SqliteStore},
    tls,
    trust::{Begin, Trust, TrustError},
    users::{Users, UsersError},
};

/// The gateway could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Certificate, key, authorities or deny list cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What is needed to tell users apart cannot be used.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The store cannot be opened.
    #[error("the store {path} cannot be opened")]
    Store {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {address}; is another gateway running?")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The control socket cannot be bound.
    #[error("cannot listen on {path}; is another gateway running? see [control] socket in the configuration")]
    Control {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store can no longer be trusted, or a task without which nothing works is gone: what was told durable is,
    /// what was not will be pushed again.
    #[error("the gateway had to stop; if its log names the store, check the disk, then start again")]
    Stopped,
}

/// Where a started gateway listens.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// QUIC.
    pub quic: SocketAddr,
    /// Operators' port.
    pub ops: SocketAddr,
}

/// Serves until `shutdown`; tells `ready` where it listens.
///
/// # Errors
/// When it cannot start, or had to stop.
pub async fn run(
    config: &Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Listening),
) -> Result<(), ServeError> {
    let environment = Environment::system();
    let (trust, Begin { quic, reset_secret }) = Trust::load(config, environment.clone())?;
    let store = SqliteStore::open(&config.store, environment.epoch())
        .await
        .map_err(|source| ServeError::Store { path: config.store.clone(), source })?;
    // After the store: its directory is where the keys of tickets are made.
    let users = Users::open(&config.users)?;
    let registry = RegistryStore::open(&config.control.registry)
        .await
        .map_err(|source| ServeError::Store { path: config.control.registry.clone(), source })?;
    let (socket, owner) = bind_control(config).await?;
    let listen = |address| move |source| ServeError::Listen { address, source };
    let endpoint = tls::endpoint(config.quic, quic, &reset_secret).map_err(listen(config.quic))?;
    let ops_listener = ops::bind(config.ops).await.map_err(listen(config.ops))?;
    let listening = Listening {
        quic: endpoint.local_addr().map_err(listen(config.quic))?,
        ops: ops_listener.local_addr().map_err(listen(config.ops))?,
    };
    let (deny, shares) = (trust.deny(), config.shares);
    let parts = Parts { endpoint, store, deny, policy: Policy::default(), users, shares, environment };
    let gateway =
        Gateway::start(parts).await.map_err(|source| ServeError::Store { path: config.store.clone(), source })?;
    let stop_ops = CancellationToken::new();
    let readiness = gateway.readiness();
    let ops = ops::serve(ops_listener, gateway.metrics(), Arc::new(readiness), stop_ops.clone());
    let ops = tokio::spawn(ops);
    let control = Control { shared: gateway.shared(), registry: registry.clone(), owner };
    let control = tokio::spawn(control::serve(socket, Arc::new(control), stop_ops.clone()));
    info!(quic = %listening.quic, ops = %listening.ops, epoch = %gateway.epoch(), "listening");
    ready(listening);
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = gateway.failed() => Err(ServeError::Stopped),
        () = trust.watch(&gateway) => Ok(()),
    };
    gateway.drain().await;
    stop_ops.cancel();
    end_ops(ops).await;
    end_ops(control).await;
    registry.close().await;
    result
}

async fn bind_control(config: &Config) -> Result<(Socket, u32), ServeError> {
    let path = &config.control.socket;
    let failed = |source| ServeError::Control { path: path.clone(), source };
    let socket = Socket::bind(path, config.control.mode).await.map_err(failed)?;
    let owner = socket.owner().map_err(failed)?;
    Ok((socket, owner))
}

async fn end_ops(mut ops: JoinHandle<io::Result<()>>) {
    match tokio::time::timeout(OPS_END_WITHIN, &mut ops).await {
        Ok(Ok(Err(error))) => warn!(%error, "a listener for operators failed"),
        Ok(_) => {}
        // Graceful means without end while somebody has sent half a request.
        Err(_) => ops.abort(),
    }
}

/// Time for requests to the operators' port that are under way.
const OPS_END_WITHIN: Duration = Duration::from_secs(1);

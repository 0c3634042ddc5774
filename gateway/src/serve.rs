//! `feldakte serve`: from a configuration to a running gateway, and down again in order.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use feldakte_core::ids::TenantId;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::doors::Doors;
use crate::{
    audit::key::AuditKeyError,
    config::Config,
    enrolment::CaError,
    environment::Environment,
    gateway::{Gateway, Parts},
    grpc,
    keys::tenant::TenantKeysError,
    ops,
    relay::{Relay, SecretError},
    store::StoreError,
    trust::{Begin, Trust, TrustError},
    users::{Users, UsersError},
    web,
};

mod bound;
mod doors;
mod issuer;
mod stores;

use self::{bound::Bound, stores::Stores};

/// The gateway could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Certificate, key, authorities or deny list cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What is needed to tell users apart cannot be used.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// What is shared with TURN servers cannot be used.
    #[error("the secrets of TURN servers cannot be used")]
    Relay(#[from] SecretError),
    /// The store cannot be opened.
    #[error("the store {path} cannot be opened")]
    Store {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The keys of tenants cannot be used.
    #[error("the keys of tenants cannot be used")]
    TenantKeys(#[from] TenantKeysError),
    /// Case keys are wrapped by a tenant key that is not there.
    #[error("the key that wraps the case keys of {tenant} is missing: put back the file under [keys] tenant_keys")]
    TenantKeyMissing {
        /// Whose.
        tenant: TenantId,
    },
    /// The key of the audit log cannot be used.
    #[error("the audit log cannot be signed")]
    AuditKey(#[from] AuditKeyError),
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
    /// The authority cannot be used.
    #[error("the authority that certifies devices cannot be used")]
    Ca(#[from] CaError),
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
    /// gRPC.
    pub grpc: SocketAddr,
    /// Operators' port.
    pub ops: SocketAddr,
    /// Browsers; `None` in a gateway that serves none.
    pub web: Option<SocketAddr>,
    /// Enrolment; `None` in a gateway that issues nothing.
    pub enrol: Option<SocketAddr>,
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
    let relay = config.relay.clone().map(Relay::open).transpose()?.map(Arc::new);
    let (trust, Begin { quic, reset_secret }) = Trust::load(config, relay.clone(), environment.clone())?;
    let Stores { store, matters, keyring, registry, audit, audit_key } = Stores::open(config, &environment).await?;
    // After the store: its directory is where the keys of tickets are made.
    let users = Users::open(&config.users)?;
    let doors = Doors::bind(config, (registry, keyring), &trust, &environment).await?;
    let listen = |address| move |source| ServeError::Listen { address, source };
    let Bound { endpoint, listener } = Bound::bind(config, quic, &reset_secret)?;
    let browsers = bind_web(config, &trust).await?;
    let web_address = browsers.as_ref().map(|web| web.listener.local_addr()).transpose();
    let ops_listener = ops::bind(config.ops).await.map_err(listen(config.ops))?;
    let listening = Listening {
        enrol: doors.enrol(),
        web: web_address.map_err(listen(config.quic))?,
        quic: endpoint.local_addr().map_err(listen(config.quic))?,
        grpc: listener.local_addr().map_err(listen(config.quic))?,
        ops: ops_listener.local_addr().map_err(listen(config.ops))?,
    };
    let parts = Parts {
        endpoint,
        grpc: Some(grpc::Listener { listener, tls: trust.grpc() }),
        web: browsers,
        store,
        matters,
        audit,
        audit_key,
        deny: trust.deny(),
        enrolment: doors.enrolment(),
        policy: config.policy.clone(),
        users,
        relay,
        calls: config.calls.clone(),
        shares: config.shares,
        environment,
    };
    let gateway =
        Gateway::start(parts).await.map_err(|source| ServeError::Store { path: config.store.clone(), source })?;
    let stop_ops = CancellationToken::new();
    let readiness = gateway.readiness();
    let ops = ops::serve(ops_listener, gateway.metrics(), Arc::new(readiness), stop_ops.clone());
    let ops = tokio::spawn(ops);
    let doors = doors.open(&gateway, listening.quic.port());
    info!(quic = %listening.quic, grpc = %listening.grpc, ops = %listening.ops, epoch = %gateway.epoch(), "listening");
    ready(listening);
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = gateway.failed() => Err(ServeError::Stopped),
        () = trust.watch(&gateway) => Ok(()),
        () = doors.control.keep_seen() => Ok(()),
    };
    doors.close().await;
    gateway.drain().await;
    stop_ops.cancel();
    end_listener(ops).await;
    result
}

async fn bind_web(config: &Config, trust: &Trust) -> Result<Option<web::Listener>, ServeError> {
    let Some(config) = config.web.clone() else { return Ok(None) };
    let failed = |source| ServeError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    Ok(Some(web::Listener { listener, tls: trust.web(), config }))
}

async fn end_listener(mut ops: JoinHandle<io::Result<()>>) {
    match tokio::time::timeout(OPS_END_WITHIN, &mut ops).await {
        Ok(Ok(Err(error))) => warn!(%error, "a listener for operators failed"),
        Ok(_) => {}
        // Graceful means without end while somebody has sent half a request.
        Err(_) => ops.abort(),
    }
}

/// Time for requests to the operators' port that are under way.
const OPS_END_WITHIN: Duration = Duration::from_secs(1);

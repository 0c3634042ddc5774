//! `feldakte serve`: from a configuration to a running gateway, and down again in order.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use feldakte_certs::{
    deny::{Denials, DenyError, DenyList},
    pem,
};
use feldakte_core::{
    access::Policy,
    audit::{Act, Actor, Chain, Record},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    audit::{AuditKey, key::AuditKeyError},
    config::Config,
    control::{self, Control, socket::Socket},
    environment::Environment,
    gateway::{Gateway, Parts},
    ops,
    store::{StoreError, audit::sqlite::SqliteAuditStore, registry::RegistryStore, sqlite::SqliteStore},
    tls::{self, Credentials, TlsError},
    users::{Users, UsersError},
};

/// The gateway could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file cannot be read.
    #[error("cannot read {path}; {hint}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A PEM file does not hold what it should.
    #[error("{path} cannot be used")]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] TlsError),
    /// The deny list is malformed: an unreadable list must not open the door.
    #[error("the deny list {path} is malformed")]
    DenyList {
        /// Which file.
        path: PathBuf,
        /// Which line.
        #[source]
        source: DenyError,
    },
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
    let deny = DenyList::default();
    if let Some(path) = &config.deny_list {
        deny.replace(read_deny_list(path)?);
    }
    let credentials = read_credentials(config)?;
    let reset_secret = tls::reset_secret(&credentials.key);
    let server = tls::server_config(credentials, deny.clone())?;
    let environment = Environment::system();
    let store = SqliteStore::open(&config.store, environment.epoch())
        .await
        .map_err(|source| ServeError::Store { path: config.store.clone(), source })?;
    // After the store: its directory is where the keys of tickets are made.
    let users = Users::open(&config.users)?;
    let registry = RegistryStore::open(&config.control.registry)
        .await
        .map_err(|source| ServeError::Store { path: config.control.registry.clone(), source })?;
    let (socket, owner) = bind_control(config).await?;
    let (audit, audit_key) = open_audit(config).await?;
    let listen = |address| move |source| ServeError::Listen { address, source };
    let endpoint = tls::endpoint(config.quic, server, &reset_secret).map_err(listen(config.quic))?;
    let ops_listener = ops::bind(config.ops).await.map_err(listen(config.ops))?;
    let listening = Listening {
        quic: endpoint.local_addr().map_err(listen(config.quic))?,
        ops: ops_listener.local_addr().map_err(listen(config.ops))?,
    };
    let policy = Policy::default();
    let parts = Parts { endpoint, store, audit, audit_key, deny: deny.clone(), policy, users, environment };
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
        () = watch_deny_list(config.deny_list.as_deref(), &deny, &gateway) => Ok(()),
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

async fn open_audit(config: &Config) -> Result<(Arc<SqliteAuditStore>, Arc<AuditKey>), ServeError> {
    let failed = |source| ServeError::Store { path: config.audit.clone(), source };
    let audit = SqliteAuditStore::open(&config.audit).await.map_err(failed)?;
    Ok((audit, Arc::new(AuditKey::load_or_create(&config.audit_key)?)))
}

async fn end_ops(mut ops: JoinHandle<io::Result<()>>) {
    match tokio::time::timeout(OPS_END_WITHIN, &mut ops).await {
        Ok(Ok(Err(error))) => warn!(%error, "a listener for operators failed"),
        Ok(_) => {}
        // Graceful means without end while somebody has sent half a request.
        Err(_) => ops.abort(),
    }
}

fn read_credentials(config: &Config) -> Result<Credentials, ServeError> {
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |source| ServeError::Credentials { path, source: TlsError::Pem(source) }
    };
    Ok(Credentials {
        chain: pem::certificates(&read(&config.certificate)?).map_err(bad(&config.certificate))?,
        key: pem::private_key(&read(&config.key)?).map_err(bad(&config.key))?,
        device_roots: pem::roots(&read(&config.device_ca)?).map_err(bad(&config.device_ca))?,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ServeError> {
    let hint = "`feldakte pki create` makes a development PKI; see [tls] in the configuration";
    std::fs::read(path).map_err(|source| ServeError::Read { path: path.to_owned(), hint, source })
}

fn read_deny_list(path: &Path) -> Result<Denials, ServeError> {
    let hint = "an empty file denies nobody; see [tls] deny_list in the configuration";
    let text =
        std::fs::read_to_string(path).map_err(|source| ServeError::Read { path: path.to_owned(), hint, source })?;
    text.parse().map_err(|source| ServeError::DenyList { path: path.to_owned(), source })
}

/// Takes up a changed deny list within a second. A list that cannot be read keeps the last one in force.
async fn watch_deny_list(path: Option<&Path>, deny: &DenyList, gateway: &Gateway) {
    let Some(path) = path else { return std::future::pending().await };
    let mut seen = modified(path);
    loop {
        tokio::time::sleep(DENY_LIST_LOOK_EVERY).await;
        let now = modified(path);
        if now == seen {
            continue;
        }
        seen = now;
        match read_deny_list(path) {
            Ok(denials) => {
                deny.replace(denials);
                gateway.audit().note(Record::new(Chain::Gateway, Actor::Gateway, Act::ConfigurationReloaded));
                info!(closed = gateway.close_lapsed(), "deny list replaced");
            }
            Err(error) => error!(%error, "the deny list cannot be used; the last one stays in force"),
        }
    }
}

fn modified(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Time for requests to the operators' port that are under way.
const OPS_END_WITHIN: Duration = Duration::from_secs(1);

const DENY_LIST_LOOK_EVERY: Duration = Duration::from_millis(300);

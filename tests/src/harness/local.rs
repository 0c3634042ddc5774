//! A gateway in this process, over real sockets, on a SQLite file: everything but the command line.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use feldakte_certs::deny::DenyList;
use feldakte_core::{access::Policy, call::Plan, limits::Shares};
use feldakte_gateway::{
    audit::AuditKey,
    environment::Environment,
    gateway::{Gateway, Parts},
    grpc::Listener,
    keys::TenantKeys,
    metrics::Metrics,
    store::{
        SharedStore,
        audit::{SharedAuditStore, sqlite::SqliteAuditStore},
        keyring::Keyring,
        matters::{SharedMatterStore, sqlite::SqliteMatterStore},
        sealed::{SealedMatters, SealedStore},
        sqlite::SqliteStore,
    },
    tls::{self, Credentials},
    users::{Users, UsersConfig},
};
use quinn::Endpoint;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};

use super::{
    LOOK_AGAIN,
    address::{Address, Transport},
    new_epoch,
    pki::Pki,
    process,
    region::Region,
    within,
};
use crate::{memory_audit_store::MemoryAuditStore, memory_matter_store::MemoryMatterStore, memory_store::MemoryStore};

/// A directory with a PKI and a gateway's store, and the port its gateways listen on.
pub struct Site {
    /// Certificates.
    pub pki: Pki,
    /// What devices may use.
    pub shares: Shares,
    /// Where calls go.
    pub calls: Plan,
    /// What each role may do at all, in gateways in this process.
    pub policy: Policy,
    /// Over what tests reach its gateways.
    pub over: Transport,
    dir: TempDir,
    port: Mutex<u16>,
    /// Where gateways in this process stand; on loopback without one.
    region: Option<Arc<Region>>,
}

/// A running gateway.
pub struct LocalGateway {
    /// Where it listens.
    pub address: Address,
    /// The gateway itself.
    pub gateway: Gateway,
    /// Its store, as it is on the disk.
    pub store: Arc<SqliteStore>,
    /// The keys of what is in it.
    pub keyring: Arc<Keyring>,
    /// Whom it denies.
    pub deny: DenyList,
}

/// What a gateway stands on.
struct Disks {
    store: SharedStore,
    matters: SharedMatterStore,
    audit: SharedAuditStore,
}

/// A clock that a test moves.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Site {
    /// A fresh one in the region that the environment wants, reached over QUIC.
    pub fn new() -> Self {
        Self::over(Transport::Quic)
    }

    /// The same, reached over that.
    pub fn over(over: Transport) -> Self {
        Self::anywhere(over, Region::of_environment())
    }

    /// A fresh one on loopback, whatever the environment wants: for a test that needs more bandwidth than radio has.
    pub fn on_loopback(over: Transport) -> Self {
        Self::anywhere(over, None)
    }

    /// A fresh one in that region, reached over that.
    pub fn within(region: Arc<Region>, over: Transport) -> Self {
        Self::anywhere(over, Some(region))
    }

    fn anywhere(over: Transport, region: Option<Arc<Region>>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pki = Pki::create(&dir.path().join("pki"));
        Self {
            pki,
            shares: Shares::DEFAULT,
            calls: Plan::empty(),
            policy: Policy::default(),
            over,
            dir,
            port: Mutex::new(0),
            region,
        }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the gateway's store is.
    pub fn store_path(&self) -> PathBuf {
        self.dir.path().join("gateway.sqlite")
    }

    /// Where the keys of its cases are.
    pub fn keyring_path(&self) -> PathBuf {
        self.dir.path().join("keys.sqlite")
    }

    /// Where its audit log is.
    pub fn audit_path(&self) -> PathBuf {
        self.dir.path().join("audit.sqlite")
    }

    /// Starts a gateway in this process on what is there, where the last one listened.
    pub async fn start(&self) -> LocalGateway {
        self.start_in(Environment::system(), local_users()).await
    }

    /// The same with a clock of the test's.
    pub async fn start_at(&self, clock: &Clock) -> LocalGateway {
        self.start_in(at(clock), local_users()).await
    }

    /// The same, and it believes what the configuration says about users.
    pub async fn start_believing(&self, clock: &Clock, users: &UsersConfig) -> LocalGateway {
        self.start_in(at(clock), Users::open(users).expect("the configuration fits")).await
    }

    /// Starts a gateway on a store of the test's, where the last one listened.
    pub async fn start_on(&self, store: SharedStore) -> (Gateway, Address) {
        self.start_on_in(store, Environment::system()).await
    }

    /// The same with a clock of the test's.
    pub async fn start_on_at(&self, store: SharedStore, clock: &Clock) -> (Gateway, Address) {
        self.start_on_in(store, at(clock)).await
    }

    async fn start_on_in(&self, store: SharedStore, environment: Environment) -> (Gateway, Address) {
        let disks = Disks { store, matters: self.matters(None).await, audit: self.audit().await };
        self.serve(disks, DenyList::default(), environment, local_users()).await
    }

    /// Starts a gateway on stores in memory. Nothing of it waits for another thread: the runtime's clock may be paused.
    pub async fn start_in_memory(&self) -> (Gateway, Address) {
        let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
        let disks = Disks { store, matters: MemoryMatterStore::new(), audit: MemoryAuditStore::new() };
        self.serve(disks, DenyList::default(), Environment::system(), local_users()).await
    }

    /// Starts a gateway on an audit store of the test's, where the last one listened.
    pub async fn start_audited(&self, audit: SharedAuditStore) -> LocalGateway {
        self.start_with(audit, Environment::system(), local_users()).await
    }

    async fn start_in(&self, environment: Environment, users: Users) -> LocalGateway {
        self.start_with(self.audit().await, environment, users).await
    }

    async fn start_with(&self, audit: SharedAuditStore, environment: Environment, users: Users) -> LocalGateway {
        let deny = DenyList::default();
        let (store, keyring, sealed) = self.open_store(&environment).await;
        let disks = Disks { store: sealed, matters: self.matters(Some(keyring.clone())).await, audit };
        let (gateway, address) = self.serve(disks, deny.clone(), environment, users).await;
        LocalGateway { address, gateway, store, keyring, deny }
    }

    async fn audit(&self) -> SharedAuditStore {
        SqliteAuditStore::open(&self.audit_path()).await.expect("the audit log opens")
    }

    /// What waits for supervisors and lost devices; in the open on a store of the test's.
    async fn matters(&self, keyring: Option<Arc<Keyring>>) -> SharedMatterStore {
        let matters = SqliteMatterStore::open(&self.dir().join("matters.sqlite")).await.expect("the matters open");
        match keyring {
            Some(keyring) => SealedMatters::new(matters, keyring),
            None => matters,
        }
    }

    async fn open_store(&self, environment: &Environment) -> (Arc<SqliteStore>, Arc<Keyring>, SharedStore) {
        let store = SqliteStore::open(&self.store_path(), environment.epoch()).await.expect("the store opens");
        let keys = TenantKeys::in_file(&self.dir().join("tenant.keys")).expect("the tenant keys");
        let keyring = Keyring::open(&self.keyring_path(), Arc::new(keys)).await.expect("the keyring opens");
        let sealed = SealedStore::pair(store.clone(), keyring.clone()).await.expect("they belong together");
        (store, keyring, sealed)
    }

    async fn serve(
        &self,
        Disks { store, matters, audit }: Disks,
        deny: DenyList,
        environment: Environment,
        users: Users,
    ) -> (Gateway, Address) {
        let (chain, key) = self.pki.gateway();
        let reset_secret = tls::reset_secret(&key);
        let credentials = Credentials { chain, key, device_roots: self.pki.roots() };
        let over_tcp = tls::grpc_config(&credentials, deny.clone()).expect("a server configuration");
        let server = tls::server_config(credentials, deny.clone()).expect("a server configuration");
        let (endpoint, listener) = self.bind(&server, &reset_secret).await;
        let address = endpoint.local_addr().expect("a bound endpoint has an address");
        self.remember(address);
        // Whoever holds the sender could replace it; nobody does.
        let grpc = Some(Listener { listener, tls: watch::Sender::new(over_tcp).subscribe() });
        let audit_key = Arc::new(AuditKey::load_or_create(&self.dir.path().join("audit.key")).expect("a key"));
        let (policy, shares, enrolment, relay, web) = (self.policy.clone(), self.shares, None, None, None);
        let parts = Parts {
            endpoint,
            grpc,
            web,
            store,
            matters,
            audit,
            audit_key,
            deny,
            enrolment,
            policy,
            users,
            relay,
            shares,
            calls: self.calls.clone(),
            environment,
        };
        let gateway = Gateway::start(parts).await;
        (gateway.expect("the store can be read"), Address::over(address, self.over))
    }

    /// Starts a gateway as a process of its own, where the last one listened.
    pub async fn spawn(&self) -> process::ChildGateway {
        self.spawn_with("").await
    }

    /// The same with lines added to its configuration.
    pub async fn spawn_with(&self, settings: &str) -> process::ChildGateway {
        let command = process::Serve { site: self, settings }.command().await;
        let mut gateway = process::ChildGateway::start(command).await;
        gateway.address = Address::over(gateway.address.socket, self.over);
        self.remember(gateway.quic);
        gateway
    }

    /// Where the next gateway listens on loopback; port 0 before the first.
    pub fn listen(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, *self.port.lock().expect("nothing panics while it is held")).into()
    }

    /// What listens here from now on.
    pub fn remember(&self, address: SocketAddr) {
        *self.port.lock().expect("nothing panics while it is held") = address.port();
    }

    /// The gateway before may take a moment to let go of its sockets; a port that is new may be free for UDP alone.
    async fn bind(&self, server: &quinn::ServerConfig, reset_secret: &[u8; 32]) -> (Endpoint, TcpListener) {
        within("the gateway's port is free", async {
            loop {
                if let Ok(bound) = self.try_bind(server, reset_secret) {
                    return bound;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
    }

    fn try_bind(&self, server: &quinn::ServerConfig, reset_secret: &[u8; 32]) -> io::Result<(Endpoint, TcpListener)> {
        let bind = |at: SocketAddr| {
            let endpoint = tls::endpoint(at, server.clone(), reset_secret)?;
            let listener = std::net::TcpListener::bind(endpoint.local_addr()?)?;
            listener.set_nonblocking(true)?;
            Ok((endpoint, TcpListener::from_std(listener)?))
        };
        let here = self.listen();
        match &self.region {
            None => bind(here),
            Some(region) => region.gateway().enter(|| bind((region.gateway_address(), here.port()).into())),
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalGateway {
    /// What an operator can watch.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.gateway.metrics()
    }

    /// Ends it in order.
    pub async fn stop(self) {
        within("the gateway drains", self.gateway.drain()).await;
    }
}

impl Clock {
    /// The system's time, moved.
    pub fn now(&self) -> SystemTime {
        let moved = self.0.load(Ordering::SeqCst);
        let by = Duration::from_secs(moved.unsigned_abs());
        if moved < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    /// The same in milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> i64 {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_millis()).expect("a time of this age")
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(seconds(by), Ordering::SeqCst);
    }

    /// Moves it back.
    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(seconds(by), Ordering::SeqCst);
    }
}

fn at(clock: &Clock) -> Environment {
    let clock = clock.clone();
    Environment::simulated(Arc::new(move || clock.now()), rand::random())
}

fn local_users() -> Users {
    Users::local_only().expect("randomness")
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).expect("a span of a test's")
}

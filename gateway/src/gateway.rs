//! The running gateway: its listeners, the sequencer, the projector, and what they share.

use std::{pin::Pin, sync::Arc, time::Duration};

use feldakte_certs::{deny::DenyList, verifier::DeviceVerifier};
use feldakte_core::{
    access::Policy,
    audit::{Act, Actor, Chain, Record},
    call::Plan,
    ids::{Epoch, Position, TenantId},
    limits::{self, Shares},
};
use quinn::Endpoint;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use self::{listeners::Listeners, vital::Vital};
use crate::{
    addresses::Addresses,
    audit::{Audit, AuditKey},
    census::Census,
    enrolment::Enrolment,
    environment::Environment,
    exchange::{self, Exchange},
    grpc,
    hub::Hub,
    ledgers::Ledgers,
    live::Live,
    metrics::Metrics,
    projector::{self, Backlog},
    quotas::Quotas,
    registry::{Registry, Seen},
    relay::Relay,
    requests::Asked,
    sequencer::{Sequencer, Submission},
    store::{Head, SharedStore, StoreError, audit::SharedAuditStore, matters::SharedMatterStore},
    turnstile::Turnstile,
    users::{self, Users},
    web,
    wipes::Wipes,
};

mod authority;
mod drain;
mod evidence;
mod listeners;
mod vital;

pub use authority::{AuthorityError, Merged};
pub use evidence::Preview;

/// What all sessions share.
pub struct Shared {
    /// What survives power loss.
    pub store: SharedStore,
    /// What waits for a supervisor or a lost device.
    pub matters: SharedMatterStore,
    /// Devices that were ordered to destroy what they hold.
    pub wipes: Wipes,
    /// How often devices have asked for what is rare.
    pub asked: Asked,
    /// Who did what to which document.
    pub audit: Audit,
    /// The log's incarnation.
    pub epoch: Epoch,
    /// Admission state of documents.
    pub ledgers: Ledgers,
    /// Who is listening.
    pub hub: Arc<Hub>,
    /// The way into the log.
    pub submissions: mpsc::Sender<Submission>,
    /// Bytes that may still wait in it: see [`limits::SEQUENCER_BYTES`].
    pub room: Arc<Semaphore>,
    /// Documents that wait for a snapshot.
    pub backlog: Arc<Backlog>,
    /// Open connections.
    pub registry: Registry,
    /// Certificates that are no longer taken.
    pub deny: DenyList,
    /// What remote addresses use; every listener asks it.
    pub addresses: Arc<Addresses>,
    /// Sessions that begin.
    pub turnstile: Arc<Turnstile>,
    /// Live vitals between the devices of a call.
    pub live: Arc<Live>,
    /// What devices push and store.
    pub quotas: Quotas,
    /// Issues certificates; `None` in a gateway without an authority.
    pub enrolment: Option<Arc<Enrolment>>,
    /// Devices that were in a session since somebody wrote it down.
    pub seen: Seen,
    /// What each role may do at all.
    pub policy: Policy,
    /// Whom to believe about users.
    pub users: Users,
    /// Gives credentials for TURN servers; `None` when there are none.
    pub relay: Option<Arc<Relay>>,
    /// Teleconsultations.
    pub exchange: Exchange,
    /// What an operator can watch.
    pub metrics: Arc<Metrics>,
    /// Time, randomness, threads.
    pub environment: Environment,
    /// Everything that runs.
    pub tasks: TaskTracker,
}

/// What a gateway is made of.
pub struct Parts {
    /// A server endpoint that demands client certificates: see [`crate::tls`].
    pub endpoint: Endpoint,
    /// Where devices connect over TCP; `None` for nowhere.
    pub grpc: Option<grpc::Listener>,
    /// Where browsers connect; `None` for nowhere.
    pub web: Option<web::Listener>,
    /// The store.
    pub store: SharedStore,
    /// What waits for a supervisor or a lost device.
    pub matters: SharedMatterStore,
    /// Where the audit log is kept.
    pub audit: SharedAuditStore,
    /// What signs it.
    pub audit_key: Arc<AuditKey>,
    /// Certificates that are no longer taken; the same handle the endpoint's verifier asks.
    pub deny: DenyList,
    /// Issues certificates; `None` in a gateway without an authority.
    pub enrolment: Option<Arc<Enrolment>>,
    /// What each role may do at all.
    pub policy: Policy,
    /// Where calls go.
    pub calls: Plan,
    /// What an address and a device may use.
    pub shares: Shares,
    /// Whom to believe about users.
    pub users: Users,
    /// Gives credentials for TURN servers; `None` when there are none.
    pub relay: Option<Arc<Relay>>,
    /// Time, randomness, threads.
    pub environment: Environment,
}

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    sessions: TaskTracker,
    stop_sessions: CancellationToken,
    fatal: CancellationToken,
    projector: Vital,
    sequencer: Vital,
    scribe: Vital,
    exchange: Vital,
}

impl Gateway {
    /// Starts to serve.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(parts: Parts) -> Result<Gateway, StoreError> {
        let Parts {
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
            calls,
            shares,
            environment,
        } = parts;
        let epoch = store.epoch().await?;
        let wipes = Wipes::new(matters.wipes().await?);
        let exchange = Exchange::restore(calls, &matters, environment.latest_ms()).await?;
        let (submissions, queue) = mpsc::channel(limits::SEQUENCER_QUEUE);
        let metrics = Arc::<Metrics>::default();
        let (audit, scribe) = Audit::new(audit, audit_key, environment.clone());
        let shared = Arc::new(Shared {
            store: store.clone(),
            matters,
            wipes,
            asked: Asked::default(),
            audit: audit.clone(),
            epoch,
            ledgers: Ledgers::new(limits::LEDGER_CACHE_BYTES),
            hub: Arc::default(),
            submissions,
            room: Arc::new(Semaphore::new(limits::SEQUENCER_BYTES)),
            backlog: Arc::default(),
            registry: Registry::default(),
            deny,
            addresses: Addresses::new(shares),
            quotas: Quotas::new(shares),
            enrolment,
            seen: Seen::default(),
            policy,
            users,
            relay,
            exchange,
            turnstile: Turnstile::new(metrics.clone()),
            live: Live::new(metrics.clone()),
            metrics,
            environment,
            tasks: TaskTracker::new(),
        });
        let (fatal, stop_sessions) = (CancellationToken::new(), CancellationToken::new());
        let sequencer = Sequencer {
            store,
            audit,
            hub: shared.hub.clone(),
            metrics: shared.metrics.clone(),
            backlog: shared.backlog.clone(),
            fatal: fatal.clone(),
        };
        let scribe = Vital::spawn("audit", fatal.clone(), |stop| scribe.run(stop));
        shared.audit.record_or_note(Record::new(Chain::Gateway, Actor::Gateway, Act::GatewayStarted)).await;
        let sequencer = Vital::spawn("sequencer", fatal.clone(), |stop| sequencer.run(queue, stop));
        let projector = Vital::spawn("projector", fatal.clone(), |stop| projector::run(shared.clone(), stop));
        let exchange = Vital::spawn("calls", fatal.clone(), |stop| exchange::run(shared.clone(), stop));
        // What ended while the gateway was down is in the log before anybody reads on, unless the log cannot be written.
        let _ = tokio::time::timeout(ENDED_WITHIN, shared.end_lapsed_grants()).await;
        let sessions = TaskTracker::new();
        let ready = readiness_of(&shared, &fatal, &stop_sessions);
        let listeners = Listeners { shared: shared.clone(), sessions: sessions.clone(), stop: stop_sessions.clone() };
        listeners.open(endpoint.clone(), (grpc, web), Arc::new(ready));
        shared.tasks.spawn(watch_lapses(shared.clone(), stop_sessions.clone()));
        shared.tasks.spawn(watch_grants(shared.clone(), stop_sessions.clone()));
        users::watch(&shared, &stop_sessions);
        Ok(Gateway { shared, endpoint, sessions, stop_sessions, fatal, projector, sequencer, scribe, exchange })
    }

    /// What an operator can watch.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.shared.metrics.clone()
    }

    /// What sessions and the control plane share.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Who did what to which document.
    pub fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// The log's incarnation.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// How many devices are connected.
    pub fn connections(&self) -> usize {
        self.shared.registry.len()
    }

    /// What the gateway holds in memory on behalf of its devices.
    pub fn census(&self) -> Census {
        Census::of(&self.shared)
    }

    /// Whether commits succeed at the moment.
    pub async fn is_ready(&self) -> bool {
        readiness(&self.shared, &self.fatal, &self.stop_sessions).await
    }

    /// A check of [`Gateway::is_ready`] that outlives this value.
    pub fn readiness(&self) -> impl Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Clone + use<> {
        readiness_of(&self.shared, &self.fatal, &self.stop_sessions)
    }

    /// Resolves when the process has to end: the store can no longer be trusted, or sequencer or projector are gone.
    pub async fn failed(&self) {
        self.fatal.cancelled().await;
    }

    /// Checks live connections against the deny list, right after it was replaced. Returns how many were closed.
    pub fn close_lapsed(&self) -> usize {
        self.shared.close_lapsed()
    }

    /// Closes live connections whose certificate `devices` no longer accepts, right after authorities were taken off.
    /// Returns how many.
    pub fn close_untrusted(&self, devices: &DeviceVerifier) -> usize {
        self.shared.registry.close_untrusted(self.shared.environment.latest(), devices)
    }

    /// New connections are served with this; those that are open live on.
    pub fn replace_tls(&self, config: quinn::ServerConfig) {
        self.endpoint.set_server_config(Some(config));
    }
}

impl Shared {
    /// Closes live connections that stand on a certificate or a sign-in that has ended or is denied. Returns how many.
    pub fn close_lapsed(&self) -> usize {
        let Shared { registry, environment, deny, .. } = self;
        registry.close_lapsed(environment.latest(), deny) + registry.close_signed_out(environment.latest_ms(), deny)
    }

    /// Makes sure that the hub knows where the tenant's log ends; returns where a restore went back to.
    pub async fn open_tenant(&self, tenant: &TenantId) -> Result<Option<Position>, StoreError> {
        let Head { position, restored_to } = self.store.head(tenant).await?;
        self.hub.open_tenant(tenant, position);
        Ok(restored_to)
    }
}

fn readiness_of(
    shared: &Arc<Shared>,
    fatal: &CancellationToken,
    stop: &CancellationToken,
) -> impl Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Clone + use<> {
    let (shared, fatal, stop) = (shared.clone(), fatal.clone(), stop.clone());
    move || {
        let (shared, fatal, stop) = (shared.clone(), fatal.clone(), stop.clone());
        Box::pin(async move { readiness(&shared, &fatal, &stop).await })
    }
}

async fn readiness(shared: &Shared, fatal: &CancellationToken, stop: &CancellationToken) -> bool {
    let going = !fatal.is_cancelled() && !stop.is_cancelled();
    going && shared.audit.is_available() && shared.metrics.store_ready.get() == 1 && shared.store.probe().await.is_ok()
}

/// Closes connections whose certificate expires or whose user's sign-in ends while they are open, and keeps ledgers and
/// quotas within their budget.
async fn watch_lapses(shared: Arc<Shared>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        shared.metrics.clock_behind_seconds.set(shared.environment.behind().as_secs() as i64);
        let closed = shared.registry.close_expired(shared.environment.latest());
        if closed > 0 {
            info!(closed, "certificates expired");
        }
        let closed = shared.registry.close_signed_out(shared.environment.latest_ms(), &shared.deny);
        if closed > 0 {
            info!(closed, "sign-ins ended");
        }
        shared.ledgers.trim();
        shared.quotas.trim();
    }
}

/// Beside the other lapses: a log that cannot be written must not hold those up.
async fn watch_grants(shared: Arc<Shared>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = shared.end_lapsed_grants() => {}
        }
    }
}

/// A permit that lapses closes what it opened within this time.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the first sessions wait for the log to take the ends of grants.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

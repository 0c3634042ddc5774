//! What outlives restarts of the simulated machines: their disks, their network ports, and how they are told what
//! happens to them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_core::{access::Principal, ids::Epoch};
use feldakte_gateway::audit::AuditKey;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;

use super::{
    gateway::GatewayOrder,
    network::Port,
    plan::{self, Plan},
    tablet::{Report, TabletOrder},
    trace::Trace,
    watched_local_store::DiskFaults,
    watched_store::{CommitFaults, Permits},
    witness::{Suspect, Witness},
};
use crate::{
    memory_audit_store::MemoryAuditStore,
    memory_local_store::{Durability, MemoryLocalStore},
    memory_matter_store::MemoryMatterStore,
    memory_store::MemoryStore,
};

/// What is deliberately wrong with the world: each must be noticed by an invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// The gateway's store acknowledges before it syncs.
    LyingGatewayStore,
    /// The tablets' stores acknowledge before they sync.
    LyingTabletStore,
    /// The gateway's store reports everything as granted.
    IgnoredPermits,
}

/// Everything that outlives restarts.
pub struct World {
    /// What is to happen.
    pub plan: Plan,
    /// What has happened.
    pub trace: Trace,
    /// Who judges it.
    pub witness: Arc<Witness>,
    /// The gateway's machine.
    pub gateway: GatewayMachine,
    /// The tablets.
    pub tablets: Vec<TabletMachine>,
    /// Whether users still act.
    pub is_active: AtomicBool,
}

/// The gateway's machine.
pub struct GatewayMachine {
    /// Its disk.
    pub store: Arc<MemoryStore>,
    /// Its audit log's disk.
    pub audit: Arc<MemoryAuditStore>,
    /// Its matters' disk.
    pub matters: Arc<MemoryMatterStore>,
    /// What signs the audit log. The simulation never prints a signature: they differ each time.
    pub audit_key: Arc<AuditKey>,
    /// What goes wrong with it.
    pub faults: Arc<CommitFaults>,
    /// What its store says about grants.
    pub permits: Permits,
    /// Its way into the network.
    pub port: Port,
    /// What it is told.
    pub orders: Orders<GatewayOrder>,
    /// Its power switch.
    pub power: Power,
    seeds: Mutex<StdRng>,
}

/// A tablet.
pub struct TabletMachine {
    /// Who it is.
    pub principal: Principal,
    /// Its place in the cast.
    pub cast: usize,
    /// Its disk; replaced at each opening.
    pub store: Mutex<Arc<MemoryLocalStore>>,
    /// What goes wrong with the disk.
    pub faults: Arc<DiskFaults>,
    /// Whether the app wants a connection.
    pub wants_link: AtomicBool,
    /// Its way into the network.
    pub port: Port,
    /// What its user is told to do.
    pub orders: Orders<TabletOrder>,
    /// Its power switch.
    pub power: Power,
    /// What its app showed when it was last asked.
    pub report: Mutex<Option<Report>>,
    /// Its user's randomness.
    pub user: Mutex<StdRng>,
    /// How often its user has saved.
    pub saves: AtomicU64,
    /// Tokens its user has used.
    pub tokens: AtomicU64,
    seeds: Mutex<StdRng>,
}

/// A machine's power switch. Power is cut in two steps, because turmoil ends a machine between two of its turns: in
/// its last turn it lets its disk forget what was not synced.
#[derive(Debug, Default)]
pub struct Power {
    /// Cut the power.
    pub cut: Notify,
    /// The disk has lost power; nothing of the machine may go on.
    pub is_out: AtomicBool,
}

/// A queue of orders that survives restarts of who takes them. Bounded by the plan that fills it.
#[derive(Debug)]
pub struct Orders<T> {
    queue: Mutex<VecDeque<T>>,
    filled: Notify,
}

impl<T> Default for Orders<T> {
    fn default() -> Self {
        Self { queue: Mutex::default(), filled: Notify::new() }
    }
}

impl<T> Orders<T> {
    /// Adds an order.
    pub fn give(&self, order: T) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
        self.filled.notify_one();
    }

    /// The next order. Cancel-safe.
    pub async fn next(&self) -> T {
        loop {
            let filled = self.filled.notified();
            if let Some(order) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return order;
            }
            filled.await;
        }
    }
}

impl World {
    /// The world of a plan.
    pub fn new(seed: u64, plan: Plan, sabotage: Sabotage, trace: Trace) -> Arc<Self> {
        let mut rng = StdRng::seed_from_u64(seed ^ WORLD);
        let tablets: Vec<_> =
            plan.tablets.iter().map(|tablet| TabletMachine::new(tablet.cast, &plan, sabotage, &mut rng)).collect();
        let suspects =
            tablets.iter().map(|(machine, store)| Suspect { principal: machine.principal.clone(), store: *store });
        let gateway = GatewayMachine::new(&plan, sabotage, &mut rng);
        let witness = Arc::new(Witness::new(trace.clone(), suspects.collect(), gateway.matters.clone()));
        let tablets = tablets.into_iter().map(|(machine, _)| machine).collect();
        Arc::new(Self { plan, trace, witness, gateway, tablets, is_active: AtomicBool::new(true) })
    }
}

impl GatewayMachine {
    fn new(plan: &Plan, sabotage: Sabotage, rng: &mut StdRng) -> Self {
        let sync = plan.gateway_sync;
        let epoch = draw_epoch(rng);
        let store = match sabotage {
            Sabotage::LyingGatewayStore => MemoryStore::acks_before_sync(epoch, move || sync),
            _ => MemoryStore::new(epoch, move || sync),
        };
        let permits = match sabotage {
            Sabotage::IgnoredPermits => Permits::Ignored,
            _ => Permits::Checked,
        };
        Self {
            store,
            audit: MemoryAuditStore::new(),
            matters: MemoryMatterStore::new(),
            audit_key: Arc::new(AuditKey::generate().expect("the system has randomness")),
            faults: Arc::default(),
            permits,
            port: Port::new(rng.next_u64()),
            orders: Orders::default(),
            power: Power::default(),
            seeds: Mutex::new(StdRng::seed_from_u64(rng.next_u64())),
        }
    }

    /// A seed for the next life of the machine.
    pub fn next_seed(&self) -> u64 {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

impl TabletMachine {
    fn new(cast: usize, plan: &Plan, sabotage: Sabotage, rng: &mut StdRng) -> (Self, Epoch) {
        let durability = match sabotage {
            Sabotage::LyingTabletStore => Durability::AcksBeforeSync,
            _ => Durability::SyncsFirst,
        };
        let id = draw_epoch(rng);
        let store = MemoryLocalStore::new(id, plan.tablet_sync, durability);
        let machine = Self {
            principal: plan::cast()[cast].clone(),
            cast,
            store: Mutex::new(store),
            faults: Arc::default(),
            wants_link: AtomicBool::new(true),
            port: Port::new(rng.next_u64()),
            orders: Orders::default(),
            power: Power::default(),
            report: Mutex::default(),
            user: Mutex::new(StdRng::seed_from_u64(rng.next_u64())),
            saves: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            seeds: Mutex::new(StdRng::seed_from_u64(rng.next_u64())),
        };
        (machine, id)
    }

    /// A seed for the next life of the machine.
    pub fn next_seed(&self) -> u64 {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// The disk.
    pub fn disk(&self) -> MutexGuard<'_, Arc<MemoryLocalStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host's wall clock, `skew_ms` wrong.
pub fn clock(skew_ms: i64) -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
    Arc::new(move || {
        let true_time = UNIX_EPOCH + turmoil::since_epoch().unwrap_or(EPOCH);
        let skew = Duration::from_millis(skew_ms.unsigned_abs());
        if skew_ms < 0 { true_time - skew } else { true_time + skew }
    })
}

fn draw_epoch(rng: &mut StdRng) -> Epoch {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Epoch(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// When every simulation begins: a moment within the lifetime of its certificates.
pub const EPOCH: Duration = Duration::from_secs(1_893_456_000);
const WORLD: u64 = 0x77_6f72_6c64;

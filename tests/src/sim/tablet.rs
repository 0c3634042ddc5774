//! A tablet: the real client on what its disk holds, and a user who edits, goes offline and looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use feldakte_client_sdk::{
    Client, ClientOptions, SdkError, Transports,
    environment::Environment,
    store::{DocumentState, LocalStore},
    view::{CaseView, Status},
};
use feldakte_core::{
    access::Role,
    ids::{CaseId, ChangeHash, DocumentId},
};
use rand::{Rng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    edits,
    gateway::PORT,
    network::HostNetwork,
    pki,
    watched_local_store::{WatchedLocalStore, contents},
    witness::Invariant,
    world::{TabletMachine, World, clock},
};

/// What the tablet's user is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TabletOrder {
    /// Wants no connection.
    GoOffline,
    /// Wants a connection.
    GoOnline,
    /// The operating system reports another network.
    ChangeNetwork,
    /// Closes the app in order and opens it again.
    Restart,
    /// Shows everything there is.
    Report,
}

/// What an app shows.
#[derive(Debug, Clone)]
pub struct Report {
    /// The whole client in one look.
    pub status: Status,
    /// Every case.
    pub cases: BTreeMap<CaseId, CaseView>,
    /// Tokens of entries that were refused.
    pub parked: BTreeSet<String>,
    /// Every document on the device and what its store says of it.
    pub documents: BTreeMap<DocumentId, DocumentState>,
    /// Changes that were refused.
    pub refused: BTreeSet<(DocumentId, ChangeHash)>,
}

/// One life of the tablet. Does not return: the driver ends it.
pub async fn run(world: Arc<World>, index: usize) -> turmoil::Result {
    let machine = &world.tablets[index];
    tokio::select! {
        biased;
        () = machine.power.cut.notified() => {}
        result = live(&world, index) => {
            let Err(error) = result;
            world.witness.violate(Invariant::Sanity, format!("tablet {index} fails: {error:?}"));
        }
    }
    world.trace.note(format_args!("tablet {index} ends"));
    machine.disk().crash();
    machine.power.is_out.store(true, Ordering::Relaxed);
    std::future::pending().await
}

/// What a life never ends with.
enum Never {}

async fn live(world: &Arc<World>, index: usize) -> Result<Never, SdkError> {
    loop {
        open_and_use(world, index).await?;
        world.trace.note(format_args!("tablet {index} closes the app and opens it again"));
    }
}

/// Returns when the user has closed the app.
async fn open_and_use(world: &Arc<World>, index: usize) -> Result<(), SdkError> {
    let machine = &world.tablets[index];
    let store = {
        let mut disk = machine.disk();
        // The first opening is the one the disk was made with.
        if let Ok(reopened) = disk.reopen() {
            *disk = reopened;
        }
        disk.clone()
    };
    world.witness.found_on_device(index, &contents(&*store).await?);
    let client = open(world, index, store).await?;
    if machine.wants_link.load(Ordering::Relaxed) {
        client.go_online();
    }
    User { world, index, machine, client }.act().await
}

async fn open(
    world: &Arc<World>,
    index: usize,
    store: Arc<crate::memory_local_store::MemoryLocalStore>,
) -> Result<Client, SdkError> {
    let machine = &world.tablets[index];
    let witness = world.witness.clone();
    let on_dial = Box::new(move || witness.dialled(index));
    let network = HostNetwork { port: machine.port.clone(), gateway: "gateway", on_dial };
    let skew = world.plan.tablets[index].clock_skew_ms;
    Client::open(ClientOptions {
        identity: pki::shared().identity(machine.cast),
        gateway: format!("gateway:{PORT}"),
        server_name: pki::GATEWAY_NAME.to_owned(),
        transports: Transports::Quic,
        store: Arc::new(WatchedLocalStore {
            inner: store,
            witness: world.witness.clone(),
            tablet: index,
            faults: machine.faults.clone(),
        }),
        renewal: None,
        log: None,
        purge_after: None,
        environment: Environment::simulated(clock(skew), machine.next_seed(), Arc::new(network)),
    })
    .await
}

struct User<'a> {
    world: &'a World,
    index: usize,
    machine: &'a TabletMachine,
    client: Client,
}

impl User<'_> {
    async fn act(self) -> Result<(), SdkError> {
        let mut next = Instant::now() + self.pause();
        loop {
            let order = tokio::select! {
                biased;
                order = self.machine.orders.next() => Some(order),
                () = tokio::time::sleep_until(next) => None,
            };
            match order {
                Some(TabletOrder::Restart) => {
                    self.client.shutdown().await;
                    return Ok(());
                }
                Some(order) => self.obey(order).await?,
                None if self.world.is_active.load(Ordering::Relaxed) => {
                    self.work().await?;
                    next = Instant::now() + self.pause();
                }
                None => next += IDLE,
            }
        }
    }

    async fn obey(&self, order: TabletOrder) -> Result<(), SdkError> {
        match order {
            TabletOrder::GoOffline => self.client.go_offline(),
            TabletOrder::GoOnline => self.client.go_online(),
            TabletOrder::ChangeNetwork => self.client.network_changed(),
            TabletOrder::Restart => {}
            TabletOrder::Report => {
                let report = self.report().await?;
                *self.machine.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
            }
        }
        Ok(())
    }

    async fn work(&self) -> Result<(), SdkError> {
        match self.draw(|rng| rng.random_range(0..100)) {
            0..88 => self.save().await,
            // A form filled in by a machine, or a long time without a pause.
            88..91 => {
                for _ in 0..self.draw(|rng| rng.random_range(10..70)) {
                    self.save().await?;
                }
                Ok(())
            }
            91..96 => self.look().await,
            _ => {
                let status = self.client.status().await?;
                if status.all_safe {
                    self.world.witness.told_all_safe(self.index);
                }
                Ok(())
            }
        }
    }

    async fn save(&self) -> Result<(), SdkError> {
        if self.machine.saves.fetch_add(1, Ordering::Relaxed) >= SAVES_MAX {
            return Ok(());
        }
        let cases = self.client.list().await?;
        let writable: Vec<CaseId> = cases.iter().filter(|case| !case.sync.revoked).map(|case| case.case).collect();
        let may_open = match self.machine.principal.role {
            Role::TelePhysician | Role::Supervisor => 0.02,
            _ => 0.08,
        };
        let opens = cases.len() < CASES_MAX && self.draw(|rng| rng.random_bool(may_open)) || cases.is_empty();
        let edits = self.draw(|rng| edits::draw_save(rng, || self.next_token()));
        let result = match (opens, writable.is_empty()) {
            (true, _) => self.client.create_case(edits.clone()).await.map(Some),
            (false, true) => return Ok(()),
            (false, false) => {
                let case = writable[self.draw(|rng| rng.random_range(0..writable.len()))];
                self.client.edit(case, edits.clone()).await.map(|()| Some(case))
            }
        };
        self.note_save(result, edits::tokens(&edits))
    }

    fn note_save<'t>(
        &self,
        result: Result<Option<CaseId>, SdkError>,
        tokens: impl Iterator<Item = &'t str>,
    ) -> Result<(), SdkError> {
        let (trace, witness, index) = (&self.world.trace, &self.world.witness, self.index);
        match result {
            Ok(case) => {
                trace.note(format_args!("tablet {index} saved in {case:?}"));
                witness.told_saved(index, tokens);
                Ok(())
            }
            Err(error @ (SdkError::StorageFull | SdkError::AccessEnded | SdkError::Edit(_))) => {
                trace.note(format_args!("tablet {index} did not save: {error}"));
                witness.told_not_saved(index, tokens);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a case, as an app does when it shows one.
    async fn look(&self) -> Result<(), SdkError> {
        let cases = self.client.list().await?;
        if cases.is_empty() {
            return Ok(());
        }
        let case = cases[self.draw(|rng| rng.random_range(0..cases.len()))].case;
        let view = self.client.read(case).await?;
        let conflicts: usize = view.documents.iter().map(|document| document.conflicts().len()).sum();
        self.world
            .trace
            .note(format_args!("tablet {} sees {case}: {:?}, {conflicts} conflicts", self.index, view.sync));
        Ok(())
    }

    async fn report(&self) -> Result<Report, SdkError> {
        let status = self.client.status().await?;
        let (mut cases, mut parked) = (BTreeMap::new(), BTreeSet::new());
        for summary in self.client.list().await? {
            cases.insert(summary.case, self.client.read(summary.case).await?);
            for edit in self.client.parked(summary.case).await? {
                parked.extend(edits::tokens(&edit.edits).map(str::to_owned));
            }
        }
        let store = self.machine.disk().clone();
        let documents = store.documents().await?.into_iter().map(|state| (state.document, state));
        let documents: BTreeMap<_, _> = documents.collect();
        let mut refused = BTreeSet::new();
        for document in documents.keys().copied() {
            refused.extend(store.parked(document).await?.into_iter().map(|parked| (document, parked.hash)));
        }
        Ok(Report { status, cases, parked, documents, refused })
    }

    fn next_token(&self) -> String {
        format!("t{}-{}", self.index, self.machine.tokens.fetch_add(1, Ordering::Relaxed))
    }

    fn pause(&self) -> Duration {
        let pace = self.world.plan.tablets[self.index].pace;
        self.draw(|rng| pace.mul_f64(rng.random_range(0.05..1.95)))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.machine.user.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Cases a tablet's user opens new ones up to.
const CASES_MAX: usize = 5;
/// What a user saves at most in a run; stores and judge look at everything there is, again and again.
const SAVES_MAX: u64 = 200;
/// How often an idle user looks whether there is something to do.
const IDLE: Duration = Duration::from_secs(1);

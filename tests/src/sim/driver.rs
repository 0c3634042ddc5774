//! Runs one seed: steps the world, lets the plan happen to it, heals it, and waits until everything is safe and equal.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Once, PoisonError, atomic::Ordering},
    time::{Duration, UNIX_EPOCH},
};

use feldakte_core::{access::Grant, ids::DocumentId};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    gateway::{self, GatewayOrder},
    network::Weather,
    plan::{Event, Pick, Plan, Room, Way},
    tablet::{self, Report, TabletOrder},
    trace::{Fingerprint, Keep, Trace},
    verdict::Verdict,
    witness::{Invariant, Violation},
    world::{self, Power, Sabotage, World},
};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What is deliberately wrong.
    pub sabotage: Sabotage,
    /// How much of the trace is kept.
    pub keep: Keep,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first broken invariant; `None` when all of them held.
    pub violation: Option<Violation>,
    /// The trace in one word.
    pub fingerprint: Fingerprint,
    /// The lines that were kept.
    pub trace: Vec<String>,
    /// How long the run lasted in simulated time.
    pub lasted: Duration,
    /// From the healing to the moment everything was safe and equal.
    pub settled_in: Duration,
    /// Changes in the log at the end.
    pub changes: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { seed, violation, fingerprint, trace: _, lasted, settled_in, changes } = self;
        write!(f, "seed {seed}: ")?;
        match violation {
            None => write!(f, "holds, safe {settled_in:.1?} after the healing")?,
            Some(Violation { invariant, at, what }) => write!(f, "{invariant:?} broken at {at:.3?}: {what}")?,
        }
        write!(f, "; {lasted:.1?} simulated, {changes} changes, {fingerprint}")
    }
}

/// Runs a seed to its end or to the first broken invariant.
pub fn run(run: Run) -> Outcome {
    watch_panics();
    let Run { seed, sabotage, keep } = run;
    let trace = Trace::new(keep);
    let world = World::new(seed, Plan::of(seed), sabotage, trace.clone());
    trace.note(format_args!("seed {seed}: {:?}", world.plan));
    let mut driver = Driver::new(seed, world.clone());
    let result = catch_unwind(AssertUnwindSafe(|| driver.run()));
    let settled_in = match result {
        Ok(settled_in) => settled_in,
        Err(_) => {
            let what = take_panic().unwrap_or_else(|| "a panic".to_owned());
            world.witness.violate(Invariant::Sanity, what);
            None
        }
    };
    let changes = world.witness.documents().into_iter();
    let changes =
        changes.filter_map(|document| world.witness.with_document(document, |truth| truth.changes.len())).sum();
    Outcome {
        seed,
        violation: world.witness.violation(),
        fingerprint: trace.fingerprint(),
        trace: trace.lines(),
        lasted: driver.sim.elapsed(),
        settled_in: settled_in.unwrap_or_default(),
        changes,
    }
}

struct Driver {
    world: Arc<World>,
    sim: turmoil::Sim<'static>,
    /// The gateway, then the tablets.
    machines: Vec<Machine>,
    rng: StdRng,
}

struct Machine {
    name: String,
    /// When it is started again; `None` while it runs.
    starts_at: Option<Duration>,
}

/// Broken: an invariant does not hold, and the run is over.
struct Broken;

impl Driver {
    fn new(seed: u64, world: Arc<World>) -> Self {
        let (min, max) = world.plan.latency;
        let mut sim = turmoil::Builder::new()
            .epoch(UNIX_EPOCH + world::EPOCH)
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(TICK)
            .min_message_latency(min)
            .max_message_latency(max)
            .udp_capacity(8_192)
            .enable_random_order()
            .build();
        let on_gateway = world.clone();
        sim.host(GATEWAY, move || gateway::run(on_gateway.clone()));
        let mut names = vec![GATEWAY.to_owned()];
        for index in 0..world.tablets.len() {
            let (on_tablet, name) = (world.clone(), format!("tablet-{index}"));
            sim.host(name.as_str(), move || tablet::run(on_tablet.clone(), index));
            names.push(name);
        }
        let machines = names.into_iter().map(|name| Machine { name, starts_at: None }).collect();
        let driver = Self { world, sim, machines, rng: StdRng::seed_from_u64(seed ^ DRIVER) };
        driver.set_weather(driver.world.plan.weather);
        driver
    }

    /// Returns how long the world took to become whole after the plan had ended.
    fn run(&mut self) -> Option<Duration> {
        let mut events = self.world.plan.events.clone().into_iter().peekable();
        while self.sim.elapsed() < self.world.plan.active {
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= self.sim.elapsed()) {
                self.happen(event);
            }
            self.step().ok()?;
        }
        self.heal();
        let healed = self.sim.elapsed();
        self.settle(healed).ok()?;
        Some(self.sim.elapsed() - healed)
    }

    fn step(&mut self) -> Result<(), Broken> {
        self.world.trace.set_now(self.sim.elapsed());
        if let Err(error) = self.sim.step() {
            self.world.witness.violate(Invariant::Sanity, format!("a machine failed: {error}"));
        }
        self.world.trace.set_now(self.sim.elapsed());
        if let Some(panic) = take_panic() {
            self.world.witness.violate(Invariant::Sanity, panic);
        }
        if self.world.gateway.faults.crash_now.swap(false, Ordering::Relaxed) {
            cut_power(&self.world.gateway.power);
        }
        for machine in &self.world.tablets {
            if machine.faults.crash_now.swap(false, Ordering::Relaxed) {
                cut_power(&machine.power);
            }
        }
        self.turn_machines();
        match self.world.witness.violation() {
            Some(_) => Err(Broken),
            None => Ok(()),
        }
    }

    /// Ends machines whose power is out, and starts them again when it is time.
    fn turn_machines(&mut self) {
        let world = self.world.clone();
        let powers = std::iter::once(&world.gateway.power).chain(world.tablets.iter().map(|machine| &machine.power));
        let now = self.sim.elapsed();
        for (machine, power) in self.machines.iter_mut().zip(powers) {
            match machine.starts_at {
                None if power.is_out.load(Ordering::Relaxed) => {
                    self.sim.crash(machine.name.as_str());
                    let longest = if self.rng.random_bool(0.7) { 1_000 } else { 6_000 };
                    let pause = Duration::from_millis(self.rng.random_range(10..longest));
                    machine.starts_at = Some(now + pause);
                }
                Some(at) if at <= now => {
                    world.trace.note(format_args!("{} is started", machine.name));
                    machine.starts_at = None;
                    power.is_out.store(false, Ordering::Relaxed);
                    self.sim.bounce(machine.name.as_str());
                }
                _ => {}
            }
        }
    }

    fn happen(&mut self, event: Event) {
        self.world.trace.note(format_args!("event {event:?}"));
        let world = self.world.clone();
        let tablet = |index: usize| &world.tablets[index];
        match event {
            Event::Cut(index, way) => self.cut(index, way),
            Event::Mend(index) => self.sim.repair(GATEWAY, self.name(index)),
            Event::Weather(weather) => self.set_weather(weather),
            Event::CrashGateway => cut_power(&world.gateway.power),
            Event::CrashGatewayInCommit => world.gateway.faults.crash_in_next.store(true, Ordering::Relaxed),
            Event::LoseCommitOutcome => world.gateway.faults.lose_next_outcome.store(true, Ordering::Relaxed),
            Event::DrainGateway => world.gateway.orders.give(GatewayOrder::Drain),
            Event::CrashTablet(index) => cut_power(&tablet(index).power),
            Event::RestartApp(index) => tablet(index).orders.give(TabletOrder::Restart),
            Event::GoOffline(index) => self.want_link(index, TabletOrder::GoOffline),
            Event::GoOnline(index) => self.want_link(index, TabletOrder::GoOnline),
            Event::ChangeNetwork(index) => tablet(index).orders.give(TabletOrder::ChangeNetwork),
            Event::GatewayDisk(room) => world.gateway.store.disk_full(room == Room::Full),
            Event::CrashTabletInSave(index) => tablet(index).faults.crash_in_next.store(true, Ordering::Relaxed),
            Event::TabletDisk(index, room) => tablet(index).faults.is_full.store(room == Room::Full, Ordering::Relaxed),
            Event::Grant(pick, access) => {
                if let Some(document) = self.pick(&pick) {
                    let grant = Grant::new(pick.subject, access);
                    world.gateway.orders.give(GatewayOrder::Grant(document, grant));
                }
            }
            Event::Revoke(pick) => {
                if let Some(document) = self.pick(&pick) {
                    world.gateway.orders.give(GatewayOrder::Revoke(document, pick.subject));
                }
            }
        }
    }

    fn cut(&self, index: usize, way: Way) {
        let name = self.name(index);
        match way {
            Way::Both => self.sim.partition(GATEWAY, name),
            Way::ToGateway => self.sim.partition_oneway(name, GATEWAY),
            Way::ToTablet => self.sim.partition_oneway(GATEWAY, name),
        }
    }

    fn name(&self, tablet: usize) -> &str {
        &self.machines[tablet + 1].name
    }

    fn want_link(&self, index: usize, order: TabletOrder) {
        let machine = &self.world.tablets[index];
        machine.wants_link.store(order == TabletOrder::GoOnline, Ordering::Relaxed);
        machine.orders.give(order);
    }

    fn set_weather(&self, weather: Weather) {
        self.world.gateway.port.set_weather(weather);
        self.world.tablets.iter().for_each(|machine| machine.port.set_weather(weather));
    }

    fn pick(&self, pick: &Pick) -> Option<DocumentId> {
        let documents = self.world.witness.documents();
        documents.get(pick.document % documents.len().max(1)).copied()
    }

    /// Ends everything that is wrong with the world, except for the weather it was born with.
    fn heal(&mut self) {
        let world = self.world.clone();
        world.trace.note(format_args!("the world is healed"));
        world.is_active.store(false, Ordering::Relaxed);
        world.gateway.faults.crash_in_next.store(false, Ordering::Relaxed);
        world.gateway.faults.lose_next_outcome.store(false, Ordering::Relaxed);
        self.set_weather(world.plan.weather);
        self.happen(Event::GatewayDisk(Room::Free));
        for (index, machine) in world.tablets.iter().enumerate() {
            machine.faults.crash_in_next.store(false, Ordering::Relaxed);
            let healing = [Event::Mend(index), Event::TabletDisk(index, Room::Free), Event::GoOnline(index)];
            healing.into_iter().for_each(|event| self.happen(event));
        }
    }

    fn settle(&mut self, healed: Duration) -> Result<(), Broken> {
        let mut verdict = Verdict::default();
        let mut difference = None;
        let within = self.world.plan.settles_within();
        while self.sim.elapsed() < healed + within {
            let reports = self.reports()?;
            difference = self.difference(&mut verdict, &reports);
            if difference.is_none() {
                return self.close_the_case(&mut verdict, &reports);
            }
        }
        let what = difference.unwrap_or_else(|| "not every tablet answers".to_owned());
        let invariant = if what.contains("other than the log") { Invariant::Converge } else { Invariant::Liveness };
        self.world.witness.violate(invariant, format!("{within:?} after the healing {what}"));
        Err(Broken)
    }

    /// Asks every tablet, after a moment, what it shows.
    fn reports(&mut self) -> Result<BTreeMap<usize, Report>, Broken> {
        let asked = self.sim.elapsed() + ASK_EVERY;
        while self.sim.elapsed() < asked {
            self.step()?;
        }
        self.world.tablets.iter().for_each(|machine| machine.orders.give(TabletOrder::Report));
        let mut reports = BTreeMap::new();
        while reports.len() < self.world.tablets.len() && self.sim.elapsed() < asked + ANSWERS_WITHIN {
            self.step()?;
            for (index, machine) in self.world.tablets.iter().enumerate() {
                let report = machine.report.lock().unwrap_or_else(PoisonError::into_inner).take();
                reports.extend(report.map(|report| (index, report)));
            }
        }
        Ok(reports)
    }

    fn difference(&self, verdict: &mut Verdict, reports: &BTreeMap<usize, Report>) -> Option<String> {
        if reports.len() < self.world.tablets.len() {
            return Some("a tablet's app hangs".to_owned());
        }
        reports.iter().find_map(|(index, report)| verdict.difference(&self.world.witness, *index, report))
    }

    fn close_the_case(&self, verdict: &mut Verdict, reports: &BTreeMap<usize, Report>) -> Result<(), Broken> {
        let witness = &self.world.witness;
        witness.found_log(&self.world.gateway.store.entries());
        for (index, report) in reports {
            if let Some(what) = verdict.broken_word(witness, *index, report) {
                witness.violate(Invariant::Durable, what);
            }
        }
        self.world.trace.note(format_args!("all is safe and equal"));
        match witness.violation() {
            Some(_) => Err(Broken),
            None => Ok(()),
        }
    }
}

fn cut_power(power: &Power) {
    if !power.is_out.load(Ordering::Relaxed) {
        power.cut.notify_one();
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Tasks swallow panics; a hook remembers the first one of each thread. Every simulation runs on one thread.
fn watch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with(|panic| panic.borrow_mut().get_or_insert_with(|| format!("panic: {info}")).truncate(2_000));
            before(info);
        }));
    });
    take_panic();
}

fn take_panic() -> Option<String> {
    PANIC.with(|panic| panic.borrow_mut().take())
}

const GATEWAY: &str = "gateway";
const DRIVER: u64 = 0x6472_6976_6572;
/// How long each machine runs before the next one does: well below the shortest latency.
const TICK: Duration = Duration::from_millis(2);
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

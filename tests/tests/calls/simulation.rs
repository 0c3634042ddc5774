//! Seeded worlds of crews, desks and a gateway that all fail: every message may be late or lost with its session, parties are cut
//! off, the gateway dies between storing and speaking. One thread, no clock but the world's: a seed is a run.
//!
//! A fair sample by default; `FELDAKTE_CALL_WORLDS=1000` makes more than 10,000 calls, `FELDAKTE_CALL_SEED` repeats one world.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use feldakte_core::{
    call::{
        About, Act, Book, Category, Centre, Changed, Duty, Effect, End, Fact, Input, Intent, Kept, Media, News, Note,
        Outcome, Party, Phase, Plan, Say, Standing, Switchboard, Target, Told,
    },
    ids::{CallId, CaseId, DeviceId, IntentKey, SessionId},
};
use feldakte_tests::harness::caller::plan;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

#[test]
fn no_call_is_lost_taken_twice_or_without_an_end() {
    let worlds = env::var("FELDAKTE_CALL_WORLDS").map_or(300, |text| text.parse().expect("a number"));
    let first = env::var("FELDAKTE_CALL_SEED").map_or(0, |text| text.parse().expect("a number"));
    let mut totals = Totals::default();
    let seeds = if env::var("FELDAKTE_CALL_SEED").is_ok() { first..first + 1 } else { 0..worlds };
    for seed in seeds {
        let mut world = World::new(seed);
        world.run();
        totals.add(&world.totals);
    }
    println!("{totals:?}");
    // A world in which nothing happens proves nothing.
    assert!(totals.calls > 2 * worlds.min(300), "{totals:?}");
    assert!(totals.accepted * 4 > totals.calls && totals.crashes > 0 && totals.cuts > 0, "{totals:?}");
    if worlds >= 300 && first == 0 {
        assert!(totals.transferred > 0 && totals.merged > 0 && totals.taken_by_others > 0, "{totals:?}");
    }
}

/// Worlds in which something was wrong once.
const WENT_WRONG: &[u64] = &[486];

#[test]
fn worlds_that_went_wrong_once_go_well() {
    // A desk had called a crew back and was cut off; when it came back somebody else had taken the call over.
    WENT_WRONG.iter().for_each(|seed| World::new(*seed).run());
}

#[derive(Debug, Default)]
struct Totals {
    calls: u64,
    accepted: u64,
    transferred: u64,
    merged: u64,
    taken_by_others: u64,
    crashes: u64,
    cuts: u64,
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.calls += other.calls;
        self.accepted += other.accepted;
        self.transferred += other.transferred;
        self.merged += other.merged;
        self.taken_by_others += other.taken_by_others;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
    }
}

struct World {
    seed: u64,
    rng: StdRng,
    now_ms: i64,
    plan: Plan,
    /// `None` while it is down.
    board: Option<Switchboard>,
    /// What a restart reads.
    disk: BTreeMap<String, Kept>,
    devices: Vec<Device>,
    /// What is under way, by when it arrives.
    flying: BTreeMap<(i64, u64), Flying>,
    flown: u64,
    back_at: Option<i64>,
    asked: BTreeSet<CallId>,
    /// Refused, or part of another one.
    answered: BTreeSet<CallId>,
    ended: BTreeMap<CallId, End>,
    open: BTreeSet<(CallId, DeviceId)>,
    totals: Totals,
}

struct Device {
    party: Party,
    is_desk: bool,
    capacity: u8,
    book: Book,
    session: Option<SessionId>,
    /// Cut off until then.
    cut_until: Option<i64>,
    seqs: BTreeMap<CallId, u64>,
    case: CaseId,
}

enum Flying {
    ToGateway { session: SessionId, say: Say },
    ToDevice { session: SessionId, told: Told },
    Ends { session: SessionId },
}

const STEP_MS: i64 = 250;
const BUSY_FOR_MS: i64 = 180_000;

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut devices = Vec::new();
        let centre =
            |tenant: &str, unit: String| Centre { tenant: tenant.parse().unwrap(), unit: unit.parse().unwrap() };
        for number in 0..rng.random_range(2..=4) {
            devices.push(Device::new(centre("dortmund", format!("rtw-{number}")), false, 0, 100 + number));
        }
        for number in 0..rng.random_range(1..=4) {
            let tenant = if rng.random_bool(0.7) { "dortmund" } else { "hagen" };
            let capacity = rng.random_range(1..=2);
            devices.push(Device::new(centre(tenant, "tna".to_owned()), true, capacity, 200 + number));
        }
        Self {
            seed,
            rng,
            now_ms: 1_000_000,
            plan: plan(),
            board: Some(Switchboard::new(plan())),
            disk: BTreeMap::new(),
            devices,
            flying: BTreeMap::new(),
            flown: 0,
            back_at: None,
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
            ended: BTreeMap::new(),
            open: BTreeSet::new(),
            totals: Totals::default(),
        }
    }

    fn run(&mut self) {
        for device in 0..self.devices.len() {
            self.connect(device);
        }
        let busy_until = self.now_ms + BUSY_FOR_MS;
        while self.now_ms < busy_until {
            self.step(true);
        }
        // Everybody comes back, the last ones hang up, and what waits runs out.
        for device in &mut self.devices {
            device.cut_until = None;
        }
        self.back_at = self.back_at.map(|_| self.now_ms);
        let quiet_until = self.now_ms + 400_000;
        while self.now_ms < quiet_until {
            self.step(false);
        }
        self.judge();
    }

    fn step(&mut self, is_busy: bool) {
        self.now_ms += STEP_MS;
        if self.back_at.is_some_and(|at| self.now_ms >= at) {
            self.restart();
        }
        for device in 0..self.devices.len() {
            let is_back = self.devices[device].cut_until.is_none_or(|until| self.now_ms >= until);
            if is_back && self.devices[device].session.is_none() && self.board.is_some() && self.rng.random_bool(0.5) {
                self.connect(device);
            }
        }
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now_ms) {
            let flying = entry.remove();
            self.arrive(flying, is_busy);
        }
        if is_busy {
            self.disturb();
        }
        for device in 0..self.devices.len() {
            let now_ms = self.now_ms;
            let (pulse, _) = self.devices[device].book.tick(now_ms);
            // Pulses keep sessions alive and say nothing else: too many to fly.
            drop(pulse);
            self.act(device, is_busy);
        }
        if self.board.as_ref().and_then(Switchboard::next_due).is_some_and(|due| due <= self.now_ms) {
            self.input(Input::Tick, is_busy);
        }
    }

    /// A user does something.
    fn act(&mut self, device: usize, is_busy: bool) {
        let known: Vec<(CallId, Option<Fact>)> =
            self.devices[device].book.calls().map(|(call, known)| (call, known.fact.clone())).collect();
        let live = known.iter().filter(|(_, fact)| fact.as_ref().is_none_or(|fact| fact.phase != Phase::Ended)).count();
        if is_busy && self.rng.random_bool(0.02) {
            let is_caller = !self.devices[device].is_desk && live == 0;
            let recalls = self.devices[device].is_desk && live == 0 && self.rng.random_bool(0.2);
            if is_caller {
                self.ask_for(device, self.devices[device].case);
            } else if recalls {
                let crews: Vec<CaseId> =
                    self.devices.iter().filter(|device| !device.is_desk).map(|device| device.case).collect();
                let case = *crews.choose(&mut self.rng).unwrap();
                self.ask_for(device, case);
            }
        }
        for (call, fact) in known {
            let Some(fact) = fact else { continue };
            let act = match (fact.phase, fact.standing) {
                (Phase::Ended, Standing::Leg(_)) => Some(Act::Noted),
                (_, Standing::Rung { .. }) => match self.rng.random_range(0..100) {
                    0..=5 => Some(Act::Accept),
                    6..=7 => Some(Act::Decline),
                    _ => None,
                },
                (Phase::Connecting | Phase::Transferring, Standing::Leg(own)) if self.rng.random_bool(0.1) => {
                    let other = if own == 0 { fact.legs.iter().map(|leg| leg.leg).max() } else { Some(0) };
                    other.map(|leg| Act::Media { leg, state: Media::Connected })
                }
                (Phase::Active, Standing::Leg(own)) if is_busy => match self.rng.random_range(0..1000) {
                    0..=4 => Some(Act::HangUp),
                    5..=8 if own > 0 => {
                        let desks: Vec<DeviceId> = self
                            .devices
                            .iter()
                            .filter(|device| device.is_desk)
                            .map(|device| device.party.device)
                            .collect();
                        Some(Act::Transfer(Target::Desk(*desks.choose(&mut self.rng).unwrap())))
                    }
                    9 => Some(Act::Hold),
                    10 => Some(Act::Phoned),
                    _ => None,
                },
                (Phase::Held, Standing::Leg(_)) if self.rng.random_bool(0.05) => Some(Act::Unhold),
                // The shift ends.
                (_, Standing::Leg(0)) if !is_busy && self.rng.random_bool(0.02) => Some(Act::HangUp),
                _ => None,
            };
            if let Some(act) = act {
                let is_again = act == Act::Noted && self.rng.random_bool(0.8);
                if !is_again {
                    self.want(device, call, act);
                }
            }
        }
    }

    fn ask_for(&mut self, device: usize, case: CaseId) {
        let call = CallId(Uuid::from_u128(self.rng.random()));
        let category = *Category::ALL.choose(&mut self.rng).unwrap();
        self.want(device, call, Act::Call { case, category, phone: None });
        self.asked.insert(call);
        self.totals.calls += 1;
    }

    fn want(&mut self, device: usize, call: CallId, act: Act) {
        let key = IntentKey(Uuid::from_u128(self.rng.random()));
        let now_ms = self.now_ms;
        let device = &mut self.devices[device];
        let said = device.book.want(Intent { key, call, act }, now_ms);
        if let (Some(say), Some(session)) = (said, device.session) {
            self.fly(Flying::ToGateway { session, say });
        }
    }

    fn disturb(&mut self) {
        if self.board.is_some() && self.rng.random_bool(0.002) {
            self.crash();
        }
        for device in 0..self.devices.len() {
            if self.devices[device].session.is_some() && self.rng.random_bool(0.003) {
                let long = self.rng.random_range(1_000..90_000);
                self.cut(device, long);
            }
        }
    }

    /// The device is cut off. The gateway notices by silence, or later.
    fn cut(&mut self, device: usize, long_ms: i64) {
        self.totals.cuts += 1;
        let Some(session) = self.devices[device].session.take() else { return };
        self.devices[device].cut_until = Some(self.now_ms + long_ms);
        self.devices[device].book.lose();
        let noticed = self.now_ms + self.rng.random_range(500..30_000);
        self.flown += 1;
        self.flying.insert((noticed, self.flown), Flying::Ends { session });
    }

    fn crash(&mut self) {
        self.totals.crashes += 1;
        self.board = None;
        self.back_at = Some(self.now_ms + self.rng.random_range(500..8_000));
        self.flying.retain(|_, flying| matches!(flying, Flying::ToDevice { .. }));
        for device in &mut self.devices {
            device.session = None;
            device.book.lose();
        }
    }

    fn restart(&mut self) {
        self.back_at = None;
        let kept = self.disk.values().cloned();
        self.board = Some(Switchboard::restore(self.plan.clone(), kept, self.now_ms));
        self.input(Input::Tick, false);
    }

    fn connect(&mut self, device: usize) {
        let session = SessionId(Uuid::from_u128(self.rng.random()));
        let now_ms = self.now_ms;
        let entry = &mut self.devices[device];
        entry.session = Some(session);
        entry.cut_until = None;
        let mut first = entry.book.begin(now_ms);
        if entry.is_desk {
            first.push(Say::Duty(Duty { capacity: entry.capacity }));
        }
        for say in first {
            self.fly(Flying::ToGateway { session, say });
        }
    }

    /// Messages of one session keep their order, each its own time.
    fn fly(&mut self, flying: Flying) {
        let of = |flying: &Flying| match flying {
            Flying::ToGateway { session, .. } => (*session, true),
            Flying::ToDevice { session, .. } => (*session, false),
            Flying::Ends { session } => (*session, true),
        };
        let own = of(&flying);
        let before =
            self.flying.iter().rev().find(|(_, other)| of(other) == own && !matches!(other, Flying::Ends { .. }));
        let earliest = before.map_or(0, |((at, _), _)| *at);
        let at = (self.now_ms + self.rng.random_range(20..1_500)).max(earliest);
        self.flown += 1;
        self.flying.insert((at, self.flown), flying);
    }

    fn arrive(&mut self, flying: Flying, is_busy: bool) {
        match flying {
            Flying::ToGateway { session, say } => {
                // What was under way when the device was cut off arrives, as it does over a radio that dies slowly.
                let device = self.devices.iter().position(|device| device.session == Some(session));
                match say {
                    Say::Join => {
                        let Some(device) = device else { return };
                        let Device { party, is_desk, .. } = &self.devices[device];
                        let (who, is_desk) = (party.clone(), *is_desk);
                        self.input(Input::Joined { session, who, is_crew: !is_desk, is_desk }, is_busy);
                    }
                    Say::Duty(duty) => self.input(Input::Duty { session, duty }, is_busy),
                    Say::Intent(intent) => {
                        let log = "dortmund".parse().unwrap();
                        self.input(Input::Intent { session, intent, log, may_write: true }, is_busy);
                    }
                    Say::Signal(_) | Say::Pulse(_) => {}
                }
            }
            Flying::ToDevice { session, told } => {
                let now_ms = self.now_ms;
                let Some(device) = self.devices.iter_mut().find(|device| device.session == Some(session)) else {
                    return;
                };
                if let Told::Fact(fact) = &told {
                    let before = device.seqs.insert(fact.call, fact.seq);
                    assert!(
                        before.is_none_or(|before| before < fact.seq),
                        "seed {}: facts go back: {fact:?}",
                        self.seed
                    );
                }
                if let Told::Reply(reply) = &told {
                    match reply.outcome {
                        Outcome::Merged(_) => self.totals.merged += 1,
                        Outcome::Refused(feldakte_core::call::Refusal::Taken) => self.totals.taken_by_others += 1,
                        _ => {}
                    }
                }
                for news in device.book.take(told, now_ms) {
                    if let News::Answered { call, reply } = news
                        && reply.outcome != Outcome::Done
                    {
                        self.answered.insert(call);
                    }
                }
            }
            Flying::Ends { session } => self.input(Input::Left { session }, is_busy),
        }
    }

    fn input(&mut self, input: Input, may_crash: bool) {
        let Some(board) = &mut self.board else { return };
        let effects = board.apply(self.now_ms, input);
        let Changed { calls, desks } = board.take_changed();
        // The disk is asked before anybody is told; a crash may come between the two.
        let has_changed = !calls.is_empty();
        if may_crash && has_changed && self.rng.random_bool(0.002) {
            return self.crash();
        }
        for (name, kept) in calls
            .into_iter()
            .map(|(call, kept)| (format!("call {call}"), kept))
            .chain(desks.into_iter().map(|(desk, kept)| (format!("desk {desk}"), kept)))
        {
            match kept {
                Some(kept) => drop(self.disk.insert(name, kept)),
                None => drop(self.disk.remove(&name)),
            }
        }
        let overview = self.board.as_ref().unwrap().overview();
        overview.iter().for_each(|fact| self.check(fact));
        if may_crash && has_changed && self.rng.random_bool(0.002) {
            return self.crash();
        }
        for effect in effects {
            match effect {
                Effect::Tell { session, told } => self.fly(Flying::ToDevice { session, told }),
                Effect::Open { desk, .. } => drop(self.open.insert((desk.call, desk.who.device))),
                Effect::Shut(About { call, who, .. }, _) => drop(self.open.remove(&(call, who.device))),
                Effect::Note { what: Note::Accepted, .. } => self.totals.accepted += 1,
                Effect::Note { what: Note::Transferred, .. } => self.totals.transferred += 1,
                Effect::Note { .. } | Effect::Relay { .. } | Effect::Ways(_) => {}
            }
        }
    }

    /// What holds for every call at every moment, by what is stored.
    fn check(&mut self, fact: &Fact) {
        let seed = self.seed;
        let physician = fact.physician.map(|leg| {
            let leg = fact.legs.iter().find(|known| known.leg == leg);
            leg.unwrap_or_else(|| panic!("seed {seed}: a physician without a leg: {fact:?}")).device
        });
        if let Some(end) = fact.end {
            let before = self.ended.insert(fact.call, end);
            assert!(before.is_none_or(|before| before == end), "seed {seed}: it ended twice: {fact:?}");
        } else {
            assert!(!self.ended.contains_key(&fact.call), "seed {seed}: it has come alive again: {fact:?}");
            self.check_load(physician);
        }
        let crew = fact.legs.iter().filter(|leg| leg.leg == 0).count();
        assert_eq!(crew, 1, "seed {seed}: {fact:?}");
        // During a transfer two desks are in it, and one has it.
        let desks = fact.legs.len() - crew;
        let is_transfer = desks == 2;
        assert!(desks <= 2 && (!is_transfer || fact.physician.is_some()), "seed {seed}: {fact:?}");
    }

    /// Nobody has more calls than he takes on, but one: a crew that he calls back.
    fn check_load(&self, physician: Option<DeviceId>) {
        let Some(device) = physician.and_then(|id| self.devices.iter().find(|device| device.party.device == id)) else {
            return;
        };
        let has = |fact: &&Fact| {
            let leg = fact.legs.iter().find(|leg| Some(leg.leg) == fact.physician);
            fact.end.is_none() && leg.is_some_and(|leg| leg.device == device.party.device)
        };
        let load = self.board.as_ref().expect("it is up").overview().iter().filter(has).count();
        assert!(load <= usize::from(device.capacity) + 1, "seed {}: {load} calls at one desk", self.seed);
    }

    fn judge(&self) {
        let seed = self.seed;
        let board = self.board.as_ref().expect("it is up again");
        let live: Vec<_> = board.overview().into_iter().filter(|fact| fact.end.is_none()).collect();
        assert!(live.is_empty(), "seed {seed}: calls without an end: {live:?}");
        assert!(self.open.is_empty(), "seed {seed}: desks that still see cases: {:?}", self.open);
        for device in &self.devices {
            for (call, known) in device.book.calls() {
                let fact = known.fact.as_ref();
                assert!(
                    fact.is_some_and(|fact| fact.phase == Phase::Ended),
                    "seed {seed}: {} waits for {call} without an end: {fact:?}",
                    device.party.unit
                );
            }
        }
        // No call is lost silently: each has ended, was refused or became part of another one, and his device knows which.
        for call in &self.asked {
            let is_known = self.ended.contains_key(call) || self.answered.contains(call);
            assert!(is_known, "seed {seed}: nobody knows what became of {call}");
        }
    }
}

impl Device {
    fn new(unit: Centre, is_desk: bool, capacity: u8, number: u128) -> Self {
        let party = Party { unit, device: DeviceId(Uuid::from_u128(number)), user: None };
        let (book, seqs, case) = (Book::default(), BTreeMap::new(), CaseId(Uuid::from_u128(1_000 + number)));
        Self { party, is_desk, capacity, book, session: None, cut_until: None, seqs, case }
    }
}

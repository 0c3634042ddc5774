//! What a seed stands for: who takes part, how the network is, and what goes wrong when.

use std::time::Duration;

use feldakte_core::{
    access::{Access, Principal, Role, Subject},
    ids::DeviceId,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

use super::network::Weather;

/// Everything about a run that is decided before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which of the [`cast`] take part.
    pub tablets: Vec<Tablet>,
    /// Shortest and longest time of a datagram under way. Datagrams overtake each other within it.
    pub latency: (Duration, Duration),
    /// The weather when nothing else is said.
    pub weather: Weather,
    /// Bytes the gateway sends ahead of a tablet's acknowledgement. With few of them, who is cut off soon lags.
    pub send_window: u64,
    /// Time of a commit of the gateway.
    pub gateway_sync: Duration,
    /// Time of a commit of a tablet.
    pub tablet_sync: Duration,
    /// What goes wrong and what ends it, by time.
    pub events: Vec<(Duration, Event)>,
    /// When users stop and the world is healed.
    pub active: Duration,
}

/// One tablet's part.
#[derive(Debug, Clone)]
pub struct Tablet {
    /// Its place in the [`cast`].
    pub cast: usize,
    /// Mean time between two saves.
    pub pace: Duration,
    /// How wrong its clock is.
    pub clock_skew_ms: i64,
}

/// Something that happens to the world. A machine that has ended is started again after a while. Tablets are numbered as in [`Plan::tablets`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The path between a tablet and the gateway breaks.
    Cut(usize, Way),
    /// The path works again.
    Mend(usize),
    /// The weather changes, everywhere.
    Weather(Weather),
    /// Power cut at the gateway.
    CrashGateway,
    /// Power cut at the gateway while its next commit is under way.
    CrashGatewayInCommit,
    /// The gateway's next commit is written, but its store cannot say so.
    LoseCommitOutcome,
    /// The gateway is asked to end.
    DrainGateway,
    /// Power cut at a tablet.
    CrashTablet(usize),
    /// Power cut at a tablet while its user's next save is under way.
    CrashTabletInSave(usize),
    /// The app is closed in order and opened again.
    RestartApp(usize),
    /// The app wants no connection.
    GoOffline(usize),
    /// The app wants a connection.
    GoOnline(usize),
    /// The operating system reports another network.
    ChangeNetwork(usize),
    /// The gateway's disk is full, or has room again.
    GatewayDisk(Room),
    /// A tablet's disk is full, or has room again.
    TabletDisk(usize, Room),
    /// Somebody is granted one of the documents there are.
    Grant(Pick, Access),
    /// Somebody loses the grant on one of the documents there are.
    Revoke(Pick),
}

/// Which directions of a path are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// The gateway hears nothing of the tablet.
    ToGateway,
    /// The tablet hears nothing of the gateway.
    ToTablet,
}

/// Whether a disk takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It does not.
    Full,
    /// It does.
    Free,
}

/// A document and a subject, drawn when the event comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// Index into the documents of all tenants there are by then, modulo their number.
    pub document: usize,
    /// For whom.
    pub subject: Subject,
}

/// Everybody who can take part: two of one unit, one of another, one of another tenant under the first one's unit
/// name, and a role that may not open cases.
pub fn cast() -> [Principal; 5] {
    let principal = |tenant: &str, unit: &str, device: u128, role| Principal {
        tenant: tenant.parse().expect("a slug"),
        unit: unit.parse().expect("a slug"),
        device: DeviceId(Uuid::from_u128(0xfe1d_0000_0000_4000_8000_0000_0000_0000 + device)),
        role,
        user: None,
    };
    [
        principal("dortmund", "rtw-1", 1, Role::AmbulanceCrew),
        principal("dortmund", "rtw-1", 2, Role::AmbulanceCrew),
        principal("dortmund", "rtw-2", 3, Role::EmergencyPhysician),
        principal("hagen", "rtw-1", 4, Role::FieldStaff),
        principal("dortmund", "tnz-1", 5, Role::TelePhysician),
    ]
}

impl Plan {
    /// How long after the healing everything must be safe and equal. The longest back-off is 20 s and a lost answer
    /// costs 3 s more; what waits for a narrow path takes its time.
    pub fn settles_within(&self) -> Duration {
        Duration::from_secs(if self.send_window < WIDE { 400 } else { 60 })
    }

    /// What the seed stands for.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let others = (2..cast().len()).filter(|_| rng.random_bool(0.6));
        let everybody: Vec<usize> = (0..2).chain(others.collect::<Vec<_>>()).collect();
        // Now and then everybody types at once: queues fill, and slow readers fall far behind.
        let tempo = if rng.random_bool(0.15) { 5 } else { 1 };
        let tablets: Vec<Tablet> = everybody.into_iter().map(|cast| Tablet::draw(&mut rng, cast, tempo)).collect();
        let ms = Duration::from_millis;
        let latencies = [(ms(5), ms(20)), (ms(5), ms(120)), (ms(20), ms(60)), (ms(80), ms(120))];
        let weathers = [(0.0, 0.0), (0.01, 0.01), (0.03, 0.1), (0.1, 0.02)];
        let (loss, duplication) = *weathers.choose(&mut rng).expect("not empty");
        let weather = Weather { loss, duplication };
        let mut plan = Plan {
            latency: *latencies.choose(&mut rng).expect("not empty"),
            weather,
            send_window: *[WIDE, WIDE, WIDE, 2 << 10, 512].choose(&mut rng).expect("not empty"),
            gateway_sync: ms(rng.random_range(2..40)),
            tablet_sync: ms(rng.random_range(1..12)),
            active: ms(rng.random_range(12_000..30_000)),
            events: Vec::new(),
            tablets,
        };
        let mut at = ms(1_500);
        while at < plan.active {
            plan.draw_fault(&mut rng, at);
            at += ms(rng.random_range(200..2_500));
        }
        // Stable: events of the same moment stay in the order they were drawn.
        plan.events.sort_by_key(|(at, _)| *at);
        plan
    }

    fn draw_fault(&mut self, rng: &mut StdRng, at: Duration) {
        let tablet = rng.random_range(0..self.tablets.len());
        let lasts = Duration::from_millis(match rng.random_range(0..3) {
            0 => rng.random_range(50..500),
            1 => rng.random_range(500..3_000),
            _ => rng.random_range(3_000..9_000),
        });
        let way = *[Way::Both, Way::Both, Way::ToGateway, Way::ToTablet].choose(rng).expect("not empty");
        let storm = Weather { loss: rng.random_range(0.2..0.6), duplication: rng.random_range(0.0..0.3) };
        let pick = Pick { document: rng.random_range(0..1_000), subject: draw_subject(rng) };
        let access = if rng.random_bool(0.6) { Access::Write } else { Access::Read };
        let (begins, ends) = match rng.random_range(0..100) {
            0..14 => (Event::Cut(tablet, way), Some(Event::Mend(tablet))),
            14..20 => (Event::Weather(storm), Some(Event::Weather(self.weather))),
            20..26 => (Event::CrashGateway, None),
            26..32 => (Event::CrashGatewayInCommit, None),
            32..35 => (Event::LoseCommitOutcome, None),
            35..38 => (Event::DrainGateway, None),
            38..44 => (Event::CrashTablet(tablet), None),
            44..50 => (Event::CrashTabletInSave(tablet), None),
            50..58 => (Event::GoOffline(tablet), Some(Event::GoOnline(tablet))),
            58..60 => (Event::ChangeNetwork(tablet), None),
            60..63 => (Event::RestartApp(tablet), None),
            63..66 => (Event::GatewayDisk(Room::Full), Some(Event::GatewayDisk(Room::Free))),
            66..70 => (Event::TabletDisk(tablet, Room::Full), Some(Event::TabletDisk(tablet, Room::Free))),
            70..88 => (Event::Grant(pick, access), None),
            _ => (Event::Revoke(pick), None),
        };
        self.events.push((at, begins));
        self.events.extend(ends.map(|event| (at + lasts, event)));
    }
}

impl Tablet {
    fn draw(rng: &mut StdRng, cast: usize, tempo: u32) -> Self {
        let clock_skew_ms = match rng.random_range(0..4) {
            0 => rng.random_range(-86_400_000..86_400_000),
            _ => rng.random_range(-2_000..2_000),
        };
        Self { cast, pace: Duration::from_millis(rng.random_range(150..900)) / tempo, clock_skew_ms }
    }
}

/// A unit or a device, of those that exist.
fn draw_subject(rng: &mut StdRng) -> Subject {
    let cast = cast();
    let somebody = cast.choose(rng).expect("not empty");
    match rng.random_bool(0.5) {
        true => Subject::Unit(somebody.unit.clone()),
        false => Subject::Device(somebody.device),
    }
}

/// What the product uses: never reached here.
const WIDE: u64 = 2 << 20;

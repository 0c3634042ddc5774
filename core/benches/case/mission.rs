//! A clinical document as a mission fills it, the same in every run: a crew's tablet and a physician's desk write, each
//! behind the other by some changes.

use feldakte_core::{
    access::{Principal, Role},
    case::{self, Authors, Edit, Event, OrderStep},
    crdt::{Document, NewChange, Stamp, Value},
    ids::{ActorId, CaseId, DeviceId, DocumentId, EntryId, Epoch, OrderId, Part},
};
use uuid::Uuid;

pub const PART: Part = Part::Clinical;
/// When the mission began, milliseconds since 1970-01-01 UTC.
pub const START_MS: i64 = 1_767_225_600_000;
pub const CREW: usize = 0;
pub const PHYSICIAN: usize = 1;

/// The document while it is written.
pub struct Mission {
    pub changes: Vec<NewChange>,
    pub authors: Authors,
    desks: [Desk; 2],
}

struct Desk {
    document: Document,
    /// How many of the mission's changes it has taken in.
    seen: usize,
}

impl Mission {
    pub fn new() -> Self {
        let changes = vec![case::genesis(PART).clone()];
        let mut authors = Authors::default();
        let desks = [Role::AmbulanceCrew, Role::TelePhysician].map(|role| {
            let device = DeviceId(Uuid::from_u128(role as u128 + 1));
            let actor = actor_of(device);
            let (tenant, unit) = ("dortmund".parse().expect("a slug"), "rtw-1".parse().expect("a slug"));
            let principal = Principal { tenant, unit, device, role, user: None };
            authors.add_own(actor, &principal, &principal.tenant);
            Desk { document: Document::load(&changes[0].bytes, actor).expect("genesis loads"), seen: 1 }
        });
        Self { changes, authors, desks }
    }

    /// One of them saves the edits as one change.
    pub fn save(&mut self, who: usize, time_ms: i64, edits: &[Edit]) {
        let stamp = Stamp { time_ms, clock_offset_ms: Some(-40) };
        let desk = &mut self.desks[who].document;
        let change = desk.edit(stamp, |target| edits.iter().try_for_each(|edit| edit.apply(target)));
        self.changes.extend(change.expect("an edit"));
    }

    /// One of them hears everything.
    pub fn catch_up(&mut self, who: usize) {
        let Desk { document, seen } = &mut self.desks[who];
        document.apply(self.changes[*seen..].iter().map(|change| &change.bytes)).expect("honest changes apply");
        *seen = self.changes.len();
    }
}

/// A mission of that many changes: half of them vitals, then orders (20 from 400 changes on), facts, notes, narrative.
pub fn busy(changes: usize) -> Mission {
    let mut mission = Mission::new();
    while mission.changes.len() < changes {
        let index = mission.changes.len();
        let (who, edits) = busy_save(index);
        if who == PHYSICIAN || index.is_multiple_of(10) {
            mission.catch_up(who);
        }
        mission.save(who, START_MS + index as i64 * 1_370, &edits);
    }
    mission
}

fn busy_save(index: usize) -> (usize, Vec<Edit>) {
    let number = index as i64;
    match index % 10 {
        1 if index == 1 => (CREW, (0..50).map(|field| fact(field, "unauffällig")).collect()),
        4 | 9 if index < 400 => order_step(index / 5),
        1 => (CREW, vec![fact(index / 10 % 50, &format!("Befund {index}"))]),
        3 => (
            CREW,
            vec![entry(index, "note", vec![("text", text("Patient gibt an, seit heute früh Druck zu spüren."))])],
        ),
        7 if index % 50 == 7 => (PHYSICIAN, vec![narrate(&format!("Rücksprache {index} gehalten. "))]),
        _ => (CREW, vec![vitals(index, number)]),
    }
}

/// The steps of twenty orders, one after the other.
pub fn order_step(number: usize) -> (usize, Vec<Edit>) {
    let content = vec![
        ("dose".to_owned(), Value::Decimal(0.1)),
        ("drug".to_owned(), text("Fentanyl")),
        ("route".to_owned(), text("iv")),
        ("unit".to_owned(), text("mg")),
    ];
    let (who, step) = match number % 4 {
        0 => (CREW, OrderStep::Proposed { content }),
        1 => (PHYSICIAN, OrderStep::Ordered { content }),
        2 => (CREW, OrderStep::ReadBack),
        _ => (CREW, OrderStep::Given { at_ms: START_MS + number as i64, dose: content[..1].to_vec() }),
    };
    let order = OrderId(Uuid::from_u128(number as u128 / 4 + 1));
    (who, vec![Edit::Record { part: PART, event: Event::Order { order, step } }])
}

/// Name of one of the document's fields.
pub fn field(number: usize) -> String {
    format!("befund_{number:02}")
}

pub fn fact(number: usize, value: &str) -> Edit {
    Edit::SetFact { part: PART, name: field(number), value: text(value) }
}

/// An entry of vitals by hand.
pub fn vitals(id: usize, number: i64) -> Edit {
    let integer = |from, range| Value::Integer(from + number * 7 % range);
    let fields = vec![
        ("blood_pressure_diastolic", integer(70, 20)),
        ("blood_pressure_systolic", integer(110, 40)),
        ("heart_rate", integer(70, 50)),
        ("respiratory_rate", integer(12, 8)),
        ("spo2", integer(92, 8)),
    ];
    entry(id, "vitals", fields)
}

pub fn entry(id: usize, kind: &str, fields: Vec<(&str, Value)>) -> Edit {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Edit::AddEntry { part: PART, id: EntryId(Uuid::from_u128(spread(id))), kind: kind.to_owned(), fields }
}

pub fn narrate(insert: &str) -> Edit {
    Edit::Narrate { part: PART, at: None, delete: 0, insert: insert.to_owned() }
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The actor of a device in this document.
pub fn actor_of(device: DeviceId) -> ActorId {
    case::actor(device, DocumentId { case: CaseId(Uuid::from_u128(7)), part: PART }, Epoch(Uuid::nil()), 0)
}

/// Ids that do not pack better than real ones.
fn spread(id: usize) -> u128 {
    (id as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

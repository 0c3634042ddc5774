//! A device that writes golden documents: its ids and its clock are fixed, and every change passes admission's parser
//! and the field catalogue.

use std::slice;

use bytes::Bytes;
use feldakte_core::{
    access::{Principal, Role},
    case::{
        Authors, Edit, ElementId, Event, OrderStep, actor, genesis,
        schema::{CaseKind, check_entry, check_fact},
    },
    change::Change,
    crdt::{Document, NewChange, Stamp, Value},
    ids::{ActorId, CaseId, DeviceId, DocumentId, EntryId, Epoch, OrderId, Part},
};
use uuid::Uuid;

/// Somebody with a device.
#[derive(Clone, Copy)]
pub struct Person {
    /// Number of the device.
    pub device: u128,
    /// What the certificate says.
    pub role: Role,
    /// The case they write.
    pub case: CaseId,
}

impl Person {
    /// Certifies what they write.
    pub fn bind(self, authors: &mut Authors) {
        let (tenant, unit) = ("dortmund".parse().expect("a slug"), "rtw-1-83-1".parse().expect("a slug"));
        let principal = Principal { tenant, unit, device: self.device(), role: self.role, user: None };
        Part::ALL.into_iter().for_each(|part| authors.add_own(self.actor(part), &principal, &principal.tenant));
    }

    fn device(self) -> DeviceId {
        DeviceId(Uuid::from_u128(DEVICES + self.device))
    }

    fn actor(self, part: Part) -> ActorId {
        actor(self.device(), DocumentId { case: self.case, part }, Epoch(Uuid::nil()), 0)
    }
}

/// A device with its replica of a case.
pub struct Desk {
    kind: CaseKind,
    documents: [Document; 3],
    /// Its clock.
    pub now_ms: i64,
    /// How wrong it knows its clock to be.
    pub clock_offset_ms: Option<i64>,
}

impl Desk {
    /// A case as it begins, at a clock's time.
    pub fn new(kind: CaseKind, person: Person, now_ms: i64) -> Self {
        let open = |part| Document::load(&genesis(part).bytes, person.actor(part)).expect("genesis loads");
        Self { kind, documents: Part::ALL.map(open), now_ms, clock_offset_ms: None }
    }

    /// The document of that part.
    pub fn document(&mut self, part: Part) -> &mut Document {
        &mut self.documents[part as usize - 1]
    }

    /// Saves edits of one part as one change, a little later than the last one.
    pub fn save(&mut self, edits: &[Edit]) -> NewChange {
        edits.iter().for_each(|edit| self.check(edit));
        self.now_ms += 61_007;
        let stamp = Stamp { time_ms: self.now_ms, clock_offset_ms: self.clock_offset_ms };
        let document = self.document(edits[0].part());
        let change = document.edit(stamp, |target| edits.iter().try_for_each(|edit| edit.apply(target)));
        let change = change.expect("an edit").expect("a change");
        Change::parse(change.bytes.clone()).expect("admission takes it");
        change
    }

    /// Saves one edit.
    pub fn save_one(&mut self, edit: Edit) -> NewChange {
        self.save(slice::from_ref(&edit))
    }

    /// Both hear everything from each other.
    pub fn sync(&mut self, other: &mut Desk) {
        for (mine, theirs) in self.documents.iter_mut().zip(&mut other.documents) {
            let all = |document: &mut Document| document.changes().into_iter().map(|change| change.bytes);
            let (here, there): (Vec<Bytes>, Vec<Bytes>) = (all(mine).collect(), all(theirs).collect());
            mine.apply(&there).expect("honest changes apply");
            theirs.apply(&here).expect("honest changes apply");
        }
    }

    fn check(&self, edit: &Edit) {
        match edit {
            Edit::SetFact { part, name, value } => check_fact(self.kind, *part, name, value).expect("in the catalogue"),
            Edit::AddEntry { part, kind, fields, .. } | Edit::Correct { part, kind, fields, .. } => {
                check_entry(self.kind, *part, kind, fields).expect("in the catalogue");
            }
            _ => {}
        }
    }
}

/// Makes edits of that part.
#[derive(Clone, Copy)]
pub struct In(pub Part);

impl In {
    /// A fact.
    pub fn fact(self, name: &str, value: impl Into<Held>) -> Edit {
        Edit::SetFact { part: self.0, name: name.to_owned(), value: value.into().0 }
    }

    /// A new entry.
    pub fn entry<const N: usize>(self, id: u128, kind: &str, fields: [(&str, Value); N]) -> Edit {
        Edit::AddEntry { part: self.0, id: entry(id), kind: kind.to_owned(), fields: named(fields) }
    }

    /// The correction of an entry.
    pub fn correct<const N: usize>(self, [id, replaces]: [u128; 2], kind: &str, fields: [(&str, Value); N]) -> Edit {
        let (id, replaces, kind) = (entry(id), entry(replaces), kind.to_owned());
        Edit::Correct { part: self.0, id, replaces, kind, fields: named(fields) }
    }

    /// The withdrawal of an entry.
    pub fn withdraw(self, [id, replaces]: [u128; 2], reason: &str) -> Edit {
        Edit::Withdraw { part: self.0, id: entry(id), replaces: entry(replaces), reason: reason.to_owned() }
    }

    /// More narrative at its end.
    pub fn narrate(self, insert: &str) -> Edit {
        Edit::Narrate { part: self.0, at: None, delete: 0, insert: insert.to_owned() }
    }

    /// The answer to an element of a checklist.
    pub fn answer<const N: usize>(self, key: &str, record: [(&str, Value); N]) -> Edit {
        let element = ElementId::parse(key).expect("an element");
        Edit::Answer { part: self.0, element, value: Value::Record(named(record)) }
    }

    /// Something that happened.
    pub fn event(self, event: Event) -> Edit {
        Edit::Record { part: self.0, event }
    }

    /// A step of an order.
    pub fn step(self, order: u128, step: OrderStep) -> Edit {
        self.event(Event::Order { order: OrderId(Uuid::from_u128(ORDERS + order)), step })
    }

    /// A status.
    pub fn status(self, of: &str, status: &str, at_ms: Option<i64>) -> Edit {
        self.event(Event::Status { of: of.to_owned(), status: status.to_owned(), at_ms })
    }
}

/// A value, or a text that becomes one.
pub struct Held(Value);

impl From<Value> for Held {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl From<&str> for Held {
    fn from(value: &str) -> Self {
        Self(text(value))
    }
}

/// A text.
pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A record.
pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(named(fields))
}

/// A quantity with its UCUM unit.
pub fn quantity(value: f64, unit: &str) -> Value {
    record([("value", Value::Decimal(value)), ("unit", text(unit))])
}

/// A hash, as attachments have one.
pub fn hash(first: u8) -> Value {
    Value::Bytes((0..32).map(|index| first.wrapping_add(index * 7)).collect::<Vec<u8>>().into())
}

/// Fields by name.
pub fn named<const N: usize>(fields: [(&str, Value); N]) -> Vec<(String, Value)> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An entry's id.
pub fn entry(number: u128) -> EntryId {
    EntryId(Uuid::from_u128(ENTRIES + number))
}

/// A case's id.
pub const fn case(number: u128) -> CaseId {
    CaseId(Uuid::from_u128(CASES + number))
}

const CASES: u128 = 0x0199_c4a0_0000_7000_8000_ca5e_0000_0000;
const DEVICES: u128 = 0x0199_c4a0_0000_7000_8000_de71_ce00_0000;
const ENTRIES: u128 = 0x0199_c4a0_0000_7000_8000_e127_1e50_0000;
const ORDERS: u128 = 0x0199_c4a0_0000_7000_8000_02de_2500_0000;

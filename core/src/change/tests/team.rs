//! Several devices that edit one document and merge at random: the source of honest changes for property tests.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::{
    access::{Principal, Role},
    case,
    crdt::{Container, CrdtError, Document, Edits, NewChange, Stamp, Value},
    ids::{ActorId, CaseId, DeviceId, DocumentId, Epoch, Part},
};

/// One thing a member does to its replica.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Create { key: u8, kind: Container },
    PutRoot { key: u8, value: Value },
    Put { name: u8, value: Value },
    Push { fields: Vec<(String, Value)> },
    Splice { at: usize, delete: usize, insert: String },
}

/// What happens next in a team.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A member saves: one change, unless nothing changed.
    Save { who: usize, time: i64, acts: Vec<Act> },
    /// A member merges everything another member has.
    Pull { who: usize, from: usize },
}

pub(crate) struct Member {
    pub(crate) document: Document,
    has: BTreeSet<usize>,
}

/// A change and who wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) who: usize,
    pub(crate) change: NewChange,
}

pub(crate) struct Team {
    pub(crate) members: Vec<Member>,
    /// All changes, in the order in which they were made; the genesis first.
    pub(crate) written: Vec<Written>,
}

pub(crate) fn document_id() -> DocumentId {
    DocumentId { case: CaseId(Uuid::from_u128(7)), part: Part::Clinical }
}

pub(crate) fn device(number: usize) -> DeviceId {
    DeviceId(Uuid::from_u128(number as u128 + 1))
}

pub(crate) fn crew(number: usize) -> Principal {
    Principal {
        tenant: "dortmund".parse().expect("a slug"),
        unit: "rtw-1-83-1".parse().expect("a slug"),
        device: device(number),
        role: Role::AmbulanceCrew,
        user: None,
    }
}

pub(crate) fn actor(number: usize) -> ActorId {
    case::actor(device(number), document_id(), Epoch(Uuid::nil()), 0)
}

impl Team {
    pub(crate) fn new(size: usize) -> Self {
        let genesis = case::genesis(document_id().part);
        let member = |number| Member {
            document: Document::load(&genesis.bytes, actor(number)).expect("the genesis loads"),
            has: BTreeSet::from([0]),
        };
        let members = (0..size).map(member).collect();
        Self { members, written: vec![Written { who: 0, change: genesis.clone() }] }
    }

    pub(crate) fn after(size: usize, steps: &[Step]) -> Self {
        let mut team = Self::new(size);
        steps.iter().for_each(|step| team.step(step));
        team
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Save { who, time, acts } => {
                let who = who % self.members.len();
                self.save(who, *time, acts);
            }
            Step::Pull { who, from } => self.pull(who % self.members.len(), from % self.members.len()),
        }
    }

    /// The change, if the acts changed anything.
    pub(crate) fn save(&mut self, who: usize, time: i64, acts: &[Act]) -> Option<NewChange> {
        let member = &mut self.members[who];
        let edit = |edits: &mut Edits<'_>| acts.iter().try_for_each(|act| act.apply(edits));
        let change =
            member.document.edit(Stamp::at(time.saturating_mul(1000)), edit).expect("acts are always possible")?;
        member.has.insert(self.written.len());
        self.written.push(Written { who, change: change.clone() });
        Some(change)
    }

    pub(crate) fn pull(&mut self, who: usize, from: usize) {
        let missing: Vec<usize> = self.members[from].has.difference(&self.members[who].has).copied().collect();
        let member = &mut self.members[who];
        let changes = missing.iter().map(|index| &self.written[*index].change.bytes);
        member.document.apply(changes).expect("honest changes merge");
        member.has.extend(missing);
    }
}

impl Act {
    fn apply(&self, edits: &mut Edits<'_>) -> Result<(), CrdtError> {
        match self {
            Act::Create { key, kind } => edits.create(&format!("container {key}"), *kind),
            Act::PutRoot { key, value } => edits.put_root(&format!("root {key}"), value),
            Act::Put { name, value } => edits.put("facts", &format!("fact {name}"), value),
            Act::Push { fields } => edits.push("entries", fields.iter().map(|(name, value)| (name.as_str(), value))),
            Act::Splice { at, delete, insert } => {
                let len = edits.text_len("narrative")?;
                let at = at % (len + 1);
                edits.splice("narrative", at, (*delete).min(len - at), insert)
            }
        }
    }
}

/// Teams of one to five and what they do.
pub(crate) fn any_team(steps: usize) -> impl Strategy<Value = (usize, Vec<Step>)> {
    (1usize..=5, vec(any_step(), 0..steps))
}

fn any_step() -> impl Strategy<Value = Step> {
    let save = (any::<u8>(), -(1i64 << 48)..=1 << 48, vec(any_act(), 1..6));
    prop_oneof![
        3 => save.prop_map(|(who, time, acts)| Step::Save { who: who.into(), time, acts }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(who, from)| Step::Pull { who: who.into(), from: from.into() }),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![Just(Container::Map), Just(Container::List), Just(Container::Text)];
    let field = (any_text(), any_value());
    let splice = |delete, insert| (any::<usize>(), delete, insert);
    prop_oneof![
        1 => (0u8..3, kind).prop_map(|(key, kind)| Act::Create { key, kind }),
        1 => (0u8..3, any_value()).prop_map(|(key, value)| Act::PutRoot { key, value }),
        4 => (0u8..5, any_value()).prop_map(|(name, value)| Act::Put { name, value }),
        3 => vec(field, 0..5).prop_map(|fields| Act::Push { fields }),
        3 => splice(0usize..40, any_text()).prop_map(|(at, delete, insert)| Act::Splice { at, delete, insert }),
        1 => splice(0usize..900, Just("Übelkeit 🤢, RR 120/80. ".repeat(40)).boxed())
            .prop_map(|(at, delete, insert)| Act::Splice { at, delete, insert }),
    ]
}

fn any_text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        Just("Größe".to_owned()),
        Just("👩‍⚕️ e\u{301}".to_owned()),
        vec(any::<char>(), 0..30).prop_map(|chars| chars.into_iter().collect()),
    ]
    .boxed()
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_text().prop_map(Value::Text),
        any::<i64>().prop_map(Value::Integer),
        (-3i64..3).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Decimal),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Timestamp),
        Just(Value::Null),
    ]
}

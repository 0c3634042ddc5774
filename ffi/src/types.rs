//! Owned, flat types: what crosses the language border. No name is a keyword in C, Swift, Kotlin or Python.

use feldakte_client_sdk::view::{self, CaseSync, Event, LinkState, SyncState};

use crate::error::FfiError;

/// Which of a case's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Part {
    /// Location, times, status.
    Operations,
    /// Person data.
    Identity,
    /// Findings, vitals, medication, narrative.
    Clinical,
}

/// A value of a field. Times are milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Value {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A whole number.
    Integer {
        /// The number.
        number: i64,
    },
    /// A measured number.
    Decimal {
        /// The number.
        number: f64,
    },
    /// Yes or no.
    Boolean {
        /// The answer.
        flag: bool,
    },
    /// A point in time.
    Timestamp {
        /// Milliseconds since 1970-01-01 UTC.
        millis: i64,
    },
    /// Asked and known to be absent.
    Absent,
}

/// A named value.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct FieldValue {
    /// The field.
    pub name: String,
    /// What stands there.
    pub value: Value,
}

/// One thing a user does to a case.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Edit {
    /// Sets a single fact; concurrent values of others are kept beside it.
    SetFact {
        /// The document.
        part: Part,
        /// The fact.
        name: String,
        /// Its value.
        value: Value,
    },
    /// Appends an entry, such as a set of vitals.
    AddEntry {
        /// The document.
        part: Part,
        /// What kind of entry.
        kind: String,
        /// Its fields.
        fields: Vec<FieldValue>,
    },
    /// Appends to the narrative.
    Note {
        /// The document.
        part: Part,
        /// What is appended.
        text: String,
    },
}

/// A fact with every value that stands in it concurrently.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Fact {
    /// The fact.
    pub name: String,
    /// One; several when devices disagree.
    pub values: Vec<FactValue>,
}

/// A value and who wrote it.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct FactValue {
    /// What stands there.
    pub value: Value,
    /// The certified device, as a UUID; absent until the gateway has certified it.
    pub device: Option<String>,
}

/// An appended entry.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Entry {
    /// Its fields, by name.
    pub fields: Vec<FieldValue>,
    /// The certified device, as a UUID; absent until the gateway has certified it.
    pub device: Option<String>,
}

/// One of the case's documents.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct CaseDocument {
    /// Which.
    pub part: Part,
    /// Facts, by name.
    pub facts: Vec<Fact>,
    /// Entries in document order.
    pub entries: Vec<Entry>,
    /// The narrative.
    pub narrative: String,
}

/// A case as it is on this device.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct WholeCase {
    /// Its id, a UUID.
    pub id: String,
    /// Its documents, as far as this device holds them.
    pub documents: Vec<CaseDocument>,
    /// How safe it is.
    pub safety: CaseSafety,
}

/// How safe the changes of this device to a case are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct CaseSafety {
    /// In one word: the least safe that applies.
    pub state: Safety,
    /// Changes saved on this device only.
    pub local: u64,
    /// Changes on their way.
    pub sent: u64,
    /// Changes durable at the gateway.
    pub durable: u64,
    /// Changes the gateway refused; parked with reason and content.
    pub refused: u64,
    /// Parts of the case have not arrived yet.
    pub incomplete: bool,
    /// This device's access has ended.
    pub access_ended: bool,
}

/// How safe, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Safety {
    /// Something was refused and wants a person.
    Refused,
    /// Something is on this device only.
    Local,
    /// All of it is on its way.
    Sent,
    /// Everything is durable at the gateway.
    Durable,
}

/// A line in the list of cases.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CaseOverview {
    /// Its id, a UUID.
    pub id: String,
    /// How safe it is.
    pub safety: CaseSafety,
}

/// A refused change.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ParkedChange {
    /// Why, as a stable English word such as `NotPermitted`.
    pub reason: String,
    /// What the user did.
    pub edits: Vec<Edit>,
}

/// The link to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ConnectionState {
    /// The app wants no connection.
    Offline,
    /// Dialling, or waiting to dial again.
    Connecting,
    /// In session.
    Connected,
    /// The gateway refuses this device until somebody acts.
    Refused,
}

/// The whole client in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct ClientStatus {
    /// The link.
    pub link: ConnectionState,
    /// Cases on this device.
    pub cases: u64,
    /// Changes over all cases.
    pub safety: CaseSafety,
    /// Every change ever made on this device is durable at the gateway.
    pub all_safe: bool,
}

/// Something an app may want to show at once.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Happening {
    /// The link has changed.
    Link {
        /// To what.
        state: ConnectionState,
    },
    /// The content of a case has changed; read it again.
    CaseChanged {
        /// Its id.
        id: String,
    },
    /// How safe a case is has changed.
    SafetyChanged {
        /// Its id.
        id: String,
    },
}

impl From<Part> for view::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::Operations => view::Part::Operations,
            Part::Identity => view::Part::Identity,
            Part::Clinical => view::Part::Clinical,
        }
    }
}

impl From<view::Part> for Part {
    fn from(part: view::Part) -> Self {
        match part {
            view::Part::Operations => Part::Operations,
            view::Part::Identity => Part::Identity,
            view::Part::Clinical => Part::Clinical,
        }
    }
}

impl From<Value> for view::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Text { text } => view::Value::Text(text),
            Value::Integer { number } => view::Value::Integer(number),
            Value::Decimal { number } => view::Value::Decimal(number),
            Value::Boolean { flag } => view::Value::Boolean(flag),
            Value::Timestamp { millis } => view::Value::Timestamp(millis),
            Value::Absent => view::Value::Null,
        }
    }
}

impl From<view::Value> for Value {
    fn from(value: view::Value) -> Self {
        match value {
            view::Value::Text(text) => Value::Text { text },
            view::Value::Integer(number) => Value::Integer { number },
            view::Value::Decimal(number) => Value::Decimal { number },
            view::Value::Boolean(flag) => Value::Boolean { flag },
            view::Value::Timestamp(millis) => Value::Timestamp { millis },
            view::Value::Null => Value::Absent,
        }
    }
}

impl From<Edit> for view::Edit {
    fn from(edit: Edit) -> Self {
        match edit {
            Edit::SetFact { part, name, value } => view::Edit::SetFact { part: part.into(), name, value: value.into() },
            Edit::AddEntry { part, kind, fields } => {
                let fields = fields.into_iter().map(|FieldValue { name, value }| (name, value.into())).collect();
                view::Edit::AddEntry { part: part.into(), kind, fields }
            }
            Edit::Note { part, text } => view::Edit::Narrate { part: part.into(), at: None, delete: 0, insert: text },
        }
    }
}

impl From<view::Edit> for Edit {
    fn from(edit: view::Edit) -> Self {
        match edit {
            view::Edit::SetFact { part, name, value } => Edit::SetFact { part: part.into(), name, value: value.into() },
            view::Edit::AddEntry { part, kind, fields } => {
                Edit::AddEntry { part: part.into(), kind, fields: named(fields) }
            }
            view::Edit::Narrate { part, insert, .. } => Edit::Note { part: part.into(), text: insert },
        }
    }
}

fn named(fields: Vec<(String, view::Value)>) -> Vec<FieldValue> {
    fields.into_iter().map(|(name, value)| FieldValue { name, value: value.into() }).collect()
}

impl From<CaseSync> for CaseSafety {
    fn from(sync: CaseSync) -> Self {
        let state = match sync.state() {
            SyncState::Refused => Safety::Refused,
            SyncState::Local => Safety::Local,
            SyncState::Sent => Safety::Sent,
            SyncState::Durable => Safety::Durable,
        };
        let CaseSync { local, sent, durable, refused, incomplete, revoked } = sync;
        Self { state, local, sent, durable, refused, incomplete, access_ended: revoked }
    }
}

impl From<LinkState> for ConnectionState {
    fn from(state: LinkState) -> Self {
        match state {
            LinkState::Offline => ConnectionState::Offline,
            LinkState::Connecting => ConnectionState::Connecting,
            LinkState::Connected => ConnectionState::Connected,
            LinkState::Refused => ConnectionState::Refused,
        }
    }
}

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        match event {
            Event::Link(state) => Happening::Link { state: state.into() },
            Event::CaseChanged(id) => Happening::CaseChanged { id: id.to_string() },
            Event::SyncChanged(id) => Happening::SafetyChanged { id: id.to_string() },
        }
    }
}

impl From<view::CaseSummary> for CaseOverview {
    fn from(view::CaseSummary { case, sync }: view::CaseSummary) -> Self {
        Self { id: case.to_string(), safety: sync.into() }
    }
}

impl From<view::Status> for ClientStatus {
    fn from(view::Status { link, cases, sync, all_safe, clock_offset_ms: _ }: view::Status) -> Self {
        Self { link: link.into(), cases, safety: sync.into(), all_safe }
    }
}

impl From<view::ParkedEdit> for ParkedChange {
    fn from(view::ParkedEdit { reason, edits }: view::ParkedEdit) -> Self {
        Self { reason: format!("{reason:?}"), edits: edits.into_iter().map(Edit::from).collect() }
    }
}

impl From<view::CaseView> for WholeCase {
    fn from(view::CaseView { case, documents, sync, authors }: view::CaseView) -> Self {
        let device_of = |actor: Option<view::ActorId>| {
            let actor = actor?;
            authors.iter().find(|author| author.actor == actor).map(|author| author.device.to_string())
        };
        let documents = documents
            .into_iter()
            .map(|document| CaseDocument {
                part: document.part.into(),
                facts: document
                    .facts
                    .into_iter()
                    .map(|fact| {
                        let value =
                            |held: view::Held| FactValue { device: device_of(held.actor), value: held.value.into() };
                        Fact { name: fact.name, values: fact.values.into_iter().map(value).collect() }
                    })
                    .collect(),
                entries: document
                    .entries
                    .into_iter()
                    .map(|entry| Entry { device: device_of(entry.actor), fields: named(entry.fields) })
                    .collect(),
                narrative: document.narrative,
            })
            .collect();
        Self { id: case.to_string(), documents, safety: sync.into() }
    }
}

/// Reads a case id.
pub(crate) fn case_id(id: &str) -> Result<view::CaseId, FfiError> {
    id.parse().map_err(|_| FfiError::Argument("a case id is a UUID".into()))
}

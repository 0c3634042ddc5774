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
    /// Packed content, such as a block of vitals.
    Packed {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Named plain values that belong together, such as a coded diagnosis.
    Record {
        /// Its members; none of them is a record.
        members: Vec<FieldValue>,
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
        /// Its id, from `new_id`; absent: the SDK draws one.
        entry_id: Option<String>,
        /// What kind of entry.
        kind: String,
        /// Its fields.
        fields: Vec<FieldValue>,
    },
    /// Corrects an entry by a new one; the old one stays, marked as replaced.
    CorrectEntry {
        /// The document.
        part: Part,
        /// The entry that is replaced.
        replaces: String,
        /// What kind of entry.
        kind: String,
        /// All fields of the new entry.
        fields: Vec<FieldValue>,
    },
    /// Withdraws an entry; it stays, marked as withdrawn.
    WithdrawEntry {
        /// The document.
        part: Part,
        /// The entry.
        replaces: String,
        /// Why.
        reason: String,
    },
    /// Appends to the narrative.
    Note {
        /// The document.
        part: Part,
        /// What is appended.
        text: String,
    },
    /// Changes the narrative. Places are UTF-16 units, as Kotlin, Java, JavaScript and C# count; Swift has
    /// `utf16.count`, Python `len(text.encode("utf-16-le")) // 2`.
    Narrate {
        /// The document.
        part: Part,
        /// Where, in UTF-16 units of the narrative as the app showed it.
        at: u64,
        /// How many UTF-16 units are removed there.
        remove: u64,
        /// What stands there instead.
        text: String,
    },
    /// Answers an element of a checklist.
    AnswerElement {
        /// The document.
        part: Part,
        /// The checklist's definition.
        definition: String,
        /// Its version.
        version: u32,
        /// The element.
        element: String,
        /// The answer.
        value: Value,
    },
    /// Decides between values of a fact that contradict each other.
    ResolveFact {
        /// The document.
        part: Part,
        /// The fact.
        name: String,
        /// What stands there from now on.
        value: Value,
    },
    /// Records a step of an order.
    Order {
        /// The document.
        part: Part,
        /// The order, from `new_id`: the same on all its steps.
        order_id: String,
        /// What happened to it.
        step: OrderStep,
    },
    /// Records a status.
    Status {
        /// The document.
        part: Part,
        /// Whose: a call sign, or `case`.
        owner: String,
        /// The status.
        status: String,
    },
    /// Something that this version of the SDK's surface cannot name; comes only from the SDK.
    Unnamed {
        /// What it does, in English.
        text: String,
    },
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum OrderStep {
    /// Somebody asks for it.
    Proposed {
        /// Drug, dose, unit, route; or the measure.
        content: Vec<FieldValue>,
    },
    /// A physician orders it.
    Ordered {
        /// As above.
        content: Vec<FieldValue>,
    },
    /// Whoever is to do it has repeated it.
    ReadBack,
    /// It was done.
    Given {
        /// When, milliseconds since 1970-01-01 UTC.
        at_millis: i64,
        /// Dose and unit.
        dose: Vec<FieldValue>,
    },
    /// It was not done.
    Declined {
        /// Why.
        reason: String,
    },
    /// Its time has passed.
    Expired,
    /// It is taken back.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// An order as its events make it.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct OrderView {
    /// Its id.
    pub id: String,
    /// `proposed`, `ordered`, `read_back`, `given`, `refused`, `expired` or `cancelled`.
    pub state: String,
    /// What people should look at, as stable English words such as `GivenWithoutVisibleOrder`.
    pub flags: Vec<String>,
    /// Names of its steps, in an order that agrees with what their writers had seen.
    pub steps: Vec<String>,
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
    /// When it was written, by the writer's clock: milliseconds since 1970-01-01 UTC.
    pub written_at_millis: i64,
    /// Gateway clock minus that clock, milliseconds, if it had been measured.
    pub clock_offset_millis: Option<i64>,
    /// The certified device, as a UUID; absent until the gateway has certified it.
    pub device: Option<String>,
}

/// An appended entry.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Entry {
    /// Its id; absent for entries of apps that give none.
    pub id: Option<String>,
    /// What kind of entry.
    pub kind: String,
    /// Its fields, by name.
    pub fields: Vec<FieldValue>,
    /// Whether it stands: neither corrected nor withdrawn.
    pub is_current: bool,
    /// The entry it corrects or withdraws.
    pub replaces: Option<String>,
    /// When it was written, by the writer's clock: milliseconds since 1970-01-01 UTC.
    pub written_at_millis: i64,
    /// Gateway clock minus that clock, milliseconds, if it had been measured.
    pub clock_offset_millis: Option<i64>,
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
    /// Answers to checklists, by `definition@version/element`.
    pub checklists: Vec<Fact>,
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
    /// The content of a case has changed.
    CaseChanged {
        /// Its id.
        id: String,
        /// What of it, as `part/path`; empty: read it again.
        paths: Vec<String>,
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
            Value::Packed { bytes } => view::Value::Bytes(bytes.into()),
            Value::Record { members } => view::Value::Record(plain(members)),
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
            view::Value::Bytes(bytes) => Value::Packed { bytes: bytes.to_vec() },
            view::Value::Record(members) => Value::Record { members: named(members) },
            view::Value::Null => Value::Absent,
        }
    }
}

impl Edit {
    /// The SDK's edit. `new_id` draws ids for entries that have none.
    pub(crate) fn into_core(self, new_id: impl FnOnce() -> view::EntryId) -> Result<view::Edit, FfiError> {
        Ok(match self {
            Edit::SetFact { part, name, value } => view::Edit::SetFact { part: part.into(), name, value: value.into() },
            Edit::AddEntry { part, entry_id, kind, fields } => {
                let id = entry_id.map_or_else(|| Ok(new_id()), |id| self::entry_id(&id))?;
                view::Edit::AddEntry { part: part.into(), id, kind, fields: plain(fields) }
            }
            Edit::CorrectEntry { part, replaces, kind, fields } => view::Edit::Correct {
                part: part.into(),
                id: new_id(),
                replaces: entry_id(&replaces)?,
                kind,
                fields: plain(fields),
            },
            Edit::WithdrawEntry { part, replaces, reason } => {
                view::Edit::Withdraw { part: part.into(), id: new_id(), replaces: entry_id(&replaces)?, reason }
            }
            Edit::Note { part, text } => view::Edit::Narrate { part: part.into(), at: None, delete: 0, insert: text },
            Edit::Narrate { part, at, remove, text } => {
                let place = |units: u64| usize::try_from(units).unwrap_or(usize::MAX);
                view::Edit::NarrateUtf16 { part: part.into(), at: Some(place(at)), delete: place(remove), insert: text }
            }
            Edit::AnswerElement { part, definition, version, element, value } => {
                let element = view::ElementId { definition, version, element };
                view::Edit::Answer { part: part.into(), element, value: value.into() }
            }
            Edit::ResolveFact { part, name, value } => view::Edit::Resolve {
                part: part.into(),
                path: view::Path::Fact(name),
                value: value.into(),
                among: Vec::new(),
            },
            Edit::Order { part, order_id, step } => {
                let order = order_id.parse().map_err(|_| FfiError::Argument("an order id is a UUID".into()))?;
                let event = view::CaseEvent::Order { order, step: step.into() };
                view::Edit::Record { part: part.into(), event }
            }
            Edit::Status { part, owner, status } => {
                let event = view::CaseEvent::Status { of: owner, status, at_ms: None };
                view::Edit::Record { part: part.into(), event }
            }
            Edit::Unnamed { .. } => return Err(FfiError::Argument("an unnamed edit cannot be made".into())),
        })
    }
}

impl From<view::Edit> for Edit {
    fn from(edit: view::Edit) -> Self {
        let part = edit.part().into();
        match edit {
            view::Edit::SetFact { name, value, .. } => Edit::SetFact { part, name, value: value.into() },
            view::Edit::AddEntry { id, kind, fields, .. } => {
                Edit::AddEntry { part, entry_id: Some(id.to_string()), kind, fields: named(fields) }
            }
            view::Edit::Correct { replaces, kind, fields, .. } => {
                Edit::CorrectEntry { part, replaces: replaces.to_string(), kind, fields: named(fields) }
            }
            view::Edit::Withdraw { replaces, reason, .. } => {
                Edit::WithdrawEntry { part, replaces: replaces.to_string(), reason }
            }
            view::Edit::Narrate { insert, .. } | view::Edit::NarrateUtf16 { insert, .. } => {
                Edit::Note { part, text: insert }
            }
            view::Edit::Answer { element: view::ElementId { definition, version, element }, value, .. } => {
                Edit::AnswerElement { part, definition, version, element, value: value.into() }
            }
            view::Edit::Resolve { path: view::Path::Fact(name), value, .. } => {
                Edit::ResolveFact { part, name, value: value.into() }
            }
            view::Edit::Record { event: view::CaseEvent::Order { order, step }, .. } => {
                Edit::Order { part, order_id: order.to_string(), step: step.into() }
            }
            view::Edit::Record { event: view::CaseEvent::Status { of, status, .. }, .. } => {
                Edit::Status { part, owner: of, status }
            }
            view::Edit::Resolve { .. } => Edit::Unnamed { text: "resolves an answer of a checklist".into() },
            view::Edit::Record { .. } => Edit::Unnamed { text: "records an event of the case".into() },
            view::Edit::RaiseSchema { .. } => Edit::Unnamed { text: "raises the schema".into() },
        }
    }
}

impl From<OrderStep> for view::OrderStep {
    fn from(step: OrderStep) -> Self {
        match step {
            OrderStep::Proposed { content } => view::OrderStep::Proposed { content: plain(content) },
            OrderStep::Ordered { content } => view::OrderStep::Ordered { content: plain(content) },
            OrderStep::ReadBack => view::OrderStep::ReadBack,
            OrderStep::Given { at_millis, dose } => view::OrderStep::Given { at_ms: at_millis, dose: plain(dose) },
            OrderStep::Declined { reason } => view::OrderStep::Refused { reason },
            OrderStep::Expired => view::OrderStep::Expired,
            OrderStep::Cancelled { reason } => view::OrderStep::Cancelled { reason },
        }
    }
}

impl From<view::OrderStep> for OrderStep {
    fn from(step: view::OrderStep) -> Self {
        match step {
            view::OrderStep::Proposed { content } => OrderStep::Proposed { content: named(content) },
            view::OrderStep::Ordered { content } => OrderStep::Ordered { content: named(content) },
            view::OrderStep::ReadBack => OrderStep::ReadBack,
            view::OrderStep::Given { at_ms, dose } => OrderStep::Given { at_millis: at_ms, dose: named(dose) },
            view::OrderStep::Refused { reason } => OrderStep::Declined { reason },
            view::OrderStep::Expired => OrderStep::Expired,
            view::OrderStep::Cancelled { reason } => OrderStep::Cancelled { reason },
        }
    }
}

impl From<view::Order> for OrderView {
    fn from(view::Order { id, state, steps, flags }: view::Order) -> Self {
        Self {
            id: id.to_string(),
            state: state.name().to_owned(),
            flags: flags.iter().map(|flag| format!("{flag:?}")).collect(),
            steps: steps.iter().map(|step| step.step.name().to_owned()).collect(),
        }
    }
}

fn plain(fields: Vec<FieldValue>) -> Vec<(String, view::Value)> {
    fields.into_iter().map(|FieldValue { name, value }| (name, value.into())).collect()
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
            Event::CaseChanged(id, changed) => Happening::CaseChanged { id: id.to_string(), paths: paths_of(changed) },
            Event::SyncChanged(id) => Happening::SafetyChanged { id: id.to_string() },
        }
    }
}

fn paths_of(changed: view::Changed) -> Vec<String> {
    match changed {
        view::Changed::Paths(paths) => {
            paths.into_iter().map(|(part, path)| format!("{}/{path}", part.name())).collect()
        }
        view::Changed::Everything => Vec::new(),
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
    fn from(view::CaseView { case, documents, sync, authors: _ }: view::CaseView) -> Self {
        let documents = documents.into_iter().map(CaseDocument::from).collect();
        Self { id: case.to_string(), documents, safety: sync.into() }
    }
}

impl From<view::DocumentView> for CaseDocument {
    fn from(document: view::DocumentView) -> Self {
        let view::DocumentView { part, facts, checklists, entries, narrative, events: _, min_schema: _, actors: _ } =
            document;
        Self {
            part: part.into(),
            facts: facts.into_iter().map(Fact::from).collect(),
            checklists: checklists.into_iter().map(Fact::from).collect(),
            entries: entries.into_iter().map(Entry::from).collect(),
            narrative,
        }
    }
}

impl From<view::Fact> for Fact {
    fn from(view::Fact { name, values }: view::Fact) -> Self {
        let value = |view::Claim { value, provenance }: view::Claim| {
            let view::Stamp { time_ms, clock_offset_ms } = provenance.origin.stamp;
            FactValue {
                value: value.into(),
                written_at_millis: time_ms,
                clock_offset_millis: clock_offset_ms,
                device: device_of(&provenance),
            }
        };
        Self { name, values: values.into_iter().map(value).collect() }
    }
}

impl From<view::Entry> for Entry {
    fn from(entry: view::Entry) -> Self {
        let is_current = entry.is_current();
        let view::Entry { id, kind, fields, provenance, replaces, replaced_by: _ } = entry;
        let view::Stamp { time_ms, clock_offset_ms } = provenance.origin.stamp;
        Self {
            id: id.map(|id| id.to_string()),
            kind,
            fields: named(fields),
            is_current,
            replaces: replaces.map(|id| id.to_string()),
            written_at_millis: time_ms,
            clock_offset_millis: clock_offset_ms,
            device: device_of(&provenance),
        }
    }
}

fn device_of(provenance: &view::Provenance) -> Option<String> {
    provenance.author.as_ref().map(|author| author.device.to_string())
}

fn entry_id(id: &str) -> Result<view::EntryId, FfiError> {
    id.parse().map_err(|_| FfiError::Argument("an entry id is a UUID".into()))
}

/// Reads a case id.
pub(crate) fn case_id(id: &str) -> Result<view::CaseId, FfiError> {
    id.parse().map_err(|_| FfiError::Argument("a case id is a UUID".into()))
}

//! Between the SDK's types and those that cross the language border: each pair once, every field named.

use feldakte_client_sdk::{
    store::WipeStage,
    view::{self, CaseSync, Event, LinkState, SyncState},
};

use crate::{
    error::FfiError,
    types::{
        CaseDocument, CaseOverview, CaseSafety, ClientStatus, ConnectionState, DeviceUser, Edit, EmergencyReason,
        Entry, Fact, FactValue, FieldValue, Happening, LinkFacts, OrderStep, OrderView, ParkedChange, Part, Safety,
        Value, WholeCase, WipeProgress,
    },
};

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
        let CaseSync { local, sent, durable, refused, kept, incomplete, revoked } = sync;
        Self { state, local, sent, durable, refused, kept, incomplete, access_ended: revoked }
    }
}

impl From<view::LinkFacts> for LinkFacts {
    fn from(facts: view::LinkFacts) -> Self {
        let view::LinkFacts { transport, gateway: _, local: _, rtt, loss, up, down, up_capacity, age } = facts;
        let transport = match transport {
            view::Transport::Quic => "quic",
            view::Transport::Grpc => "grpc",
        };
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (rtt_millis, age_millis) = (millis(rtt), millis(age));
        Self { transport: transport.to_owned(), rtt_millis, loss, up, down, up_capacity, age_millis }
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
            Event::CaseRemoved(id) => Happening::CaseRemoved { id: id.to_string() },
            Event::ContentExpired => Happening::ContentExpired,
            Event::UserChanged => Happening::UserChanged,
            Event::SignInEnded => Happening::SignInEnded,
            Event::Wiped => Happening::Wiped,
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
    fn from(status: view::Status) -> Self {
        let view::Status { link, cases, sync, all_safe, user, others, clock_offset_ms: _, wipe } = status;
        Self {
            link: link.into(),
            cases,
            safety: sync.into(),
            all_safe,
            user: user.map(|user| user.to_string()),
            unsafe_of_others: others,
            wipe: wipe.map(WipeProgress::from),
        }
    }
}

impl From<view::DeviceUser> for DeviceUser {
    fn from(view::DeviceUser { user, is_active, has_pin, unsent }: view::DeviceUser) -> Self {
        Self { id: user.to_string(), is_active, has_pin, unsent }
    }
}

impl From<EmergencyReason> for view::BreakGlassReason {
    fn from(reason: EmergencyReason) -> Self {
        match reason {
            EmergencyReason::LifeInDanger => view::BreakGlassReason::LifeInDanger,
            EmergencyReason::TakenOver => view::BreakGlassReason::TakenOver,
            EmergencyReason::WronglyAssigned => view::BreakGlassReason::WronglyAssigned,
            EmergencyReason::Other => view::BreakGlassReason::Other,
        }
    }
}

impl From<WipeStage> for WipeProgress {
    fn from(stage: WipeStage) -> Self {
        match stage {
            WipeStage::Ordered => WipeProgress::Ordered,
            WipeStage::Destroyed => WipeProgress::Destroyed,
            WipeStage::Confirmed => WipeProgress::Confirmed,
        }
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

//! What happened to a case, as events: orders, status, finalisation, links, decisions. Never changed, never deleted;
//! what they come to is folded by pure functions.
//!
//! Stored as maps in the list `events`: `event` names the kind, the rest are its fields. Names are disk format.

use uuid::Uuid;

use crate::{
    case::author::Provenance,
    crdt::{Item, Value},
    ids::{CaseId, ChangeHash, EntryId, OrderId},
};

/// One event.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub enum Event {
    /// A step of an order.
    Order {
        /// Which order.
        order: OrderId,
        /// What happened to it.
        step: OrderStep,
    },
    /// A status of a resource, such as an FMS status.
    Status {
        /// Whose: a call sign, or `case` for the case itself.
        of: String,
        /// The status.
        status: String,
        /// When it was reached, milliseconds since 1970-01-01 UTC, if that is not when it was written.
        at_ms: Option<i64>,
    },
    /// The document as these heads name it was signed.
    Finalised {
        /// The signed state.
        heads: Vec<ChangeHash>,
        /// SHA-256 over its content: see [`super::finalise`].
        content: [u8; 32],
    },
    /// Another case belongs to this one.
    Linked {
        /// Which.
        case: CaseId,
        /// How: `same_patient`, `continues`, `duplicate` …
        relation: String,
        /// Why, in the user's words.
        reason: String,
    },
    /// A link was a mistake.
    Unlinked {
        /// Which.
        case: CaseId,
        /// Why, in the user's words.
        reason: String,
    },
    /// Entries of this case belong to another patient's.
    Split {
        /// To which case.
        into: CaseId,
        /// Which entries.
        entries: Vec<EntryId>,
        /// Why, in the user's words.
        reason: String,
    },
    /// A person has decided between values that contradicted each other.
    Resolved {
        /// Where, as [`super::Path`] prints it.
        path: String,
        /// The changes whose values were there.
        among: Vec<ChangeHash>,
    },
}

/// What happened to an order (DOMAIN, rule 2).
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub enum OrderStep {
    /// Somebody asks for it.
    Proposed {
        /// Drug with code system and version, dose, UCUM unit, route; or the measure.
        content: Vec<(String, Value)>,
    },
    /// A physician orders it.
    Ordered {
        /// As above.
        content: Vec<(String, Value)>,
    },
    /// Whoever is to do it has repeated it.
    ReadBack,
    /// It was done.
    Given {
        /// When, milliseconds since 1970-01-01 UTC.
        at_ms: i64,
        /// What was given: dose and UCUM unit.
        dose: Vec<(String, Value)>,
    },
    /// It was not done.
    Refused {
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

crate::hide_content! { Event, OrderStep }

/// An event and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What happened.
    pub event: Event,
    /// Who says so.
    pub provenance: Provenance,
}

type Fields = Vec<(String, Value)>;

/// The fields of a stored event.
struct Stored<'a>(&'a [(String, Value)]);

impl Stored<'_> {
    fn field(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

impl Event {
    /// As it is stored.
    pub fn to_fields(&self) -> Fields {
        let (kind, fields) = match self {
            Event::Order { order, step } => return order_fields(*order, step),
            Event::Status { of, status, at_ms } => {
                let at = at_ms.map(|ms| ("at", Value::Timestamp(ms)));
                ("status", [("of", text(of)), ("status", text(status))].into_iter().chain(at).collect())
            }
            Event::Finalised { heads, content } => {
                let content = Value::Bytes(bytes::Bytes::copy_from_slice(content));
                ("finalised", vec![("heads", hashes(heads)), ("content", content)])
            }
            Event::Linked { case, relation, reason } => {
                ("linked", vec![("case", uuid(case.0)), ("relation", text(relation)), ("reason", text(reason))])
            }
            Event::Unlinked { case, reason } => ("unlinked", vec![("case", uuid(case.0)), ("reason", text(reason))]),
            Event::Split { into, entries, reason } => {
                let entries = entries.iter().flat_map(|entry| *entry.as_bytes()).collect::<Vec<u8>>();
                let entries = Value::Bytes(entries.into());
                ("split", vec![("into", uuid(into.0)), ("entries", entries), ("reason", text(reason))])
            }
            Event::Resolved { path, among } => ("resolved", vec![("path", text(path)), ("among", hashes(among))]),
        };
        named(kind, fields)
    }

    /// What a stored item says; `None` for an event of a newer app, which stays where it is.
    pub fn of(item: &Item) -> Option<Event> {
        Self::of_fields(&item.fields)
    }

    /// Reads what [`Event::to_fields`] gives, in any order.
    pub fn of_fields(fields: &[(String, Value)]) -> Option<Event> {
        let item = &Stored(fields);
        let kind = item.field("event")?.as_text()?;
        let text = |name: &str| item.field(name)?.as_text().map(str::to_owned);
        Some(match kind.split_once('.').unwrap_or((kind, "")) {
            ("order", step) => Event::Order { order: OrderId(uuid_of(item, "order")?), step: order_step(item, step)? },
            ("status", _) => {
                let at_ms = item.field("at").and_then(Value::as_integer);
                Event::Status { of: text("of")?, status: text("status")?, at_ms }
            }
            ("finalised", _) => Event::Finalised {
                heads: hashes_of(item, "heads")?,
                content: item.field("content")?.as_bytes()?[..].try_into().ok()?,
            },
            ("linked", _) => Event::Linked {
                case: CaseId(uuid_of(item, "case")?),
                relation: text("relation")?,
                reason: text("reason")?,
            },
            ("unlinked", _) => Event::Unlinked { case: CaseId(uuid_of(item, "case")?), reason: text("reason")? },
            ("split", _) => {
                let entries = item.field("entries")?.as_bytes()?.chunks(16).map(EntryId::from_slice);
                let entries = entries.collect::<Result<_, _>>().ok()?;
                Event::Split { into: CaseId(uuid_of(item, "into")?), entries, reason: text("reason")? }
            }
            ("resolved", _) => Event::Resolved { path: text("path")?, among: hashes_of(item, "among")? },
            _ => return None,
        })
    }
}

impl OrderStep {
    /// Its name in logs and on screens.
    pub fn name(&self) -> &'static str {
        match self {
            OrderStep::Proposed { .. } => "proposed",
            OrderStep::Ordered { .. } => "ordered",
            OrderStep::ReadBack => "read_back",
            OrderStep::Given { .. } => "given",
            OrderStep::Refused { .. } => "refused",
            OrderStep::Expired => "expired",
            OrderStep::Cancelled { .. } => "cancelled",
        }
    }
}

fn order_fields(order: OrderId, step: &OrderStep) -> Fields {
    let mut fields = named(&format!("order.{}", step.name()), vec![("order", uuid(order.0))]);
    match step {
        OrderStep::Proposed { content } | OrderStep::Ordered { content } => {
            fields.push(("content".to_owned(), Value::Record(content.clone())));
        }
        OrderStep::Given { at_ms, dose } => {
            fields.push(("at".to_owned(), Value::Timestamp(*at_ms)));
            fields.push(("dose".to_owned(), Value::Record(dose.clone())));
        }
        OrderStep::Refused { reason } | OrderStep::Cancelled { reason } => {
            fields.push(("reason".to_owned(), text(reason)));
        }
        OrderStep::ReadBack | OrderStep::Expired => {}
    }
    fields
}

fn order_step(item: &Stored<'_>, step: &str) -> Option<OrderStep> {
    let record = |name: &str| match item.field(name)? {
        Value::Record(fields) => Some(fields.clone()),
        _ => None,
    };
    let reason = || item.field("reason")?.as_text().map(str::to_owned);
    Some(match step {
        "proposed" => OrderStep::Proposed { content: record("content")? },
        "ordered" => OrderStep::Ordered { content: record("content")? },
        "read_back" => OrderStep::ReadBack,
        "given" => OrderStep::Given { at_ms: item.field("at")?.as_integer()?, dose: record("dose")? },
        "refused" => OrderStep::Refused { reason: reason()? },
        "expired" => OrderStep::Expired,
        "cancelled" => OrderStep::Cancelled { reason: reason()? },
        _ => return None,
    })
}

fn named(kind: &str, fields: Vec<(&str, Value)>) -> Fields {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    std::iter::once(("event".to_owned(), text(kind))).chain(fields).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn uuid(id: Uuid) -> Value {
    Value::Bytes(bytes::Bytes::copy_from_slice(id.as_bytes()))
}

fn uuid_of(item: &Stored<'_>, name: &str) -> Option<Uuid> {
    Uuid::from_slice(item.field(name)?.as_bytes()?).ok()
}

fn hashes(hashes: &[ChangeHash]) -> Value {
    Value::Bytes(hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>().into())
}

fn hashes_of(item: &Stored<'_>, name: &str) -> Option<Vec<ChangeHash>> {
    let hashes = item.field(name)?.as_bytes()?.chunks(32).map(ChangeHash::from_slice);
    hashes.collect::<Result<_, _>>().ok()
}

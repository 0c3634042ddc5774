//! What the user did, as stored beside each own change: so that a refused change can be shown, and done again.
//!
//! The format is JSON with short, fixed names; it never leaves the device.

use bytes::Bytes;
use feldakte_core::{
    case::{Edit, ElementId, Event, Path},
    crdt::Value,
    hex::{hex, unhex},
    ids::{ChangeHash, Part},
};
use serde::{Deserialize, Serialize};

/// What one own change was made for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Intent {
    /// What the user did.
    pub(crate) edits: Vec<Edit>,
    /// How often it has been done again after a refusal.
    pub(crate) again: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredIntent {
    edits: Vec<StoredEdit>,
    #[serde(default, skip_serializing_if = "is_zero")]
    again: u32,
}

type StoredFields = Vec<(String, StoredValue)>;

#[cfg_attr(test, derive(Debug))]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredEdit {
    Fact {
        part: u8,
        name: String,
        value: StoredValue,
    },
    Entry {
        part: u8,
        id: String,
        kind: String,
        fields: StoredFields,
    },
    Correct {
        part: u8,
        id: String,
        replaces: String,
        kind: String,
        fields: StoredFields,
    },
    Withdraw {
        part: u8,
        id: String,
        replaces: String,
        reason: String,
    },
    Narrate {
        part: u8,
        at: Option<usize>,
        delete: usize,
        insert: String,
    },
    NarrateUtf16 {
        part: u8,
        at: Option<usize>,
        delete: usize,
        insert: String,
    },
    Answer {
        part: u8,
        element: String,
        value: StoredValue,
    },
    ResolveFact {
        part: u8,
        name: String,
        value: StoredValue,
        among: Vec<String>,
    },
    ResolveAnswer {
        part: u8,
        element: String,
        value: StoredValue,
        among: Vec<String>,
    },
    /// An event as its fields: the case model reads them again.
    Event {
        part: u8,
        fields: StoredFields,
    },
    Schema {
        part: u8,
        min_schema: i64,
    },
}

#[cfg_attr(test, derive(Debug))]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredValue {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Boolean(bool),
    Timestamp(i64),
    /// Lower-case hexadecimal.
    Bytes(String),
    Record(StoredFields),
    Null,
}

feldakte_core::hide_content! { StoredEdit, StoredValue }

/// Encodes edits for the local store.
pub(crate) fn encode(edits: &[Edit], again: u32) -> Bytes {
    let stored = StoredIntent { edits: edits.iter().map(StoredEdit::from).collect(), again };
    serde_json::to_vec(&stored).expect("plain data serialises").into()
}

/// Reads what [`encode`] wrote; without edits for a genesis change or an intent of a newer app.
pub(crate) fn decode(intent: &[u8]) -> Intent {
    let StoredIntent { edits, again } = serde_json::from_slice(intent).unwrap_or_default();
    // All of it or nothing: half of what the user did is something else.
    let edits: Option<Vec<Edit>> = edits.into_iter().map(StoredEdit::into_edit).collect();
    Intent { edits: edits.unwrap_or_default(), again }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<&Edit> for StoredEdit {
    fn from(edit: &Edit) -> Self {
        let part = edit.part() as u8;
        match edit {
            Edit::SetFact { part: _, name, value } => {
                StoredEdit::Fact { part, name: name.clone(), value: value.into() }
            }
            Edit::AddEntry { part: _, id, kind, fields } => {
                StoredEdit::Entry { part, id: id.to_string(), kind: kind.clone(), fields: stored(fields) }
            }
            Edit::Correct { part: _, id, replaces, kind, fields } => StoredEdit::Correct {
                part,
                id: id.to_string(),
                replaces: replaces.to_string(),
                kind: kind.clone(),
                fields: stored(fields),
            },
            Edit::Withdraw { part: _, id, replaces, reason } => StoredEdit::Withdraw {
                part,
                id: id.to_string(),
                replaces: replaces.to_string(),
                reason: reason.clone(),
            },
            Edit::Narrate { part: _, at, delete, insert } => {
                StoredEdit::Narrate { part, at: *at, delete: *delete, insert: insert.clone() }
            }
            Edit::NarrateUtf16 { part: _, at, delete, insert } => {
                StoredEdit::NarrateUtf16 { part, at: *at, delete: *delete, insert: insert.clone() }
            }
            Edit::Answer { part: _, element, value } => {
                StoredEdit::Answer { part, element: element.to_string(), value: value.into() }
            }
            Edit::Resolve { part: _, path, value, among } => resolve(part, path, value, among),
            Edit::Record { part: _, event } => StoredEdit::Event { part, fields: stored(&event.to_fields()) },
            Edit::RaiseSchema { part: _, min_schema } => StoredEdit::Schema { part, min_schema: *min_schema },
        }
    }
}

fn resolve(part: u8, path: &Path, value: &Value, among: &[ChangeHash]) -> StoredEdit {
    let (value, among) = (value.into(), among.iter().map(ToString::to_string).collect());
    match path {
        Path::Checklist(element) => StoredEdit::ResolveAnswer { part, element: element.to_string(), value, among },
        Path::Fact(name) => StoredEdit::ResolveFact { part, name: name.clone(), value, among },
        // Nothing else can be resolved: the edit was refused before it came here.
        other => StoredEdit::ResolveFact { part, name: other.to_string(), value, among },
    }
}

impl StoredEdit {
    fn into_edit(self) -> Option<Edit> {
        let part = |number| Part::from_number(number);
        Some(match self {
            StoredEdit::Fact { part: p, name, value } => {
                Edit::SetFact { part: part(p)?, name, value: value.into_value()? }
            }
            StoredEdit::Entry { part: p, id, kind, fields } => {
                Edit::AddEntry { part: part(p)?, id: id.parse().ok()?, kind, fields: fields_of(fields)? }
            }
            StoredEdit::Correct { part: p, id, replaces, kind, fields } => Edit::Correct {
                part: part(p)?,
                id: id.parse().ok()?,
                replaces: replaces.parse().ok()?,
                kind,
                fields: fields_of(fields)?,
            },
            StoredEdit::Withdraw { part: p, id, replaces, reason } => {
                Edit::Withdraw { part: part(p)?, id: id.parse().ok()?, replaces: replaces.parse().ok()?, reason }
            }
            StoredEdit::Narrate { part: p, at, delete, insert } => Edit::Narrate { part: part(p)?, at, delete, insert },
            StoredEdit::NarrateUtf16 { part: p, at, delete, insert } => {
                Edit::NarrateUtf16 { part: part(p)?, at, delete, insert }
            }
            StoredEdit::Answer { part: p, element, value } => {
                Edit::Answer { part: part(p)?, element: ElementId::parse(&element)?, value: value.into_value()? }
            }
            StoredEdit::ResolveFact { part: p, name, value, among } => Edit::Resolve {
                part: part(p)?,
                path: Path::Fact(name),
                value: value.into_value()?,
                among: hashes_of(&among)?,
            },
            StoredEdit::ResolveAnswer { part: p, element, value, among } => Edit::Resolve {
                part: part(p)?,
                path: Path::Checklist(ElementId::parse(&element)?),
                value: value.into_value()?,
                among: hashes_of(&among)?,
            },
            StoredEdit::Event { part: p, fields } => {
                Edit::Record { part: part(p)?, event: Event::of_fields(&fields_of(fields)?)? }
            }
            StoredEdit::Schema { part: p, min_schema } => Edit::RaiseSchema { part: part(p)?, min_schema },
        })
    }
}

impl From<&Value> for StoredValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => StoredValue::Text(text.clone()),
            Value::Integer(number) => StoredValue::Integer(*number),
            Value::Decimal(number) => StoredValue::Decimal(*number),
            Value::Boolean(flag) => StoredValue::Boolean(*flag),
            Value::Timestamp(ms) => StoredValue::Timestamp(*ms),
            Value::Bytes(bytes) => StoredValue::Bytes(hex(bytes)),
            Value::Record(fields) => StoredValue::Record(stored(fields)),
            Value::Null => StoredValue::Null,
        }
    }
}

impl StoredValue {
    fn into_value(self) -> Option<Value> {
        Some(match self {
            StoredValue::Text(text) => Value::Text(text),
            StoredValue::Integer(number) => Value::Integer(number),
            StoredValue::Decimal(number) => Value::Decimal(number),
            StoredValue::Boolean(flag) => Value::Boolean(flag),
            StoredValue::Timestamp(ms) => Value::Timestamp(ms),
            StoredValue::Bytes(text) => Value::Bytes(unhex(&text)?.into()),
            StoredValue::Record(fields) => Value::Record(fields_of(fields)?),
            StoredValue::Null => Value::Null,
        })
    }
}

fn stored(fields: &[(String, Value)]) -> StoredFields {
    fields.iter().map(|(name, value)| (name.clone(), value.into())).collect()
}

fn fields_of(fields: StoredFields) -> Option<Vec<(String, Value)>> {
    fields.into_iter().map(|(name, value)| Some((name, value.into_value()?))).collect()
}

fn hashes_of(among: &[String]) -> Option<Vec<ChangeHash>> {
    among.iter().map(|text| ChangeHash::from_slice(&unhex(text)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use feldakte_core::ids::EntryId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn intents_round_trip_and_unknown_ones_do_not_fail() {
        let values = [
            Value::Text("Übelkeit".into()),
            Value::Integer(-3),
            Value::Decimal(36.6),
            Value::Boolean(true),
            Value::Timestamp(1_760_000_000_000),
            Value::Null,
            Value::Record(vec![("dose".into(), Value::Decimal(2.5))]),
            Value::Bytes(vec![0, 255, 16].into()),
        ];
        let (id, hash) = (EntryId(Uuid::from_u128(7)), ChangeHash([0xab; 32]));
        let element = ElementId { definition: "liste".into(), version: 2, element: "4".into() };
        let step = feldakte_core::case::OrderStep::Given { at_ms: 5, dose: vec![("dose".into(), Value::Integer(5))] };
        let order = Event::Order { order: feldakte_core::ids::OrderId(id.0), step };
        let fields: Vec<_> = values.iter().cloned().enumerate().map(|(n, value)| (format!("f{n}"), value)).collect();
        let edits = vec![
            Edit::SetFact { part: Part::Identity, name: "family_name".into(), value: values[0].clone() },
            Edit::AddEntry { part: Part::Clinical, id, kind: "vitals".into(), fields: fields.clone() },
            Edit::Correct { part: Part::Clinical, id, replaces: id, kind: "vitals".into(), fields },
            Edit::Withdraw { part: Part::Clinical, id, replaces: id, reason: "Irrtum".into() },
            Edit::Narrate { part: Part::Clinical, at: Some(3), delete: 1, insert: "ß".into() },
            Edit::NarrateUtf16 { part: Part::Clinical, at: None, delete: 0, insert: "🤢".into() },
            Edit::Answer { part: Part::Clinical, element: element.clone(), value: values[6].clone() },
            Edit::Resolve {
                part: Part::Clinical,
                path: Path::Checklist(element),
                value: Value::Null,
                among: vec![hash],
            },
            Edit::Resolve { part: Part::Identity, path: Path::Fact("x".into()), value: Value::Null, among: vec![] },
            Edit::Record { part: Part::Clinical, event: Event::Finalised { heads: vec![hash], content: [9; 32] } },
            Edit::Record { part: Part::Clinical, event: order },
            Edit::RaiseSchema { part: Part::Operations, min_schema: 2 },
        ];
        for again in [0, 3] {
            assert_eq!(decode(&encode(&edits, again)), Intent { edits: edits.clone(), again });
        }
        assert_eq!(decode(b""), Intent::default());
        assert_eq!(decode(br#"{"edits":[{"later":{}}]}"#), Intent::default());
    }
}

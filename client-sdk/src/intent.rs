//! What the user did, as stored beside each own change: so that a refused change can be shown, and done again.
//!
//! The format is JSON with short, fixed names; it never leaves the device.

use bytes::Bytes;
use feldakte_core::{case::Edit, crdt::Value, ids::Part};
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredEdit {
    Fact { part: u8, name: String, value: StoredValue },
    Entry { part: u8, kind: String, fields: Vec<(String, StoredValue)> },
    Narrate { part: u8, at: Option<usize>, delete: usize, insert: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredValue {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Boolean(bool),
    Timestamp(i64),
    Null,
}

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
        match edit {
            Edit::SetFact { part, name, value } => {
                StoredEdit::Fact { part: *part as u8, name: name.clone(), value: value.into() }
            }
            Edit::AddEntry { part, kind, fields } => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.into())).collect();
                StoredEdit::Entry { part: *part as u8, kind: kind.clone(), fields }
            }
            Edit::Narrate { part, at, delete, insert } => {
                StoredEdit::Narrate { part: *part as u8, at: *at, delete: *delete, insert: insert.clone() }
            }
        }
    }
}

impl StoredEdit {
    fn into_edit(self) -> Option<Edit> {
        Some(match self {
            StoredEdit::Fact { part, name, value } => {
                Edit::SetFact { part: Part::from_number(part)?, name, value: value.into() }
            }
            StoredEdit::Entry { part, kind, fields } => {
                let fields = fields.into_iter().map(|(name, value)| (name, value.into())).collect();
                Edit::AddEntry { part: Part::from_number(part)?, kind, fields }
            }
            StoredEdit::Narrate { part, at, delete, insert } => {
                Edit::Narrate { part: Part::from_number(part)?, at, delete, insert }
            }
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
            Value::Null => StoredValue::Null,
        }
    }
}

impl From<StoredValue> for Value {
    fn from(value: StoredValue) -> Self {
        match value {
            StoredValue::Text(text) => Value::Text(text),
            StoredValue::Integer(number) => Value::Integer(number),
            StoredValue::Decimal(number) => Value::Decimal(number),
            StoredValue::Boolean(flag) => Value::Boolean(flag),
            StoredValue::Timestamp(ms) => Value::Timestamp(ms),
            StoredValue::Null => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
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
        ];
        let fields = values.iter().cloned().enumerate().map(|(n, value)| (format!("f{n}"), value)).collect();
        let edits = vec![
            Edit::SetFact { part: Part::Identity, name: "family_name".into(), value: values[0].clone() },
            Edit::AddEntry { part: Part::Clinical, kind: "vitals".into(), fields },
            Edit::Narrate { part: Part::Clinical, at: Some(3), delete: 1, insert: "ß".into() },
        ];
        for again in [0, 3] {
            assert_eq!(decode(&encode(&edits, again)), Intent { edits: edits.clone(), again });
        }
        assert_eq!(decode(b""), Intent::default());
        assert_eq!(decode(br#"{"edits":[{"later":{}}]}"#), Intent::default());
    }
}

//! Edits as people and scripts write them: `identity.family_name`, typed values, JSON.
//!
//! The JSON form is the one of `tablet agent` and of mission scripts; unknown keys are refused, so that a typing
//! error is not an edit that silently lacks something.

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use feldakte_client_sdk::view::{Edit, EntryId, Part, Value};
use serde::Deserialize;
use serde_json::{Map, Number};

/// How a value on the command line is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValueType {
    /// Text as it stands there.
    Text,
    /// A whole number.
    Integer,
    /// A measured number, with a point.
    Decimal,
    /// `true` or `false`.
    Bool,
    /// A point in time, milliseconds since 1970-01-01 UTC.
    Timestamp,
    /// Asked and known to be absent; VALUE is ignored.
    Absent,
}

impl ValueType {
    /// Reads a value.
    pub fn read(self, text: &str) -> anyhow::Result<Value> {
        let wrong = |what: &str| format!("VALUE is not {what}");
        Ok(match self {
            ValueType::Text => Value::Text(text.to_owned()),
            ValueType::Integer => Value::Integer(text.parse().with_context(|| wrong("a whole number"))?),
            ValueType::Decimal => Value::Decimal(finite(text).with_context(|| wrong("a number such as 36.6"))?),
            ValueType::Bool => Value::Boolean(text.parse().with_context(|| wrong("true or false"))?),
            ValueType::Timestamp => Value::Timestamp(text.parse().with_context(|| wrong("milliseconds since 1970"))?),
            ValueType::Absent => Value::Null,
        })
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A fact's place, written `part.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactPath {
    /// The document.
    pub part: Part,
    /// The fact.
    pub name: String,
}

impl std::str::FromStr for FactPath {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (part, name) = text
            .split_once('.')
            .filter(|(_, name)| !name.is_empty())
            .ok_or_else(|| anyhow!("`{text}` is not PART.NAME, such as identity.family_name"))?;
        Ok(Self { part: part.parse()?, name: name.to_owned() })
    }
}

/// An edit as JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JsonEdit {
    /// `{"set": {"part": "identity", "name": "family_name", "value": "Müller"}}`
    Set {
        /// The document.
        part: String,
        /// The fact.
        name: String,
        /// Its value.
        value: serde_json::Value,
    },
    /// `{"entry": {"part": "clinical", "kind": "vitals", "fields": {"heart_rate": 104}}}`
    Entry {
        /// The document.
        part: String,
        /// The kind of entry.
        kind: String,
        /// Its fields.
        fields: Map<String, serde_json::Value>,
    },
    /// `{"note": {"part": "clinical", "text": "…"}}`
    Note {
        /// The document.
        part: String,
        /// What is appended to the narrative.
        text: String,
    },
}

impl JsonEdit {
    /// The edit; an entry gets the id that `new_id` draws.
    pub fn into_edit(self, new_id: impl FnOnce() -> EntryId) -> anyhow::Result<Edit> {
        Ok(match self {
            JsonEdit::Set { part, name, value } => {
                Edit::SetFact { part: part.parse()?, value: value_of(value).with_context(|| name.clone())?, name }
            }
            JsonEdit::Entry { part, kind, fields } => {
                let field = |(name, value)| Ok((String::clone(&name), value_of(value).context(name)?));
                let fields = fields.into_iter().map(field).collect::<anyhow::Result<_>>()?;
                Edit::AddEntry { part: part.parse()?, id: new_id(), kind, fields }
            }
            JsonEdit::Note { part, text } => append(part.parse()?, &text),
        })
    }
}

/// Appends a paragraph to the narrative.
pub fn append(part: Part, text: &str) -> Edit {
    let insert = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    Edit::Narrate { part, at: None, delete: 0, insert }
}

fn value_of(value: serde_json::Value) -> anyhow::Result<Value> {
    match value {
        serde_json::Value::Null => Ok(Value::Null),
        serde_json::Value::Bool(flag) => Ok(Value::Boolean(flag)),
        serde_json::Value::String(text) => Ok(Value::Text(text)),
        serde_json::Value::Number(number) => number_of(&number).context("the number is out of range"),
        serde_json::Value::Object(object) => tagged(object),
        serde_json::Value::Array(_) => Err(anyhow!("a list is not a value: use several entries")),
    }
}

/// `{"decimal": 37}`: for writers who want to be sure of the type, and for times.
fn tagged(object: Map<String, serde_json::Value>) -> anyhow::Result<Value> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Tagged {
        Text(String),
        Integer(i64),
        Decimal(f64),
        Boolean(bool),
        Timestamp(i64),
    }
    let why =
        "a value must be a JSON scalar or one of {text}, {integer}, {decimal}, {boolean}, {timestamp: milliseconds}";
    Ok(match serde_json::from_value(serde_json::Value::Object(object)).context(why)? {
        Tagged::Text(text) => Value::Text(text),
        Tagged::Integer(number) => Value::Integer(number),
        Tagged::Decimal(number) => Value::Decimal(number),
        Tagged::Boolean(flag) => Value::Boolean(flag),
        Tagged::Timestamp(ms) => Value::Timestamp(ms),
    })
}

fn number_of(number: &Number) -> Option<Value> {
    number.as_i64().map(Value::Integer).or_else(|| number.as_f64().map(Value::Decimal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(json: &str) -> anyhow::Result<Edit> {
        serde_json::from_str::<JsonEdit>(json)?.into_edit(|| EntryId(uuid::Uuid::nil()))
    }

    #[test]
    fn json_edits_keep_their_types() {
        let json = r#"{"entry":{"part":"clinical","kind":"vitals","fields":
            {"temperature":36.6,"heart_rate":104,"measured":{"timestamp":5},"glucose":{"decimal":142},"alert":true,"spo2":null}}}"#;
        let Edit::AddEntry { fields, .. } = edit(json).expect("an entry") else { panic!("not an entry") };
        let expected = [
            ("alert", Value::Boolean(true)),
            ("glucose", Value::Decimal(142.0)),
            ("heart_rate", Value::Integer(104)),
            ("measured", Value::Timestamp(5)),
            ("spo2", Value::Null),
            ("temperature", Value::Decimal(36.6)),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_is_not_an_edit_is_refused() {
        for json in [
            r#"{"set":{"part":"identity","nam":"x","value":1}}"#,
            r#"{"set":{"part":"person","name":"x","value":1}}"#,
            r#"{"set":{"part":"identity","name":"x","value":[1]}}"#,
            r#"{"set":{"part":"identity","name":"x","value":{"timestamp":"now"}}}"#,
            r#"{"delete":{"part":"identity","name":"x"}}"#,
        ] {
            assert!(edit(json).is_err(), "{json}");
        }
    }

    #[test]
    fn facts_are_named_by_part_and_name() {
        let path: FactPath = "identity.name.birth".parse().expect("a path");
        assert_eq!((path.part, path.name.as_str()), (Part::Identity, "name.birth"));
        for bad in ["identity", "identity.", "person.name", ""] {
            assert!(bad.parse::<FactPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_read_as_the_type_says() {
        assert_eq!(ValueType::Text.read("15").expect("text"), Value::Text("15".into()));
        assert_eq!(ValueType::Integer.read("-15").expect("integer"), Value::Integer(-15));
        assert_eq!(ValueType::Absent.read("").expect("absent"), Value::Null);
        for (kind, text) in [(ValueType::Integer, "1.5"), (ValueType::Decimal, "NaN"), (ValueType::Bool, "ja")] {
            assert!(kind.read(text).is_err(), "{text}");
        }
    }
}

//! Checks what an app writes against the catalogue, before it is saved. Nothing that was written elsewhere is ever
//! dropped for failing here.

use super::{CaseKind, Class, EntryField, RecordField, ValueKind, entry_kind, entry_kinds, field, fields};
use crate::{crdt::Value, ids::Part};

/// What is wrong with a value. Names kinds, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is of another kind.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// The kind's name.
        expected: &'static str,
        /// The value's kind.
        found: &'static str,
    },
    /// A member of the record is of another kind.
    #[error("expected {expected} in `{member}`, found {found}")]
    Member {
        /// Which member.
        member: &'static str,
        /// The kind's name.
        expected: &'static str,
        /// The value's kind.
        found: &'static str,
    },
    /// The record lacks a member without which it means nothing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}

/// Why the catalogue does not take a fact or an entry. Names are the catalogue's; nothing a user has typed is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Person data on its way into a document whose readers may not see it.
    #[error("`{name}` belongs to the identity document, not to {}", found.name())]
    WrongPart {
        /// The fact or kind of entry.
        name: &'static str,
        /// Where it was to be written.
        found: Part,
    },
    /// It is not written by setting a fact.
    #[error("`{name}` is no fact but of class {}", class.name())]
    NotAFact {
        /// The field.
        name: &'static str,
        /// How it is written instead.
        class: Class,
    },
    /// The value is of another kind.
    #[error("`{name}` must be {expected}, found {found}")]
    WrongKind {
        /// The field; for a member of a record, `field.member`; for an entry's field, `kind.field`.
        name: String,
        /// The kind's name.
        expected: &'static str,
        /// The value's kind.
        found: &'static str,
    },
    /// Something required is not there.
    #[error("`{entry}` lacks `{field}`")]
    MissingField {
        /// The kind of entry, or the field that holds a record.
        entry: String,
        /// What is missing.
        field: &'static str,
    },
}

impl SchemaError {
    fn new(name: String, mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Kind { expected, found } => SchemaError::WrongKind { name, expected, found },
            Mismatch::Member { member, expected, found } => {
                SchemaError::WrongKind { name: format!("{name}.{member}"), expected, found }
            }
            Mismatch::Missing(field) => SchemaError::MissingField { entry: name, field },
        }
    }
}

/// Whether the value may stand in a field of that kind. Null may stand everywhere; a record may have members that only
/// newer apps know.
///
/// # Errors
/// When the value or a member of it is of another kind, or a required member is missing.
pub fn check_value(kind: &ValueKind, value: &Value) -> Result<(), Mismatch> {
    match (kind, value) {
        (_, Value::Null)
        | (ValueKind::Text, Value::Text(_))
        | (ValueKind::Integer, Value::Integer(_))
        | (ValueKind::Decimal, Value::Decimal(_))
        | (ValueKind::Boolean, Value::Boolean(_))
        | (ValueKind::Timestamp, Value::Timestamp(_))
        | (ValueKind::Bytes, Value::Bytes(_)) => Ok(()),
        (ValueKind::Record(members), Value::Record(values)) => check_record(members, values),
        (kind, value) => Err(Mismatch::Kind { expected: kind.name(), found: name_of(value) }),
    }
}

fn check_record(members: &[RecordField], values: &[(String, Value)]) -> Result<(), Mismatch> {
    for RecordField { name: member, value: kind, required } in members {
        let mut found = values.iter().filter(|(name, _)| name == member).peekable();
        if *required && found.peek().is_none() {
            return Err(Mismatch::Missing(member));
        }
        // Members are plain, so this goes one level deep.
        found.try_for_each(|(_, value)| check_value(kind, value)).map_err(|mismatch| match mismatch {
            Mismatch::Kind { expected, found } => Mismatch::Member { member, expected, found },
            deeper => deeper,
        })?;
    }
    Ok(())
}

/// Whether an app may set that fact to that value. A name that the catalogue does not have passes.
///
/// # Errors
/// When the name is known and the part, the class or the value does not fit.
pub fn check_fact(kind: CaseKind, part: Part, name: &str, value: &Value) -> Result<(), SchemaError> {
    let Some(field) = field(kind, part, name) else {
        let names = fields(kind).iter().filter(|field| field.class == Class::Fact);
        return keep_identity(names.map(|field| (field.part, field.name)), part, name);
    };
    if field.class != Class::Fact {
        return Err(SchemaError::NotAFact { name: field.name, class: field.class });
    }
    check_value(&field.value, value).map_err(|mismatch| SchemaError::new(field.name.to_owned(), mismatch))
}

/// Whether an app may add that entry. A kind or a field that the catalogue does not have passes.
///
/// # Errors
/// When the kind is known and the part or a value does not fit, or a required field is missing.
pub fn check_entry(case_kind: CaseKind, part: Part, kind: &str, fields: &[(String, Value)]) -> Result<(), SchemaError> {
    let Some(entry) = entry_kind(case_kind, part, kind) else {
        return keep_identity(entry_kinds(case_kind).iter().map(|entry| (entry.part, entry.kind)), part, kind);
    };
    let has = |name: &str| fields.iter().any(|(found, _)| found == name);
    if let Some(EntryField { name, .. }) = entry.fields.iter().find(|field| field.required && !has(field.name)) {
        return Err(SchemaError::MissingField { entry: entry.kind.to_owned(), field: name });
    }
    for (name, value) in fields {
        let Some(field) = entry.field(name) else { continue };
        let to_error = |mismatch| SchemaError::new(format!("{}.{}", entry.kind, field.name), mismatch);
        check_value(&field.value, value).map_err(to_error)?;
    }
    Ok(())
}

/// A name of the identity document is used in no other: what looks like a name from a newer app would be a patient's
/// name in a document that others read.
fn keep_identity(
    mut names: impl Iterator<Item = (Part, &'static str)>,
    found: Part,
    name: &str,
) -> Result<(), SchemaError> {
    match names.find(|(part, known)| *part == Part::Identity && *known == name) {
        Some((_, name)) if found != Part::Identity => Err(SchemaError::WrongPart { name, found }),
        _ => Ok(()),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => ValueKind::Text.name(),
        Value::Integer(_) => ValueKind::Integer.name(),
        Value::Decimal(_) => ValueKind::Decimal.name(),
        Value::Boolean(_) => ValueKind::Boolean.name(),
        Value::Timestamp(_) => ValueKind::Timestamp.name(),
        Value::Bytes(_) => ValueKind::Bytes.name(),
        Value::Record(_) => ValueKind::Record(&[]).name(),
        Value::Null => "null",
    }
}

#[cfg(test)]
mod tests;

//! The field catalogue: what a mission and a visit consist of, as data that an app can list and a test can check.
//!
//! Names are disk format: one that was published is never renamed, retyped or given to something else. A name that is
//! not in the catalogue is no error, since newer apps write such names; it is kept and shown.

use std::{fmt, str::FromStr};

pub use self::{
    check::{Mismatch, SchemaError, check_entry, check_fact, check_value},
    record::{ADDRESS, ANSWER, CHANNEL, CODED, FINALISATION, ORDER, PZC, QUANTITY, STATUS},
};
use crate::ids::{IdError, Part};

mod check;
mod mission;
mod record;
mod visit;

/// What a case is about. Numbers are disk format; names stand in the fact `kind` of the operations document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseKind {
    /// An ambulance mission for one patient.
    Mission = 1,
    /// What the health office does about one person or place: a visit, an inspection, an expert opinion.
    Visit = 2,
}

impl CaseKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [CaseKind; 2] = [CaseKind::Mission, CaseKind::Visit];

    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            CaseKind::Mission => "mission",
            CaseKind::Visit => "visit",
        }
    }

    /// The kind of that number.
    pub fn from_number(number: u8) -> Option<CaseKind> {
        CaseKind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl fmt::Display for CaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CaseKind {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let why = "must be mission or visit";
        CaseKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or(IdError { what: "case kind", why })
    }
}

/// Facts and everything else a document of that kind of case holds besides entries: by part, then as the field works.
pub fn fields(kind: CaseKind) -> &'static [Field] {
    match kind {
        CaseKind::Mission => mission::FIELDS,
        CaseKind::Visit => visit::FIELDS,
    }
}

/// Kinds of entries: by part, then as the field works.
pub fn entry_kinds(kind: CaseKind) -> &'static [EntryKind] {
    match kind {
        CaseKind::Mission => mission::ENTRIES,
        CaseKind::Visit => visit::ENTRIES,
    }
}

/// The field of that name in that part; `None` for one that a newer app may know.
pub fn field(kind: CaseKind, part: Part, name: &str) -> Option<&'static Field> {
    fields(kind).iter().find(|field| field.part == part && field.name == name)
}

/// The kind of entry of that name in that part; `None` for one that a newer app may know.
pub fn entry_kind(kind: CaseKind, part: Part, name: &str) -> Option<&'static EntryKind> {
    entry_kinds(kind).iter().find(|entry| entry.part == part && entry.kind == name)
}

/// How concurrent writes come together (DOMAIN, rule 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A register that keeps every concurrent value.
    Fact,
    /// Append-only; a correction is a new entry.
    Entry,
    /// Registers by element of a versioned definition.
    Checklist,
    /// Events that a pure function folds.
    Event,
    /// Collaborative text.
    Narrative,
}

impl Class {
    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Class::Fact => "fact",
            Class::Entry => "entry",
            Class::Checklist => "checklist",
            Class::Event => "event",
            Class::Narrative => "narrative",
        }
    }
}

/// What kind of value stands in a field. Null, asked and known to be absent, may stand in every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A measured number; whole ones are written as decimals too, so that equal values are equal.
    Decimal,
    /// Yes or no.
    Boolean,
    /// A point in time, milliseconds since 1970-01-01 UTC.
    Timestamp,
    /// Packed content, a hash or an id.
    Bytes,
    /// Plain values that are only replaced together.
    Record(&'static [RecordField]),
}

impl ValueKind {
    /// The kind's name, as errors say it.
    pub fn name(&self) -> &'static str {
        match self {
            ValueKind::Text => "text",
            ValueKind::Integer => "integer",
            ValueKind::Decimal => "decimal",
            ValueKind::Boolean => "boolean",
            ValueKind::Timestamp => "timestamp",
            ValueKind::Bytes => "bytes",
            ValueKind::Record(_) => "record",
        }
    }
}

/// A member of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordField {
    /// Its name in the record.
    pub name: &'static str,
    /// Its kind; never a record.
    pub value: ValueKind,
    /// Whether the record means nothing without it. Null counts as being there.
    pub required: bool,
}

/// One field of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name, unique among the fields of its part.
    pub name: &'static str,
    /// The document it belongs to.
    pub part: Part,
    /// How concurrent writes come together; only [`Class::Fact`] is written by setting it.
    pub class: Class,
    /// What stands in it; for events and checklists, in each of them.
    pub value: ValueKind,
    /// What it means, in one sentence, with unit, source or code system.
    pub doc: &'static str,
}

/// One kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryKind {
    /// Its name, unique among the kinds of its part.
    pub kind: &'static str,
    /// The document it belongs to.
    pub part: Part,
    /// Its own fields. Every kind has those of [`COMMON`] too.
    pub fields: &'static [EntryField],
    /// What it means, in one sentence.
    pub doc: &'static str,
}

impl EntryKind {
    /// The field of that name: its own or a common one.
    pub fn field(&self, name: &str) -> Option<&'static EntryField> {
        self.fields.iter().chain(COMMON).find(|field| field.name == name)
    }
}

/// One field of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryField {
    /// Its name in the entry.
    pub name: &'static str,
    /// What stands in it.
    pub value: ValueKind,
    /// Whether the entry means nothing without it. Null counts as being there.
    pub required: bool,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

/// Fields of every kind of entry.
pub const COMMON: &[EntryField] = &[may(
    "at",
    ValueKind::Timestamp,
    "When it happened, if not when it was written: that stands in the entry's provenance, with the clock's offset.",
)];

const fn fact(part: Part, name: &'static str, value: ValueKind, doc: &'static str) -> Field {
    Field { name, part, class: Class::Fact, value, doc }
}

const fn entry(part: Part, kind: &'static str, fields: &'static [EntryField], doc: &'static str) -> EntryKind {
    EntryKind { kind, part, fields, doc }
}

const fn must(name: &'static str, value: ValueKind, doc: &'static str) -> EntryField {
    EntryField { name, value, required: true, doc }
}

const fn may(name: &'static str, value: ValueKind, doc: &'static str) -> EntryField {
    EntryField { name, value, required: false, doc }
}

const fn event(part: Part, name: &'static str, value: ValueKind, doc: &'static str) -> Field {
    Field { name, part, class: Class::Event, value, doc }
}

const fn narrative(part: Part, doc: &'static str) -> Field {
    Field { name: "narrative", part, class: Class::Narrative, value: ValueKind::Text, doc }
}

#[cfg(test)]
mod tests;

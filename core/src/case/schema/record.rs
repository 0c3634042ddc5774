//! Records that several fields share: codes, quantities, addresses. A member is never removed or retyped.

use super::{
    RecordField,
    ValueKind::{Boolean, Bytes, Decimal, Integer, Text, Timestamp},
};

/// A coded value; codes mean nothing without the version of their list.
pub const CODED: &[RecordField] =
    &[must("code", Text), must("system", Text), must("version", Text), may("display", Text)];

/// A measured value with its UCUM unit.
pub const QUANTITY: &[RecordField] = &[must("value", Decimal), must("unit", Text)];

/// A place. Every member may be missing: a motorway has no house number. Latitude and longitude are WGS 84 degrees.
pub const ADDRESS: &[RecordField] = &[
    may("street", Text),
    may("house_number", Text),
    may("postal_code", Text),
    may("city", Text),
    may("district", Text),
    may("floor", Text),
    may("remark", Text),
    may("latitude", Decimal),
    may("longitude", Decimal),
];

/// A hospital assignment code: indication (3 digits), age (2 digits), priority (1 digit); texts, for leading zeros
/// count.
pub const PZC: &[RecordField] =
    &[must("indication", Text), must("age", Text), must("priority", Text), may("version", Text)];

/// What one channel of a link was measured to do.
pub const CHANNEL: &[RecordField] = &[
    must("usable", Boolean),
    may("rtt_ms", Integer),
    may("jitter_ms", Integer),
    may("loss_percent", Decimal),
    may("up_kbit_s", Decimal),
    may("down_kbit_s", Decimal),
    may("verdict", Text),
    may("age_ms", Integer),
];

/// What an order asks for: a drug with its dose, or a measure.
pub const ORDER: &[RecordField] = &[
    may("measure", Text),
    may("drug_text", Text),
    may("drug_code", Text),
    may("drug_system", Text),
    may("drug_version", Text),
    may("dose", Decimal),
    may("unit", Text),
    may("route", Text),
    may("remark", Text),
];

/// What a status event says.
pub const STATUS: &[RecordField] = &[must("of", Text), must("status", Text), may("at", Timestamp)];

/// What a signed state is named by: SHA-256 over its content.
pub const FINALISATION: &[RecordField] = &[must("content", Bytes)];

/// The answer to an element of a checklist: `yes`, `no` or `na`, a measured value with its UCUM unit, text, or the
/// SHA-256 of a photo.
pub const ANSWER: &[RecordField] =
    &[may("answer", Text), may("value", Decimal), may("unit", Text), may("text", Text), may("photo", Bytes)];

const fn must(name: &'static str, value: super::ValueKind) -> RecordField {
    RecordField { name, value, required: true }
}

const fn may(name: &'static str, value: super::ValueKind) -> RecordField {
    RecordField { name, value, required: false }
}

//! How ids stand in the database.
//!
//! An entry's rowid is its tenant's number and its position in one integer, so a tenant's log is one run of rows and
//! a position needs no index of its own.

use std::fmt::Write;

use feldakte_core::{
    access::Subject,
    ids::{DocumentId, Position},
};

/// Bits of a rowid that hold the position; the tenant's number stands above them. Disk format.
const POSITION_BITS: u32 = 44;

/// The largest position a rowid can hold.
const POSITION_MAX: u64 = (1 << POSITION_BITS) - 1;

/// The largest tenant number a rowid can hold.
pub(super) const TENANT_MAX: i64 = (1 << (63 - POSITION_BITS)) - 1;

/// The rowid of a tenant's entry. A position beyond every possible entry becomes the largest possible one.
pub(super) fn entry_id(tenant: i64, position: Position) -> i64 {
    let position = i64::try_from(position.0.min(POSITION_MAX)).expect("44 bits fit");
    (tenant << POSITION_BITS) | position
}

/// The position inside a rowid.
pub(super) fn position_of(entry: i64) -> Position {
    Position(entry.unsigned_abs() & POSITION_MAX)
}

/// A subject as text: its kind, then its name.
pub(super) fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::Unit(unit) => format!("unit:{unit}"),
        Subject::Device(device) => format!("device:{device}"),
        Subject::User(user) => format!("user:{user}"),
        Subject::Guest { tenant, unit } => format!("guest:{tenant}/{unit}"),
    }
}

/// Subjects as the JSON array that a statement unfolds with `json_each`.
pub(super) fn subjects_json(subjects: &[Subject]) -> String {
    // Slugs and UUIDs need no escaping.
    json_array(subjects.iter().map(|subject| format!("\"{}\"", subject_text(subject))))
}

/// Documents as a JSON array of hexadecimal texts.
pub(super) fn documents_json(documents: &[DocumentId]) -> String {
    json_array(documents.iter().map(|document| {
        let mut text = String::with_capacity(2 * DocumentId::LEN + 2);
        text.push('"');
        for byte in document.to_bytes() {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        text.push('"');
        text
    }))
}

/// Rowids as a JSON array.
pub(super) fn entries_json(tenant: i64, positions: &[Position]) -> String {
    let possible = positions.iter().filter(|position| position.0 <= POSITION_MAX);
    json_array(possible.map(|position| entry_id(tenant, *position).to_string()))
}

fn json_array(items: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for item in items {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&item);
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_holds_tenant_and_position() {
        for (tenant, position) in [(1, 1), (7, 123_456_789), (TENANT_MAX, POSITION_MAX)] {
            let id = entry_id(tenant, Position(position));
            assert!(id > 0);
            assert_eq!((id >> POSITION_BITS, position_of(id)), (tenant, Position(position)));
        }
        assert!(entry_id(1, Position(u64::MAX)) < entry_id(2, Position::START));
    }

    #[test]
    fn arrays_are_json() {
        assert_eq!(entries_json(0, &[]), "[]");
        assert_eq!(entries_json(0, &[Position(1), Position(u64::MAX), Position(3)]), "[1,3]");
        let unit = Subject::Unit("rtw-1".parse().expect("a slug"));
        assert_eq!(subjects_json(&[unit.clone(), unit]), r#"["unit:rtw-1","unit:rtw-1"]"#);
    }
}

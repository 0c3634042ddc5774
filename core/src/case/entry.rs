//! Entries: append-only. A correction is a new entry that replaces an older one, a withdrawal one that only says why;
//! what they replace stays, with everything that was ever said.
//!
//! Stored as maps in the list `entries`: `id` (16 bytes), `kind`, for corrections and withdrawals `replaces` (16
//! bytes), and the entry's own fields.

use std::collections::BTreeMap;

use super::author::{Authors, Provenance};
use crate::{
    crdt::{Item, Value},
    ids::EntryId,
};

/// One entry, as it was written.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// Its id; `None` for an entry of an app that gives none.
    pub id: Option<EntryId>,
    /// What kind of entry: `vitals`, `medication`, `note` …
    pub kind: String,
    /// Its fields, ascending by name.
    pub fields: Vec<(String, Value)>,
    /// Who appended it, when.
    pub provenance: Provenance,
    /// The entry it corrects or withdraws.
    pub replaces: Option<EntryId>,
    /// Entries that correct or withdraw this one, in document order. More than one: people disagree on the correction.
    pub replaced_by: Vec<EntryId>,
}

crate::hide_content! { Entry }

/// The kind of entries that withdraw another one; their field `reason` says why.
pub const WITHDRAWAL: &str = "withdrawal";

pub(super) const ID: &str = "id";
pub(super) const KIND: &str = "kind";
pub(super) const REPLACES: &str = "replaces";

impl Entry {
    /// Whether it stands: neither corrected nor withdrawn, nor itself a withdrawal.
    pub fn is_current(&self) -> bool {
        self.replaced_by.is_empty() && self.kind != WITHDRAWAL
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

/// Reads entries and connects those that replace each other.
pub(super) fn read(items: Vec<Item>, authors: &Authors) -> Vec<Entry> {
    let mut entries: Vec<Entry> = items.into_iter().map(|item| read_one(item, authors)).collect();
    let mut replaced_by: BTreeMap<EntryId, Vec<EntryId>> = BTreeMap::new();
    for entry in &entries {
        if let (Some(id), Some(replaced)) = (entry.id, entry.replaces) {
            replaced_by.entry(replaced).or_default().push(id);
        }
    }
    for entry in &mut entries {
        entry.replaced_by = entry.id.and_then(|id| replaced_by.get(&id)).cloned().unwrap_or_default();
    }
    entries
}

fn read_one(item: Item, authors: &Authors) -> Entry {
    let id_of = |name: &str| EntryId::from_slice(item.field(name)?.as_bytes()?).ok();
    let (id, replaces) = (id_of(ID), id_of(REPLACES));
    let kind = item.field(KIND).and_then(Value::as_text).unwrap_or_default().to_owned();
    let is_own = |name: &str| ![ID, KIND, REPLACES].contains(&name);
    let provenance = authors.provenance(item.origin);
    let fields = item.fields.into_iter().filter(|(name, _)| is_own(name)).collect();
    Entry { id, kind, fields, provenance, replaces, replaced_by: Vec::new() }
}

//! What a user does to a case, as values: several in one save become one change per document.

use std::collections::VecDeque;

use super::{
    CHECKLISTS, ENTRIES, EVENTS, ElementId, FACTS, MIN_SCHEMA, NARRATIVE, Path, SCHEMA,
    entry::{ID, KIND, REPLACES, WITHDRAWAL},
    event::Event,
};
use crate::{
    crdt::{CrdtError, Document, Edits, Moment, Value},
    ids::{EntryId, Part},
};

/// One thing a user does to a case.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub enum Edit {
    /// Sets a single fact, such as `family_name` of the identity document. Concurrent values are all kept; what its
    /// writer saw there is replaced.
    SetFact {
        /// The document it belongs to.
        part: Part,
        /// The fact's name.
        name: String,
        /// Its value.
        value: Value,
    },
    /// Appends an entry, such as a set of vitals. Entries are never changed.
    AddEntry {
        /// The document it belongs to.
        part: Part,
        /// Its id, new for every entry.
        id: EntryId,
        /// What kind of entry: `vitals`, `medication`, `finding` …
        kind: String,
        /// Its fields.
        fields: Vec<(String, Value)>,
    },
    /// Corrects an entry by a new one. The old one stays, marked as replaced.
    Correct {
        /// The document it belongs to.
        part: Part,
        /// The id of the new entry.
        id: EntryId,
        /// Which entry it replaces.
        replaces: EntryId,
        /// What kind of entry.
        kind: String,
        /// The new entry's fields, all of them.
        fields: Vec<(String, Value)>,
    },
    /// Withdraws an entry: it stays, marked as withdrawn.
    Withdraw {
        /// The document it belongs to.
        part: Part,
        /// The id of the withdrawal.
        id: EntryId,
        /// Which entry.
        replaces: EntryId,
        /// Why.
        reason: String,
    },
    /// Appends to the narrative, or changes it: `delete` code points at `at` are replaced by `insert`.
    Narrate {
        /// The document it belongs to.
        part: Part,
        /// Where, in code points; `None` appends at the end.
        at: Option<usize>,
        /// How many code points are removed there.
        delete: usize,
        /// What stands there instead.
        insert: String,
    },
    /// The same with `at` and `delete` in UTF-16 units of the narrative as its writer sees it, as Kotlin, Java,
    /// JavaScript and C# count. A place inside a letter counts as before it.
    NarrateUtf16 {
        /// The document it belongs to.
        part: Part,
        /// Where, in UTF-16 units; `None` appends at the end.
        at: Option<usize>,
        /// How many UTF-16 units are removed there.
        delete: usize,
        /// What stands there instead.
        insert: String,
    },
    /// Answers an element of a checklist. An earlier answer that its writer saw is replaced.
    Answer {
        /// The document it belongs to.
        part: Part,
        /// Which element of which version.
        element: ElementId,
        /// The answer: plain, or a record such as `{answer, value, unit, text, photo}`.
        value: Value,
    },
    /// Decides between values that contradict each other: sets the register and records that it was a decision.
    Resolve {
        /// The document it belongs to.
        part: Part,
        /// A fact or a checklist's element.
        path: Path,
        /// What stands there from now on; one of those that stood there, or another.
        value: Value,
        /// The changes whose values were there, as the app showed them.
        among: Vec<crate::ids::ChangeHash>,
    },
    /// Records what happened: a step of an order, a status, a link.
    Record {
        /// The document it belongs to.
        part: Part,
        /// What happened.
        event: Event,
    },
    /// Demands that whoever writes this document knows at least that schema.
    RaiseSchema {
        /// The document it belongs to.
        part: Part,
        /// The schema.
        min_schema: i64,
    },
}

crate::hide_content! { Edit }

impl Edit {
    /// Whether it goes before everything else on its way: a step of an order.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Edit::Record { event: Event::Order { .. }, .. })
    }

    /// The document the edit belongs to.
    pub fn part(&self) -> Part {
        match self {
            Edit::SetFact { part, .. }
            | Edit::AddEntry { part, .. }
            | Edit::Correct { part, .. }
            | Edit::Withdraw { part, .. }
            | Edit::Narrate { part, .. }
            | Edit::NarrateUtf16 { part, .. }
            | Edit::Answer { part, .. }
            | Edit::Resolve { part, .. }
            | Edit::Record { part, .. }
            | Edit::RaiseSchema { part, .. } => *part,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When the document is not one that [`super::genesis`] began, a record holds a record, or the path cannot be
    /// resolved.
    pub fn apply(&self, edits: &mut Edits<'_>) -> Result<(), CrdtError> {
        match self {
            Edit::SetFact { part: _, name, value } => edits.put(FACTS, name, value),
            Edit::AddEntry { part: _, id, kind, fields } => push_entry(edits, *id, None, (kind, fields)),
            Edit::Correct { part: _, id, replaces, kind, fields } => {
                push_entry(edits, *id, Some(*replaces), (kind, fields))
            }
            Edit::Withdraw { part: _, id, replaces, reason } => {
                let fields = [("reason".to_owned(), Value::Text(reason.clone()))];
                push_entry(edits, *id, Some(*replaces), (WITHDRAWAL, &fields))
            }
            Edit::Narrate { part: _, at, delete, insert } => {
                let len = edits.text_len(NARRATIVE)?;
                let at = at.unwrap_or(len).min(len);
                edits.splice(NARRATIVE, at, (*delete).min(len - at), insert)
            }
            Edit::NarrateUtf16 { part: _, at, delete, insert } => {
                let text = edits.text(NARRATIVE)?;
                let len = text.chars().count();
                let (from, to) = match at {
                    None => (len, len),
                    Some(at) => (letters_before(&text, *at), letters_before(&text, at.saturating_add(*delete))),
                };
                edits.splice(NARRATIVE, from, to - from, insert)
            }
            Edit::Answer { part: _, element, value } => edits.put(CHECKLISTS, &element.to_string(), value),
            Edit::Resolve { part: _, path, value, among } => {
                match path {
                    Path::Fact(name) => edits.put(FACTS, name, value)?,
                    Path::Checklist(element) => edits.put(CHECKLISTS, &element.to_string(), value)?,
                    _ => return Err(CrdtError::NoContainer),
                }
                record(edits, &Event::Resolved { path: path.to_string(), among: among.clone() })
            }
            Edit::Record { part: _, event } => record(edits, event),
            Edit::RaiseSchema { part: _, min_schema } => edits.put_root(MIN_SCHEMA, &Value::Integer(*min_schema)),
        }
    }
}

/// Whether an app that knows [`SCHEMA`] may write a document with that gate.
pub fn may_write(min_schema: i64) -> bool {
    min_schema <= SCHEMA
}

/// How many code points stand before a place that is counted in UTF-16 units.
fn letters_before(text: &str, units: usize) -> usize {
    let mut seen = 0;
    let ends = text.chars().map(|letter| {
        seen += letter.len_utf16();
        seen
    });
    ends.take_while(|end| *end <= units).count()
}

fn push_entry(
    edits: &mut Edits<'_>,
    id: EntryId,
    replaces: Option<EntryId>,
    (kind, fields): (&str, &[(String, Value)]),
) -> Result<(), CrdtError> {
    let bytes = |id: EntryId| Value::Bytes(bytes::Bytes::copy_from_slice(id.as_bytes()));
    let (id, kind, replaces) = (bytes(id), Value::Text(kind.to_owned()), replaces.map(bytes));
    let own = [(ID, &id), (KIND, &kind)].into_iter().chain(replaces.as_ref().map(|id| (REPLACES, id)));
    edits.push(ENTRIES, own.chain(fields.iter().map(|(name, value)| (name.as_str(), value))))
}

fn record(edits: &mut Edits<'_>, event: &Event) -> Result<(), CrdtError> {
    edits.push(EVENTS, event.to_fields().iter().map(|(name, value)| (name.as_str(), value)))
}

/// Edits in portions that each fit into one change: a form is one, a pasted report may be several. Order is kept, and
/// what several portions do is what the edits do.
#[derive(Debug)]
pub struct Portions {
    queue: VecDeque<Edit>,
}

impl Portions {
    /// Of these edits.
    pub fn of(edits: &[Edit]) -> Self {
        Self { queue: edits.iter().flat_map(Edit::pieces).collect() }
    }

    /// The next portion, for a document in which those before it were done.
    pub fn next(&mut self, document: &Document) -> Option<Vec<Edit>> {
        let (mut portion, mut full) = (Vec::new(), 0);
        while let Some(edit) = self.queue.pop_front() {
            let size = edit.size();
            let is_cut = full + size > PORTION || edit.is_large_in_utf16();
            if is_cut && !portion.is_empty() {
                self.queue.push_front(edit);
                break;
            }
            if edit.is_large_in_utf16() {
                // Only now it is known where its places are: a cut between UTF-16 units may fall into a letter.
                let edit = edit.in_code_points(&document.text(NARRATIVE, Moment::Now));
                edit.pieces().into_iter().rev().for_each(|piece| self.queue.push_front(piece));
                continue;
            }
            full += size;
            portion.push(edit);
        }
        (!portion.is_empty()).then_some(portion)
    }
}

impl Edit {
    /// The same edit with places in code points of this narrative.
    fn in_code_points(&self, narrative: &str) -> Edit {
        match self {
            Edit::NarrateUtf16 { part, at: Some(at), delete, insert } => {
                let (from, to) =
                    (letters_before(narrative, *at), letters_before(narrative, at.saturating_add(*delete)));
                Edit::Narrate { part: *part, at: Some(from), delete: to - from, insert: insert.clone() }
            }
            Edit::NarrateUtf16 { part, at: None, delete: _, insert } => {
                Edit::Narrate { part: *part, at: None, delete: 0, insert: insert.clone() }
            }
            other => other.clone(),
        }
    }

    fn is_large_in_utf16(&self) -> bool {
        matches!(self, Edit::NarrateUtf16 { delete, insert, .. } if *delete > PIECE || insert.len() > PIECE)
    }

    /// A long narrative as several edits, one after the other; everything else as it is.
    fn pieces(&self) -> Vec<Edit> {
        let Edit::Narrate { part, at, delete, insert } = self else { return vec![self.clone()] };
        let part = *part;
        let mut pieces = Vec::new();
        let mut left = *delete;
        while left > PIECE {
            pieces.push(Edit::Narrate { part, at: *at, delete: PIECE, insert: String::new() });
            left -= PIECE;
        }
        let letters: Vec<char> = insert.chars().collect();
        let (first, rest) = letters.split_at(letters.len().min(PIECE));
        pieces.push(Edit::Narrate { part, at: *at, delete: left, insert: first.iter().collect() });
        for (index, piece) in rest.chunks(PIECE).enumerate() {
            let at = at.map(|at| at + PIECE * (index + 1));
            pieces.push(Edit::Narrate { part, at, delete: 0, insert: piece.iter().collect() });
        }
        pieces
    }

    /// About how much of a change it takes: operations, or bytes where these are what fills it.
    fn size(&self) -> usize {
        let sum = |fields: &[(String, Value)]| -> usize {
            fields.iter().map(|(name, value)| size_of_value(name, value)).sum()
        };
        match self {
            Edit::SetFact { name, value, .. } => size_of_value(name, value),
            Edit::AddEntry { kind, fields, .. } | Edit::Correct { kind, fields, .. } => {
                ENTRY + kind.len() / BYTES_PER_OP + sum(fields)
            }
            Edit::Withdraw { reason, .. } => ENTRY + 1 + reason.len() / BYTES_PER_OP,
            Edit::Narrate { delete, insert, .. } | Edit::NarrateUtf16 { delete, insert, .. } => {
                delete + insert.chars().count()
            }
            Edit::Answer { value, .. } => size_of_value("", value) + ENTRY,
            Edit::Resolve { value, among, .. } => size_of_value("", value) + ENTRY + 4 * among.len(),
            Edit::Record { event, .. } => ENTRY + sum(&event.to_fields()),
            Edit::RaiseSchema { .. } => 1,
        }
    }
}

fn size_of_value(name: &str, value: &Value) -> usize {
    let bytes = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Record(fields) => {
            return 1 + fields.iter().map(|(name, value)| size_of_value(name, value)).sum::<usize>();
        }
        _ => 0,
    };
    1 + (name.len() + bytes) / BYTES_PER_OP
}

/// Code points of a narrative in one piece.
const PIECE: usize = 8_000;
/// Operations in one portion, well below [`limits::CHANGE_OPS_MAX`](crate::limits::CHANGE_OPS_MAX).
const PORTION: usize = 16_000;
/// Bytes of text that fill a change as much as one operation: a full portion is about half of
/// [`limits::CHANGE_LEN_MAX`](crate::limits::CHANGE_LEN_MAX).
const BYTES_PER_OP: usize = 8;
/// Operations of an entry besides its fields.
const ENTRY: usize = 6;

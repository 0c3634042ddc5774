//! The case as the field writes it: facts, entries and a narrative, in up to three documents.
//!
//! Every document starts from one deterministic genesis change, so that two devices that open the same case
//! without a network write into the same containers.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::{
    crdt::{Container, CrdtError, Document, Edits, Field, Item, NewChange, Value},
    ids::{ActorId, DeviceId, DocumentId, Epoch, Part},
};

/// The fixed actor of genesis changes. No device may write under it.
pub const GENESIS_ACTOR: ActorId = ActorId([0; 16]);

/// Number of the schema that genesis changes create; stands in every document as `schema`.
pub const SCHEMA: i64 = 1;

const FACTS: &str = "facts";
const ENTRIES: &str = "entries";
const NARRATIVE: &str = "narrative";

/// The first change of every document of that part: same bytes, same hash, everywhere.
pub fn genesis(part: Part) -> &'static NewChange {
    static GENESES: OnceLock<[NewChange; 3]> = OnceLock::new();
    let all = GENESES.get_or_init(|| Part::ALL.map(make_genesis));
    &all[part as usize - 1]
}

fn make_genesis(part: Part) -> NewChange {
    let edit = |edits: &mut Edits<'_>| {
        edits.put_root("schema", Value::Integer(SCHEMA))?;
        edits.put_root("part", Value::Text(part.name().to_owned()))?;
        edits.create(FACTS, Container::Map)?;
        edits.create(ENTRIES, Container::List)?;
        edits.create(NARRATIVE, Container::Text)
    };
    let mut document = Document::empty(GENESIS_ACTOR);
    let change = document.edit(0, edit).expect("fixed operations on an empty document");
    change.expect("the genesis change has operations")
}

/// The actor under which a device writes a document: stable across openings, new after a lost or refused write.
pub fn actor(device: DeviceId, document: DocumentId, store: Epoch, generation: u32) -> ActorId {
    let mut hash = Sha256::new();
    hash.update(b"feldakte actor 1");
    hash.update(device.as_bytes());
    hash.update(document.to_bytes());
    hash.update(store.as_bytes());
    hash.update(generation.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut actor = [0; 16];
    actor.copy_from_slice(&digest[..16]);
    ActorId(actor)
}

/// One thing a user does to a case. Several in one save become one change per document.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Sets a single fact, such as `family_name` of the identity document. Concurrent values are all kept.
    SetFact {
        /// The document it belongs to.
        part: Part,
        /// The fact's name.
        name: String,
        /// Its value.
        value: Value,
    },
    /// Appends an entry, such as a set of vitals. Entries are never changed; a correction is a new entry.
    AddEntry {
        /// The document it belongs to.
        part: Part,
        /// What kind of entry: `vitals`, `medication`, `finding` …
        kind: String,
        /// Its fields.
        fields: Vec<(String, Value)>,
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
}

impl Edit {
    /// The document the edit belongs to.
    pub fn part(&self) -> Part {
        match self {
            Edit::SetFact { part, .. } | Edit::AddEntry { part, .. } | Edit::Narrate { part, .. } => *part,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When the document is not one that [`genesis`] began, or a range is outside of the narrative.
    pub fn apply(&self, edits: &mut Edits<'_>) -> Result<(), CrdtError> {
        match self {
            Edit::SetFact { part: _, name, value } => edits.put(FACTS, name, value.clone()),
            Edit::AddEntry { part: _, kind, fields } => {
                let kind = ("kind".to_owned(), Value::Text(kind.clone()));
                edits.push(ENTRIES, std::iter::once(kind).chain(fields.iter().cloned()))
            }
            Edit::Narrate { part: _, at, delete, insert } => {
                let len = edits.text_len(NARRATIVE)?;
                let at = at.unwrap_or(len).min(len);
                edits.splice(NARRATIVE, at, (*delete).min(len - at), insert)
            }
        }
    }
}

/// The same edits in portions that each fit into one change: a form is one, a pasted report may be several. Order is
/// kept, and what several portions do is what the edits do.
pub fn portions(edits: &[Edit]) -> Vec<Vec<Edit>> {
    let mut portions: Vec<Vec<Edit>> = vec![Vec::new()];
    let mut full = 0;
    for edit in edits.iter().flat_map(Edit::pieces) {
        let size = edit.size();
        if full + size > PORTION && full > 0 {
            portions.push(Vec::new());
            full = 0;
        }
        full += size;
        portions.last_mut().expect("begins with one").push(edit);
    }
    portions
}

impl Edit {
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
        match self {
            Edit::SetFact { part: _, name, value } => size_of_value(name, value),
            Edit::AddEntry { part: _, kind, fields } => {
                2 + kind.len() / BYTES_PER_OP
                    + fields.iter().map(|(name, value)| size_of_value(name, value)).sum::<usize>()
            }
            Edit::Narrate { part: _, at: _, delete, insert } => delete + insert.chars().count(),
        }
    }
}

fn size_of_value(name: &str, value: &Value) -> usize {
    let text = match value {
        Value::Text(text) => text.len(),
        _ => 0,
    };
    1 + (name.len() + text) / BYTES_PER_OP
}

/// Code points of a narrative in one piece.
const PIECE: usize = 8_000;
/// Operations in one portion, well below [`limits::CHANGE_OPS_MAX`](crate::limits::CHANGE_OPS_MAX).
const PORTION: usize = 16_000;
/// Bytes of text that fill a change as much as one operation: a full portion is about half of
/// [`limits::CHANGE_LEN_MAX`](crate::limits::CHANGE_LEN_MAX).
const BYTES_PER_OP: usize = 8;

/// What one document shows.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentView {
    /// Which document.
    pub part: Part,
    /// Single facts with every concurrent value.
    pub facts: Vec<Field>,
    /// Entries in document order.
    pub entries: Vec<Item>,
    /// The narrative.
    pub narrative: String,
}

impl DocumentView {
    /// Reads the document as it is.
    pub fn of(part: Part, document: &Document) -> Self {
        Self {
            part,
            facts: document.fields(FACTS),
            entries: document.items(ENTRIES),
            narrative: document.text(NARRATIVE),
        }
    }

    /// Facts on which replicas disagree.
    pub fn conflicts(&self) -> impl Iterator<Item = &Field> {
        self.facts.iter().filter(|fact| fact.values.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{change::Change, ids::CaseId};

    fn writer(device: u128) -> Document {
        let document = DocumentId { case: CaseId(Uuid::from_u128(7)), part: Part::Clinical };
        let actor = actor(DeviceId(Uuid::from_u128(device)), document, Epoch(Uuid::nil()), 0);
        Document::load(&genesis(Part::Clinical).bytes, actor).expect("genesis loads")
    }

    fn set(name: &str, value: &str) -> Edit {
        Edit::SetFact { part: Part::Clinical, name: name.into(), value: Value::Text(value.into()) }
    }

    #[test]
    fn genesis_is_the_same_everywhere_and_for_ever() {
        let hashes = Part::ALL.map(|part| genesis(part).hash.to_string());
        assert_eq!(hashes, GENESIS_HASHES);
        for part in Part::ALL {
            let change = Change::parse(genesis(part).bytes.clone()).expect("admission reads it");
            assert_eq!((change.hash, change.actor, change.seq), (genesis(part).hash, GENESIS_ACTOR, 1));
        }
    }

    // Golden: documents in the field begin with these; a change of them is a new schema number, never an edit here.
    const GENESIS_HASHES: [&str; 3] = [
        "092b3bf4e94c99319c23715b15da9b7224d3353d66eeee52e16164416cfdc7d6",
        "4976eecebc207875986b6f28879b49f8ddfb06f9a4ea84b8c70fbaa4fee12dc3",
        "bacaf4842f4105096d2bc5cacbb57e434c216854503e7e5fa517db0a7a05597a",
    ];

    #[test]
    fn concurrent_facts_are_both_kept_and_equal_ones_collapse() {
        let (mut a, mut b) = (writer(1), writer(2));
        let from_a = a.edit(0, |e| set("allergy", "Penicillin").apply(e).and(set("nkda", "nein").apply(e)));
        let from_b = b.edit(0, |e| set("allergy", "keine").apply(e).and(set("nkda", "nein").apply(e)));
        let (from_a, from_b) = (from_a.expect("edit").expect("change"), from_b.expect("edit").expect("change"));
        a.apply([&from_b.bytes]).expect("merge");
        b.apply([&from_a.bytes]).expect("merge");
        let view = DocumentView::of(Part::Clinical, &a);
        assert_eq!(view, DocumentView::of(Part::Clinical, &b));
        let conflicts: Vec<_> = view.conflicts().map(|field| (field.name.as_str(), field.values.len())).collect();
        assert_eq!(conflicts, [("allergy", 2)]);
    }

    #[test]
    fn narrative_appends_from_two_devices_are_both_there() {
        let (mut a, mut b) = (writer(1), writer(2));
        let note = |insert: &str| Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: insert.into() };
        let from_a = a.edit(0, |e| note("Patientin ansprechbar. ").apply(e)).expect("edit").expect("change");
        let from_b = b.edit(0, |e| note("Übelkeit 🤢. ").apply(e)).expect("edit").expect("change");
        a.apply([&from_b.bytes]).expect("merge");
        b.apply([&from_a.bytes]).expect("merge");
        let text = DocumentView::of(Part::Clinical, &a).narrative;
        assert_eq!(text, DocumentView::of(Part::Clinical, &b).narrative);
        assert!(text.contains("Patientin ansprechbar. ") && text.contains("Übelkeit 🤢. "));
    }

    #[test]
    fn what_is_too_much_for_one_change_is_made_in_several_and_means_the_same() {
        let narrate =
            |at, delete, insert: &str| Edit::Narrate { part: Part::Clinical, at, delete, insert: insert.to_owned() };
        let report = "Ärztlicher Bericht 🤢 ".repeat(2_000);
        let form: Vec<Edit> = (0..200).map(|n| set(&format!("feld_{n}"), "ja")).collect();
        let letter = set("arztbrief", &"Sehr geehrte Frau Kollegin, ".repeat(2_000));
        let cases = [
            (form.clone(), 1),
            (vec![narrate(None, 0, "kurz")], 1),
            (vec![narrate(None, 0, &report)], 3),
            (vec![narrate(Some(3), 2, &report), set("gcs", "15"), narrate(Some(1), 30_000, "Ende")], 4),
            (vec![letter.clone(), letter.clone(), letter.clone(), narrate(None, 5, "x")], 2),
        ];
        for (edits, at_least) in cases {
            let portions = portions(&edits);
            assert!(portions.len() >= at_least && portions.len() <= at_least + 4, "{}", portions.len());
            let (mut whole, mut pieces) = (writer(1), writer(2));
            for document in [&mut whole, &mut pieces] {
                document.edit(0, |e| narrate(None, 0, "Vorher steht etwas hier.").apply(e)).expect("edit");
            }
            whole.edit(0, |target| edits.iter().try_for_each(|edit| edit.apply(target))).expect("edit");
            for portion in &portions {
                let change = pieces.edit(0, |target| portion.iter().try_for_each(|edit| edit.apply(target)));
                let change = change.expect("edit").expect("something to do");
                Change::parse(change.bytes).expect("admission takes each of them");
            }
            let facts = |document: &Document| DocumentView::of(Part::Clinical, document).facts.len();
            assert_eq!((whole.text(NARRATIVE), facts(&whole)), (pieces.text(NARRATIVE), facts(&pieces)));
        }
        assert_eq!(portions(&[]), [Vec::new()], "nothing is nothing");
    }

    #[test]
    fn an_edit_that_fails_leaves_nothing_behind() {
        let mut document = writer(1);
        let heads = document.heads();
        let result = document.edit(0, |edits| {
            set("gcs", "15").apply(edits)?;
            edits.put("no such container", "x", Value::Null)
        });
        assert!(matches!(result, Err(CrdtError::NoContainer(_))));
        assert_eq!(document.heads(), heads);
        assert!(DocumentView::of(Part::Clinical, &document).facts.is_empty());
    }
}

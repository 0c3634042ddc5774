//! What single changes do to a document, as a person reads it who is to decide on them: each by itself, as its author saw
//! the document, and beside it what stands in the case without them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CHECKLISTS, ENTRIES, EVENTS, Entry, FACTS, MIN_SCHEMA, NARRATIVE, Path,
    author::{Authors, Provenance},
    entry, fact, genesis,
};
use crate::{
    crdt::{CrdtError, Document, Held, Item, Moment, Value, Written},
    ids::{ChangeHash, Part},
};

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Deeds {
    /// Who made it, when, by his own clock.
    pub provenance: Provenance,
    /// The changes that it stands on.
    pub base: Vec<ChangeHash>,
    /// What it does.
    pub deeds: Vec<Deed>,
    /// Operations that no app makes which keeps to the case model, such as one on the entry of somebody else.
    pub others: usize,
}

/// Something that a change does.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub enum Deed {
    /// Opens the document.
    Opens,
    /// Sets a fact or answers an element of a checklist.
    Sets {
        /// Which.
        path: Path,
        /// To what; `None` takes away what stood there.
        value: Option<Value>,
        /// What its author saw there.
        before: Vec<Value>,
        /// What stands there without the changes that are to be decided on.
        in_case: Vec<Value>,
    },
    /// Appends an entry, corrects or withdraws one.
    Appends(Entry),
    /// Records an event, such as a step of an order, with its fields as they are stored.
    Records(Vec<(String, Value)>),
    /// Changes the narrative.
    Narrates {
        /// Where, in code points.
        at: usize,
        /// What its author took away there.
        removed: String,
        /// What he put there.
        inserted: String,
    },
    /// Reserves the document for apps that know a schema.
    Reserves,
}

crate::hide_content! { Deed }

/// What these changes do, in this order, until about `len_max` bytes have come together: who fills a document must not fill
/// the memory of whoever looks at it. Changes that the document does not hold are left out.
///
/// # Errors
/// [`CrdtError::Panicked`]: the document must be dropped.
pub fn deeds(
    part: Part,
    document: &mut Document,
    authors: &Authors,
    changes: &[ChangeHash],
    len_max: usize,
) -> Result<Vec<Deeds>, CrdtError> {
    let decided_on: BTreeSet<ChangeHash> = changes.iter().copied().collect();
    let case = heads_without(document, &decided_on);
    let mut entries = items_of(document, ENTRIES, &decided_on);
    let mut events = items_of(document, EVENTS, &decided_on);
    let (mut found, mut len) = (Vec::new(), 0);
    for change in changes {
        if len > len_max {
            break;
        }
        let Some(origin) = document.history().origin_of(change) else { continue };
        let base = document.deps(*change);
        let (deeds, others) = if *change == genesis(part).hash {
            (vec![Deed::Opens], 0)
        } else {
            let written = document.written_by(*change)?;
            let seen = Seen { before: &base, after: std::slice::from_ref(change), case: &case };
            let (mut deeds, others) = seen.places(document, written);
            let entries = entry::read(entries.remove(change).unwrap_or_default(), authors);
            deeds.extend(entries.into_iter().map(Deed::Appends));
            deeds.extend(events.remove(change).into_iter().flatten().map(|item| Deed::Records(item.fields)));
            (deeds, others)
        };
        len += deeds.iter().map(Deed::len).sum::<usize>();
        found.push(Deeds { provenance: authors.provenance(origin), base, deeds, others });
    }
    Ok(found)
}

/// How many changes whoever made these had not seen of what is in the document besides them.
pub fn unseen(document: &mut Document, changes: &[ChangeHash]) -> usize {
    let decided_on: BTreeSet<ChangeHash> = changes.iter().copied().collect();
    let history = document.history();
    let clock = history.clock_of(changes);
    let others = history.changes().filter(|origin| !decided_on.contains(&origin.change));
    others.filter(|origin| !history.is_within(&origin.change, &clock)).count()
}

impl Deed {
    /// About how many bytes it takes to say it.
    fn len(&self) -> usize {
        let record = |fields: &[(String, Value)]| fields.iter().map(|(name, value)| name.len() + len_of(value)).sum();
        let values = |values: &[Value]| values.iter().map(len_of).sum::<usize>();
        let content: usize = match self {
            Deed::Opens | Deed::Reserves => 0,
            Deed::Sets { path: _, value, before, in_case } => {
                values(value.as_slice()) + values(before) + values(in_case)
            }
            Deed::Appends(entry) => record(&entry.fields),
            Deed::Records(fields) => record(fields),
            Deed::Narrates { at: _, removed, inserted } => removed.len() + inserted.len(),
        };
        content + LEN_AROUND
    }
}

fn len_of(value: &Value) -> usize {
    let content = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Record(fields) => fields.iter().map(|(name, value)| name.len() + len_of(value)).sum(),
        Value::Integer(_) | Value::Decimal(_) | Value::Boolean(_) | Value::Timestamp(_) | Value::Null => 0,
    };
    content + LEN_AROUND
}

/// Names, punctuation, numbers.
const LEN_AROUND: usize = 64;

/// What these changes have appended, by change.
fn items_of(
    document: &mut Document,
    container: &str,
    changes: &BTreeSet<ChangeHash>,
) -> BTreeMap<ChangeHash, Vec<Item>> {
    let mut items: BTreeMap<ChangeHash, Vec<Item>> = BTreeMap::new();
    let all = document.items(container, Moment::Now).into_iter();
    all.filter(|item| changes.contains(&item.origin.change))
        .for_each(|item| items.entry(item.origin.change).or_default().push(item));
    items
}

/// The states between which one change lies, and that of the case without all of them.
struct Seen<'a> {
    before: &'a [ChangeHash],
    after: &'a [ChangeHash],
    case: &'a [ChangeHash],
}

impl Seen<'_> {
    /// What was done to fields, texts and the root, and how many operations were on anything else.
    fn places(&self, document: &mut Document, written: Written) -> (Vec<Deed>, usize) {
        let Written { fields, texts, roots, others } = written;
        let mut deeds: Vec<Deed> =
            fields.iter().map(|(container, name)| self.field(document, container, name)).collect();
        deeds.extend(texts.contains(NARRATIVE).then(|| self.narrative(document)));
        let (gates, strange): (Vec<_>, Vec<_>) = roots.into_iter().partition(|root| root == MIN_SCHEMA);
        deeds.extend(gates.first().map(|_| Deed::Reserves));
        (deeds, others + strange.len())
    }

    fn field(&self, document: &mut Document, container: &str, name: &str) -> Deed {
        let path = match container {
            FACTS => Path::Fact(name.to_owned()),
            CHECKLISTS => fact::element_path(name),
            other => Path::Other(format!("{other}/{name}")),
        };
        let mut held = |heads| -> Vec<Held> {
            let field = document.field_at(container, name, Moment::At(heads));
            field.into_iter().flat_map(|field| field.values).collect()
        };
        let own = held(self.after).into_iter().find(|held| self.after.contains(&held.origin.change));
        let values = |held: Vec<Held>| held.into_iter().map(|held| held.value).collect();
        let (before, in_case) = (values(held(self.before)), values(held(self.case)));
        Deed::Sets { path, value: own.map(|held| held.value), before, in_case }
    }

    /// One splice stands for all of the change: from the first code point that differs to the last.
    fn narrative(&self, document: &Document) -> Deed {
        let text = |heads| document.text(NARRATIVE, Moment::At(heads)).chars().collect::<Vec<char>>();
        let (before, after) = (text(self.before), text(self.after));
        let same =
            |pairs: &mut dyn Iterator<Item = (&char, &char)>| pairs.take_while(|(one, other)| one == other).count();
        let at = same(&mut before.iter().zip(&after));
        let tail = same(&mut before[at..].iter().rev().zip(after[at..].iter().rev()));
        let middle = |text: &[char]| text[at..text.len() - tail].iter().collect();
        Deed::Narrates { at, removed: middle(&before), inserted: middle(&after) }
    }
}

/// The heads of what is left of the document without these changes and all that stands on them.
fn heads_without(document: &mut Document, without: &BTreeSet<ChangeHash>) -> Vec<ChangeHash> {
    let (mut heads, mut left_out) = (BTreeSet::new(), without.clone());
    // In an order that satisfies dependencies.
    for change in document.change_hashes() {
        let deps = document.deps(change);
        match left_out.contains(&change) || deps.iter().any(|dep| left_out.contains(dep)) {
            true => drop(left_out.insert(change)),
            false => {
                heads.retain(|head| !deps.contains(head));
                heads.insert(change);
            }
        }
    }
    heads.into_iter().collect()
}

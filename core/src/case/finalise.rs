//! Finalisation signs a state of a document: its heads, and a hash over what they show. Whatever is not part of that
//! state, however early it was written, is an addendum and never changes what was signed (DOMAIN, rule 3).

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{
    DocumentView, Path,
    author::{Authors, Provenance},
    event::{Event, Recorded},
};
use crate::{
    crdt::{Document, Moment, Value},
    ids::ChangeHash,
};

/// A signature under a state of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalisation {
    /// Who signed, when.
    pub provenance: Provenance,
    /// The signed state: for [`DocumentView::signed`].
    pub heads: Vec<ChangeHash>,
    /// Whether the signed state is here and shows what was signed.
    pub verdict: Verdict,
    /// What is not part of it, in an order that agrees with what its writers had seen.
    pub addenda: Vec<Addendum>,
}

/// What became of a signed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It shows what was signed.
    Intact,
    /// It shows something else than the signature says: the signer's app or somebody's hand is at fault.
    Differs,
}

/// Something that came after the signature, or arrived after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addendum {
    /// Who wrote it, when: perhaps long before the signature, on a device without network.
    pub provenance: Provenance,
    /// What of it can be seen.
    pub paths: Vec<Path>,
}

/// The event that signs the document as it is.
pub fn sign(document: &mut Document, view_part: crate::ids::Part) -> Event {
    let heads = document.heads();
    let content = content_at(document, view_part, &heads);
    Event::Finalised { heads, content }
}

/// SHA-256 over what the document shows at these heads, in one canonical form.
fn content_at(document: &mut Document, part: crate::ids::Part, heads: &[ChangeHash]) -> [u8; 32] {
    // Authors are certified later, and elsewhere: they are not part of what is signed.
    let view = DocumentView::at(part, document, &Authors::default(), Moment::At(heads));
    let mut hash = Canonical(Sha256::new());
    hash.text(CONTENT_FORMAT);
    hash.text(view.part.name());
    hash.list(&view.facts, |hash, fact| hash.register(&fact.name, &fact.values));
    hash.list(&view.checklists, |hash, fact| hash.register(&fact.name, &fact.values));
    hash.list(&view.entries, |hash, entry| {
        hash.bytes(entry.id.as_ref().map_or(&[], |id| &id.as_bytes()[..]));
        hash.text(&entry.kind);
        hash.bytes(entry.replaces.as_ref().map_or(&[], |id| &id.as_bytes()[..]));
        hash.fields(&entry.fields);
        hash.bytes(&entry.provenance.origin.change.0);
    });
    hash.text(&view.narrative);
    hash.list(&view.events, |hash, recorded| {
        hash.fields(&recorded.event.to_fields());
        hash.bytes(&recorded.provenance.origin.change.0);
    });
    hash.0.finalize().into()
}

/// All signatures, each with what came after it. `view` is the document as it is now.
pub(super) fn fold(document: &mut Document, authors: &Authors, view: &DocumentView) -> Vec<Finalisation> {
    let mut found = Vec::new();
    for Recorded { event, provenance } in &view.events {
        let Event::Finalised { heads, content } = event else { continue };
        let verdict = match content_at(document, view.part, heads) == *content {
            true => Verdict::Intact,
            false => Verdict::Differs,
        };
        let addenda = addenda(document, authors, view, heads, &provenance.origin.change);
        found.push(Finalisation { provenance: provenance.clone(), heads: heads.clone(), verdict, addenda });
    }
    found
}

fn addenda(
    document: &mut Document,
    authors: &Authors,
    view: &DocumentView,
    heads: &[ChangeHash],
    signature: &ChangeHash,
) -> Vec<Addendum> {
    let signed_narrative = document.text(super::NARRATIVE, Moment::At(heads));
    let history = document.history();
    let signed = history.clock_of(heads);
    let is_late = |change: &ChangeHash| change != signature && !history.is_within(change, &signed);
    let mut late: Vec<_> = history.changes().filter(|origin| is_late(&origin.change)).collect();
    late.sort_by_key(crate::crdt::Origin::rank);
    let mut places: HashMap<ChangeHash, Vec<Path>> = HashMap::new();
    view.places().into_iter().for_each(|(change, path)| places.entry(change).or_default().push(path));
    let is_narrative_touched = signed_narrative != view.narrative;
    let addendum = |origin: crate::crdt::Origin| {
        let mut paths = places.get(&origin.change).cloned().unwrap_or_default();
        if is_narrative_touched && narrates(document, origin.change) {
            paths.push(Path::Narrative);
        }
        paths.sort_unstable();
        paths.dedup();
        Addendum { provenance: authors.provenance(origin), paths }
    };
    late.into_iter().map(addendum).collect()
}

/// Whether the change edits the narrative: letters have no path of their own.
fn narrates(document: &mut Document, change: ChangeHash) -> bool {
    let deps = document.deps(change);
    let before = document.text(super::NARRATIVE, Moment::At(&deps));
    before != document.text(super::NARRATIVE, Moment::At(&[change]))
}

/// Feeds values into a hash so that different content never gives the same bytes: everything has its length before it.
struct Canonical(Sha256);

impl Canonical {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.0.update((items.len() as u64).to_be_bytes());
        items.iter().for_each(|item| each(self, item));
    }

    fn register(&mut self, name: &str, claims: &[super::Claim]) {
        self.text(name);
        self.list(claims, |hash, claim| {
            hash.value(&claim.value);
            hash.bytes(&claim.provenance.origin.change.0);
        });
    }

    fn fields(&mut self, fields: &[(String, Value)]) {
        self.list(fields, |hash, (name, value)| {
            hash.text(name);
            hash.value(value);
        });
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.tagged(1, text.as_bytes()),
            Value::Integer(number) => self.tagged(2, &number.to_be_bytes()),
            Value::Decimal(number) => self.tagged(3, &number.to_bits().to_be_bytes()),
            Value::Boolean(flag) => self.tagged(4, &[u8::from(*flag)]),
            Value::Timestamp(ms) => self.tagged(5, &ms.to_be_bytes()),
            Value::Bytes(bytes) => self.tagged(6, bytes),
            Value::Null => self.tagged(7, &[]),
            Value::Record(fields) => {
                self.0.update([8]);
                self.fields(fields);
            }
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update([tag]);
        self.bytes(bytes);
    }
}

/// Signatures in the field name it through their hash: another form is another name.
const CONTENT_FORMAT: &str = "feldakte document content 1";

//! Compares what the tablets show at the end with a document built from the gateway's log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use feldakte_core::{
    case::{self, Authors, DocumentView, GENESIS_ACTOR},
    change::Change,
    crdt::Document,
    ids::{ChangeHash, DocumentId},
};

use super::{edits, tablet::Report, witness::Witness};

/// The documents as the log has them. Built once per state of the log.
#[derive(Default)]
pub struct Verdict {
    built: BTreeMap<DocumentId, (usize, DocumentView)>,
}

impl Verdict {
    /// What still differs between what a tablet shows and the log; `None` when nothing does.
    pub fn difference(&mut self, witness: &Witness, tablet: usize, report: &Report) -> Option<String> {
        let Report { status, cases, parked: _, documents, refused: _ } = report;
        if status.sync.local + status.sync.sent > 0 {
            return Some(format!("tablet {tablet} has changes that are not durable: {:?}", status.sync));
        }
        if status.all_safe != (status.sync.refused == 0) {
            return Some(format!("tablet {tablet} says all_safe = {} with {:?}", status.all_safe, status.sync));
        }
        for document in witness.documents() {
            let holds = witness.holds(tablet, document);
            let shown = cases.get(&document.case);
            let state = shown.map(|case| case.sync);
            let view = shown.and_then(|case| case.documents.iter().find(|view| view.part == document.part));
            match (holds, view) {
                (true, None) => return Some(format!("tablet {tablet} lacks {document}")),
                (true, Some(_)) if state.is_some_and(|state| state.incomplete) => {
                    return Some(format!("tablet {tablet} still fetches {}", document.case));
                }
                (true, Some(view)) if *view != *self.build(witness, document) => {
                    return Some(format!("tablet {tablet} shows {document} other than the log: {}", {
                        describe(view, self.build(witness, document))
                    }));
                }
                _ => {}
            }
            let is_revoked = documents.get(&document).is_some_and(|state| state.revoked);
            if holds && is_revoked {
                return Some(format!("tablet {tablet} takes its grant on {document} for ended, which it is not"));
            }
            let author = shown.iter().flat_map(|case| &case.authors).find(|author| !witness.has_written(author));
            if let Some(author) = author {
                return Some(format!("tablet {tablet} is shown {author:?} as an author of {}", document.case));
            }
        }
        None
    }

    /// What the tablets' users were told and does not hold at the end; `None` when all of it does.
    pub fn broken_word(&mut self, witness: &Witness, tablet: usize, report: &Report) -> Option<String> {
        let unlogged = witness.unlogged(tablet);
        if let Some((document, hash)) = unlogged.iter().find(|change| !report.refused.contains(change)) {
            return Some(format!(
                "{hash:?} of {document}, saved by tablet {tablet}, is neither in the log nor refused"
            ));
        }
        // Whoever may not write a document may not repeat its first change either, which is in the log all the same.
        let is_genesis = |document: &DocumentId, hash| case::genesis(document.part).hash == hash;
        let is_logged = |document: &DocumentId, hash: &_| {
            witness.with_document(*document, |truth| truth.hashes.contains(hash)).unwrap_or_default()
        };
        let mut refused = report.refused.iter();
        let both = refused.find(|(document, hash)| is_logged(document, hash) && !is_genesis(document, *hash));
        if let Some((document, hash)) = both {
            return Some(format!("{hash:?} of {document} was refused to tablet {tablet} and is in the log"));
        }
        let documents = witness.documents();
        let entries = documents.iter().flat_map(|document| self.build(witness, *document).entries.clone());
        let mut logged = BTreeSet::new();
        for token in entries.filter_map(|item| edits::token_of(&item.fields).map(str::to_owned)) {
            if !logged.insert(token.clone()) {
                return Some(format!("entry {token} is there twice"));
            }
        }
        let lost = witness.saved_tokens(tablet);
        let kept = tokens_in_evidence(witness);
        let is_somewhere =
            |token: &String| logged.contains(token) || report.parked.contains(token) || kept.contains(token);
        let lost = lost.iter().find(|token| !is_somewhere(token));
        if let Some(token) = lost {
            return Some(format!("entry {token} of tablet {tablet} was saved on the device and is nowhere"));
        }
        let denied = witness.denied_tokens(tablet);
        let half = denied.iter().find(|token| logged.contains(*token) || report.parked.contains(*token));
        half.map(|token| format!("entry {token} of tablet {tablet} belongs to a save that failed, and is there"))
    }

    fn build(&mut self, witness: &Witness, id: DocumentId) -> &DocumentView {
        let changes = witness.with_document(id, |truth| truth.changes.clone()).unwrap_or_default();
        let is_built = self.built.get(&id).is_some_and(|(count, _)| *count == changes.len());
        if !is_built {
            let loaded = Document::load(&changes.concat(), GENESIS_ACTOR);
            let mut document = loaded.expect("the log of an honest world loads");
            let authors = witness.with_document(id, |truth| Authors::of(&truth.bindings)).unwrap_or_default();
            self.built.insert(id, (changes.len(), DocumentView::of(id.part, &mut document, &authors)));
        }
        &self.built[&id].1
    }
}

/// Entries in what waits for a supervisor, as they would stand in the case once he has taken it in.
fn tokens_in_evidence(witness: &Witness) -> BTreeSet<String> {
    let mut tokens = BTreeSet::new();
    for (id, evidence) in witness.evidence() {
        let logged = witness.with_document(id, |truth| truth.changes.clone()).unwrap_or_default();
        let changes = in_causal_order(logged, evidence);
        let mut document = Document::load(&changes.concat(), GENESIS_ACTOR).expect("evidence of an honest world loads");
        let view = DocumentView::of(id.part, &mut document, &Authors::default());
        tokens.extend(view.entries.iter().filter_map(|item| edits::token_of(&item.fields).map(str::to_owned)));
    }
    tokens
}

/// What is logged, then the evidence as far as what it stands on is there, each change once.
fn in_causal_order(mut changes: Vec<Bytes>, evidence: Vec<Bytes>) -> Vec<Bytes> {
    let parse = |bytes: &Bytes| Change::parse(bytes.clone()).expect("an honest world's change");
    let mut known: BTreeSet<ChangeHash> = changes.iter().map(|bytes| parse(bytes).hash).collect();
    let mut waiting: Vec<Change> = evidence.iter().map(parse).collect();
    loop {
        let before = waiting.len();
        for change in std::mem::take(&mut waiting) {
            if known.contains(&change.hash) {
                continue;
            }
            match change.deps.iter().all(|dep| known.contains(dep)) {
                true => {
                    known.insert(change.hash);
                    changes.push(change.bytes);
                }
                false => waiting.push(change),
            }
        }
        if waiting.len() == before {
            return changes;
        }
    }
}

fn describe(shown: &DocumentView, logged: &DocumentView) -> String {
    let count = |view: &DocumentView| (view.facts.len(), view.entries.len(), view.narrative.len());
    let facts = shown.facts.iter().zip(&logged.facts).find(|(a, b)| a != b);
    format!("{:?} facts, entries, narrative against {:?}; first fact {facts:?}", count(shown), count(logged))
}

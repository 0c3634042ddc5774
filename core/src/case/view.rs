//! What one document shows: a stable snapshot for screens, read in one go.

use super::{
    CHECKLISTS, Claim, ENTRIES, EVENTS, FACTS, MIN_SCHEMA, NARRATIVE, Path, SCHEMA,
    author::Authors,
    entry::{self, Entry},
    event::{Event, Recorded},
    fact::{self, Conflict, Fact, Meanwhile},
    finalise::{self, Finalisation},
    order::{self, Order},
    status::{self, Links, Status},
};
use crate::{
    crdt::{Document, Item, Moment, Value},
    ids::{ActorId, ChangeHash, Part},
    limits,
};

/// A document as it is.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub struct DocumentView {
    /// Which document.
    pub part: Part,
    /// Single facts with every concurrent value, ascending by name.
    pub facts: Vec<Fact>,
    /// Answers to checklists, ascending by [`super::ElementId`]'s text.
    pub checklists: Vec<Fact>,
    /// Entries in document order, the corrected ones among them.
    pub entries: Vec<Entry>,
    /// The narrative.
    pub narrative: String,
    /// Events in document order. Those of newer apps are not among them, and stay where they are.
    pub events: Vec<Recorded>,
    /// The least schema that an app must know to write this document; in a signed state too, as it is at present.
    pub min_schema: i64,
    /// How many actors have written it, in a signed state too as it is at present: see [`limits::ACTORS_ALARM`].
    pub actors: usize,
}

crate::hide_content! { DocumentView }

/// What a document's events come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Orders, ascending by id.
    pub orders: Vec<Order>,
    /// Where things stand.
    pub status: Vec<Status>,
    /// Cases that belong together, entries that belong elsewhere.
    pub links: Links,
    /// Signatures, in document order.
    pub finalisations: Vec<Finalisation>,
}

impl DocumentView {
    /// Reads the document as it is.
    pub fn of(part: Part, document: &mut Document, authors: &Authors) -> Self {
        Self::at(part, document, authors, Moment::Now)
    }

    /// Reads a signed state, as long as the document holds it; compaction keeps it.
    pub fn signed(part: Part, document: &mut Document, authors: &Authors, heads: &[ChangeHash]) -> Self {
        Self::at(part, document, authors, Moment::At(heads))
    }

    pub(super) fn at(part: Part, document: &mut Document, authors: &Authors, moment: Moment<'_>) -> Self {
        let recorded = |item: Item| {
            let (event, origin) = (Event::of(&item)?, item.origin);
            Some(Recorded { event, provenance: authors.provenance(origin) })
        };
        Self {
            part,
            facts: fact::read(document.fields(FACTS, moment), authors),
            checklists: fact::read(document.fields(CHECKLISTS, moment), authors),
            entries: entry::read(document.items(ENTRIES, moment), authors),
            narrative: document.text(NARRATIVE, moment),
            events: document.items(EVENTS, moment).into_iter().filter_map(recorded).collect(),
            min_schema: min_schema(document),
            actors: document.history().actors(),
        }
    }

    /// What the events come to.
    pub fn outcome(&self, document: &mut Document, authors: &Authors) -> Outcome {
        let finalisations = finalise::fold(document, authors, self);
        let history = document.history();
        Outcome {
            orders: order::fold(&self.events, history),
            status: status::fold(&self.events, history),
            links: status::links(&self.events, history),
            finalisations,
        }
    }

    /// Entries that stand: neither corrected nor withdrawn.
    pub fn current_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_current())
    }

    /// Fields on which people disagree, for a person to resolve: facts, checklist answers, and entries that were
    /// corrected in more than one way, until all of those corrections but one are withdrawn.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts: Vec<Conflict> = self
            .registers()
            .filter(|(_, fact)| fact.is_in_conflict())
            .map(|(path, fact)| Conflict { path, values: fact.values.clone() })
            .collect();
        for entry in self.entries.iter().filter(|entry| entry.replaced_by.len() > 1) {
            let Some(id) = entry.id else { continue };
            let withdrawn = |correction: &Entry| {
                let mut others = self.entries.iter().filter(|other| other.replaces == correction.id);
                correction.id.is_some() && others.any(|other| other.kind == entry::WITHDRAWAL)
            };
            let corrections = self.entries.iter().filter(|other| other.replaces == Some(id) && !withdrawn(other));
            let claim = |other: &Entry| Claim {
                value: Value::Record(other.fields.clone()),
                provenance: other.provenance.clone(),
            };
            let values: Vec<Claim> = corrections.map(claim).collect();
            if values.len() > 1 {
                conflicts.push(Conflict { path: Path::Entry(id), values });
            }
        }
        conflicts
    }

    /// What others wrote into facts and checklists that a reader of `seen` (its heads then) has not seen: merged in
    /// parallel, or in conflict with something else. What `own` wrote is left out.
    pub fn meanwhile(&self, document: &mut Document, seen: &[ChangeHash], own: ActorId) -> Vec<Meanwhile> {
        let registers = self.registers().map(|(path, fact)| (path, fact.values.clone()));
        let mut found = fact::meanwhile(registers, document.history(), seen);
        found.retain(|meanwhile| meanwhile.provenance.origin.actor != own);
        found
    }

    /// Whether so many actors have written that somebody should look why.
    pub fn has_too_many_actors(&self) -> bool {
        self.actors >= limits::ACTORS_ALARM
    }

    pub(super) fn registers(&self) -> impl Iterator<Item = (Path, &Fact)> {
        let facts = self.facts.iter().map(|fact| (Path::Fact(fact.name.clone()), fact));
        facts.chain(self.checklists.iter().map(|fact| (fact::element_path(&fact.name), fact)))
    }

    /// Everything that can be seen, by the change it came with.
    pub(super) fn places(&self) -> Vec<(ChangeHash, Path)> {
        let claims = self.registers().flat_map(|(path, fact)| {
            fact.values.iter().map(move |claim| (claim.provenance.origin.change, path.clone()))
        });
        let entries = self.entries.iter().map(|entry| {
            let path = entry.id.map_or_else(|| Path::Other(ENTRIES.to_owned()), Path::Entry);
            (entry.provenance.origin.change, path)
        });
        let events = self.events.iter().map(|recorded| {
            let path = match &recorded.event {
                Event::Order { order, .. } => Path::Order(*order),
                _ => Path::Events,
            };
            (recorded.provenance.origin.change, path)
        });
        claims.chain(entries).chain(events).collect()
    }
}

/// The least schema that an app must know to write the document: the highest of all concurrent gates, since whoever
/// raised one knew why.
pub fn min_schema(document: &mut Document) -> i64 {
    document.root(MIN_SCHEMA).iter().filter_map(Value::as_integer).max().unwrap_or(SCHEMA)
}

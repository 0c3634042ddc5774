//! Status and links: what their events come to.

use std::collections::BTreeMap;

use super::{
    author::Provenance,
    event::{Event, Recorded},
};
use crate::{
    crdt::History,
    ids::{CaseId, EntryId},
};

/// Where something stands.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// Whose: a call sign, or `case`.
    pub of: String,
    /// The latest; several when their writers had not seen each other.
    pub latest: Vec<Reached>,
}

/// A status that was reached.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Reached {
    /// The status.
    pub status: String,
    /// When, if that is not when it was written.
    pub at_ms: Option<i64>,
    /// Who says so.
    pub provenance: Provenance,
}

/// How cases belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Cases that belong to this one.
    pub linked: Vec<Link>,
    /// Entries that belong to another case. Two cases for one entry: people disagree.
    pub moved: Vec<Moved>,
}

/// A case that belongs to this one.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub case: CaseId,
    /// How.
    pub relation: String,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub provenance: Provenance,
}

/// An entry that belongs to another case.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub entry: EntryId,
    /// To which case.
    pub into: CaseId,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub provenance: Provenance,
}

crate::hide_content! { Status, Reached, Link, Moved }

/// The latest status of everything, ascending by whose it is.
pub(super) fn fold(events: &[Recorded], history: &History) -> Vec<Status> {
    let mut by_owner: BTreeMap<&str, Vec<Reached>> = BTreeMap::new();
    for Recorded { event, provenance } in events {
        if let Event::Status { of, status, at_ms } = event {
            let reached = Reached { status: status.clone(), at_ms: *at_ms, provenance: provenance.clone() };
            by_owner.entry(of).or_default().push(reached);
        }
    }
    let latest = |mut all: Vec<Reached>| {
        all.sort_by_key(|reached| reached.provenance.origin.rank());
        let is_seen = |one: &Reached| all.iter().any(|other| overtakes(history, &other.provenance, &one.provenance));
        all.iter().filter(|one| !is_seen(one)).cloned().collect()
    };
    by_owner.into_iter().map(|(of, all)| Status { of: of.to_owned(), latest: latest(all) }).collect()
}

/// A link stands unless somebody who had seen it said otherwise.
pub(super) fn links(events: &[Recorded], history: &History) -> Links {
    let mut links = Links::default();
    for Recorded { event, provenance } in events {
        match event {
            Event::Linked { case, relation, reason } => {
                let is_undone = events.iter().any(|other| {
                    matches!(&other.event, Event::Unlinked { case: undone, .. } if undone == case)
                        && overtakes(history, &other.provenance, provenance)
                });
                if !is_undone {
                    let (relation, reason) = (relation.clone(), reason.clone());
                    links.linked.push(Link { case: *case, relation, reason, provenance: provenance.clone() });
                }
            }
            Event::Split { into, entries, reason } => links.moved.extend(entries.iter().map(|entry| Moved {
                entry: *entry,
                into: *into,
                reason: reason.clone(),
                provenance: provenance.clone(),
            })),
            _ => {}
        }
    }
    links
}

/// Whether one was written by somebody who had seen the other.
fn overtakes(history: &History, later: &Provenance, earlier: &Provenance) -> bool {
    let (later, earlier) = (&later.origin, &earlier.origin);
    match later.change == earlier.change {
        true => later.counter > earlier.counter,
        false => history.has_seen(&later.change, &earlier.change),
    }
}

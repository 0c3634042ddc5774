//! Applies entries to a document and proves that what was saved is what will be loaded. Pure computation.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use feldakte_core::{
    change::Change,
    crdt::{CrdtError, Document, Packing},
    ids::{ActorId, ChangeHash},
    log::{Binding, Entry, Quarantine, QuarantineReason},
};

use crate::store::StoredSnapshot;

/// What a projection starts from.
#[cfg_attr(test, derive(Debug))]
#[derive(Default)]
pub struct Base {
    chunks: Option<Bytes>,
    bindings: Vec<Binding>,
    quarantined: Vec<Quarantine>,
}

impl From<StoredSnapshot> for Base {
    fn from(StoredSnapshot { position: _, chunks, bindings, quarantined }: StoredSnapshot) -> Self {
        Self { chunks: Some(chunks), bindings, quarantined }
    }
}

/// A verified snapshot.
#[cfg_attr(test, derive(Debug))]
pub struct Projection {
    /// One document chunk.
    pub chunks: Bytes,
    /// All actors.
    pub bindings: Vec<Binding>,
    /// All changes left out.
    pub quarantined: Vec<Quarantine>,
    /// Those of them that the log does not know as quarantined yet.
    pub newly_quarantined: Vec<Quarantine>,
    /// How many changes the snapshot holds.
    pub covered: usize,
    /// How often the document was loaded: once, unless somebody has tried to break it.
    pub loads: usize,
}

feldakte_core::hide_content! { Base, Projection }

/// One document chunk, and how many changes it holds.
type Saved = (Bytes, usize);

/// Readers only read: nobody writes under it.
const READER: ActorId = ActorId([0xff; 16]);

/// Applies `entries` on `base`. `None` when not even what was left could be saved and loaded again.
pub fn project(base: Base, entries: &[Entry]) -> Option<Projection> {
    let Base { chunks, mut bindings, mut quarantined } = base;
    for entry in entries {
        bindings.extend(entry.bindings.iter().cloned());
        // The mark of what an earlier projection left out follows in the log.
        let new: Vec<_> = entry.quarantined.iter().filter(|mark| !quarantined.contains(mark)).cloned().collect();
        quarantined.extend(new);
    }
    let skip: HashSet<ChangeHash> = quarantined.iter().map(|mark| mark.change).collect();
    let changes: Vec<Change> = entries
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter_map(|bytes| Change::parse(bytes.clone()).ok())
        .filter(|change| !skip.contains(&change.hash))
        .collect();
    let mut growth = Growth { base: chunks, saved: None, left_out: skip, marks: Vec::new(), loads: 0 };
    growth.take(&changes.iter().collect::<Vec<_>>());
    let (chunks, covered) = match growth.saved.take() {
        Some(saved) => saved,
        None => growth.grow(&[]).ok()?,
    };
    let Growth { marks, loads, .. } = growth;
    quarantined.extend(marks.iter().cloned());
    Some(Projection { chunks, bindings, quarantined, newly_quarantined: marks, covered, loads })
}

/// A document that takes in ranges of changes, and what was left out of it.
struct Growth {
    base: Option<Bytes>,
    /// The base and every range that was taken, verified; `None` before the first.
    saved: Option<Saved>,
    left_out: HashSet<ChangeHash>,
    marks: Vec<Quarantine>,
    loads: usize,
}

impl Growth {
    /// Takes the changes in, in log order. When they cannot be applied together, or the document would not load again
    /// after them, it takes one half and then the other: a change that is at fault is found in about twice as many
    /// loads as there are halvings, however many honest ones lie around it.
    fn take(&mut self, changes: &[&Change]) {
        let changes = self.without_orphans(changes);
        match (self.try_take(&changes), changes.as_slice()) {
            (Ok(()), _) => {}
            (Err(reason), [change]) => self.leave_out(change, reason),
            (Err(_), changes) => {
                let (first, second) = changes.split_at(changes.len() / 2);
                self.take(first);
                self.take(second);
            }
        }
    }

    /// What stands on a change that was left out cannot be applied either.
    fn without_orphans<'c>(&mut self, changes: &[&'c Change]) -> Vec<&'c Change> {
        let mut sound = Vec::with_capacity(changes.len());
        for change in changes {
            match change.deps.iter().any(|dep| self.left_out.contains(dep)) {
                true => self.leave_out(change, QuarantineReason::Rejected),
                false => sound.push(*change),
            }
        }
        sound
    }

    fn leave_out(&mut self, change: &Change, reason: QuarantineReason) {
        self.left_out.insert(change.hash);
        self.marks.push(Quarantine { change: change.hash, reason });
    }

    fn try_take(&mut self, changes: &[&Change]) -> Result<(), QuarantineReason> {
        if changes.is_empty() {
            return Ok(());
        }
        self.saved = Some(self.grow(changes)?);
        Ok(())
    }

    fn grow(&mut self, changes: &[&Change]) -> Result<Saved, QuarantineReason> {
        self.loads += 1;
        let base = self.saved.as_ref().map(|(chunks, _)| chunks).or(self.base.as_ref());
        // Whichever call of the library panics: what has been admitted must not end the projector.
        catch_unwind(AssertUnwindSafe(|| grow(base, changes))).unwrap_or(Err(QuarantineReason::Panicked))
    }
}

fn grow(base: Option<&Bytes>, changes: &[&Change]) -> Result<Saved, QuarantineReason> {
    let reason = |error: CrdtError| match error {
        CrdtError::Panicked => QuarantineReason::Panicked,
        CrdtError::TooDeep => QuarantineReason::TooDeep,
        _ => QuarantineReason::Rejected,
    };
    // One load of everything costs a fraction of applying change by change.
    let mut chunks = base.map(|base| base.to_vec()).unwrap_or_default();
    changes.iter().for_each(|change| chunks.extend_from_slice(&change.bytes));
    let mut document = Document::load(&chunks, READER).map_err(reason)?;
    document.check_depth().map_err(reason)?;
    save_verified(&mut document).ok_or(QuarantineReason::Rejected)
}

/// Saves, loads strictly again, and compares heads and the bytes of a second save, which hold every value.
fn save_verified(document: &mut Document) -> Option<Saved> {
    let saved = document.save(Packing::Plain);
    let mut loaded = Document::load(&saved, READER).ok()?;
    let same = loaded.heads() == document.heads() && loaded.save(Packing::Plain) == saved;
    same.then(|| (saved.into(), loaded.change_count()))
}

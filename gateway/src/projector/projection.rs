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
#[derive(Debug, Default)]
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
#[derive(Debug)]
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
}

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
    let together = guarded(|| save_verified(&mut apply_all(chunks.as_deref(), &changes).ok()?)).flatten();
    let ((chunks, covered), newly_quarantined) = match together {
        Some(saved) => (saved, Vec::new()),
        None => apply_one_by_one(chunks.as_deref(), &changes, skip)?,
    };
    quarantined.extend(newly_quarantined.iter().cloned());
    Some(Projection { chunks, bindings, quarantined, newly_quarantined, covered })
}

fn apply_all(base: Option<&[u8]>, changes: &[Change]) -> Result<Document, CrdtError> {
    // One load of everything costs a fraction of applying change by change.
    let mut chunks = base.map(<[u8]>::to_vec).unwrap_or_default();
    changes.iter().for_each(|change| chunks.extend_from_slice(&change.bytes));
    let document = Document::load(&chunks, READER)?;
    document.check_depth()?;
    Ok(document)
}

/// Finds the changes that cannot be applied, or after which the document would not load again. After each failure
/// the document is built again without it. Slow, and only for documents that somebody has tried to break.
fn apply_one_by_one(
    base: Option<&[u8]>,
    changes: &[Change],
    mut left_out: HashSet<ChangeHash>,
) -> Option<(Saved, Vec<Quarantine>)> {
    let mut taken: Vec<&Change> = Vec::new();
    let mut marks = Vec::new();
    let mut document = None;
    for change in changes {
        // What stands on a change that was left out cannot be applied either.
        let reason = match change.deps.iter().any(|dep| left_out.contains(dep)) {
            true => Some(QuarantineReason::Rejected),
            false => match try_one_guarded(document.take(), base, &taken, change) {
                Ok(grown) => {
                    document = Some(grown);
                    None
                }
                Err(reason) => Some(reason),
            },
        };
        match reason {
            None => taken.push(change),
            Some(reason) => {
                left_out.insert(change.hash);
                marks.push(Quarantine { change: change.hash, reason });
            }
        }
    }
    let mut document = match document {
        Some(document) => document,
        None => rebuild(base, &taken).ok()?,
    };
    Some((guarded(|| save_verified(&mut document)).flatten()?, marks))
}

fn try_one_guarded(
    document: Option<Document>,
    base: Option<&[u8]>,
    taken: &[&Change],
    change: &Change,
) -> Result<Document, QuarantineReason> {
    guarded(|| try_one(document, base, taken, change)).unwrap_or(Err(QuarantineReason::Panicked))
}

/// `None` when the library panicked, whichever call it was: what has been admitted must not end the projector.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn try_one(
    document: Option<Document>,
    base: Option<&[u8]>,
    taken: &[&Change],
    change: &Change,
) -> Result<Document, QuarantineReason> {
    let reason = |error: CrdtError| match error {
        CrdtError::Panicked => QuarantineReason::Panicked,
        CrdtError::TooDeep => QuarantineReason::TooDeep,
        _ => QuarantineReason::Rejected,
    };
    let mut grown = match document {
        Some(document) => document,
        None if base.is_none() && taken.is_empty() => return Document::load(&change.bytes, READER).map_err(reason),
        None => rebuild(base, taken).map_err(reason)?,
    };
    grown.apply([&change.bytes]).map_err(reason)?;
    if !grown.contains(change.hash) {
        return Err(QuarantineReason::Rejected);
    }
    grown.check_depth().map_err(reason)?;
    save_verified(&mut grown).ok_or(QuarantineReason::Rejected)?;
    Ok(grown)
}

fn rebuild(base: Option<&[u8]>, taken: &[&Change]) -> Result<Document, CrdtError> {
    let mut chunks = base.map(<[u8]>::to_vec).unwrap_or_default();
    taken.iter().for_each(|change| chunks.extend_from_slice(&change.bytes));
    Document::load(&chunks, READER)
}

/// Saves, loads strictly again, and compares heads and the bytes of a second save, which hold every value.
fn save_verified(document: &mut Document) -> Option<Saved> {
    let saved = document.save(Packing::Plain);
    let mut loaded = Document::load(&saved, READER).ok()?;
    let same = loaded.heads() == document.heads() && loaded.save(Packing::Plain) == saved;
    same.then(|| (saved.into(), loaded.change_count()))
}

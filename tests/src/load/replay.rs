//! Turns scripts into change bytes before a clock is started: the timed part only sends and compares.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_core::{
    case,
    crdt::{CrdtError, Document},
    ids::{ActorId, ChangeHash, DocumentId},
};
use indicatif::ProgressBar;

use crate::load::workload::Script;

/// What is to be written: one case by one device.
#[derive(Debug, Clone)]
pub struct CaseSpec {
    /// The document.
    pub document: DocumentId,
    /// Whom its changes name.
    pub actor: ActorId,
    /// What is written.
    pub script: Arc<Script>,
    /// How many of the script's changes.
    pub steps: usize,
}

/// A case as it will be pushed: genesis first, every change depending on the one before it.
#[derive(Debug)]
pub struct CaseLog {
    /// The document.
    pub document: DocumentId,
    /// Change chunks.
    pub changes: Vec<Bytes>,
    /// Their names, index by index.
    pub hashes: Vec<ChangeHash>,
}

impl CaseLog {
    /// Writes the case into a document of its own and keeps the changes. A step that changes nothing makes none.
    ///
    /// # Errors
    /// When the script does not fit the document.
    pub fn write(spec: &CaseSpec) -> Result<Self, CrdtError> {
        let CaseSpec { document, actor, script, steps } = spec;
        let genesis = case::genesis(document.part);
        let mut replica = Document::load(&genesis.bytes, *actor)?;
        let mut log = Self { document: *document, changes: vec![genesis.bytes.clone()], hashes: vec![genesis.hash] };
        for step in script.steps.iter().take(*steps) {
            let time_s = EPOCH_S + i64::try_from(step.t / 1000).unwrap_or(0);
            if let Some(change) = replica.edit(time_s, |edits| step.apply(edits))? {
                log.changes.push(change.bytes);
                log.hashes.push(change.hash);
            }
        }
        Ok(log)
    }

    /// The same case before its last change.
    pub fn without_last(&self) -> CaseLog {
        let len = self.len().saturating_sub(1);
        let (changes, hashes) = (self.changes[..len].to_vec(), self.hashes[..len].to_vec());
        CaseLog { document: self.document, changes, hashes }
    }

    /// The heads of a replica that has everything: the last change alone.
    pub fn heads(&self) -> Vec<ChangeHash> {
        self.hashes.last().copied().into_iter().collect()
    }

    /// How many changes, genesis included.
    pub fn len(&self) -> usize {
        self.changes.len()
    }
}

/// Writes all cases, on two threads; the order of `specs` is kept.
///
/// # Errors
/// When a script does not fit.
pub fn write_all(specs: &[CaseSpec], progress: &ProgressBar) -> Result<Vec<Arc<CaseLog>>> {
    let next = AtomicUsize::new(0);
    let logs = Mutex::new(vec![None; specs.len()]);
    let write = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(index) else { return Ok(()) };
            let log = CaseLog::write(spec).with_context(|| format!("case {index} cannot be written"))?;
            logs.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(Arc::new(log));
            progress.inc(1);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(write)).collect();
        let mut results = workers.into_iter().map(|worker| worker.join().expect("generation does not panic"));
        results.try_for_each(|result| result)
    })?;
    let logs = logs.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(logs.into_iter().map(|log| log.expect("every index was written")).collect())
}

const THREADS: usize = 2;
/// 2026-01-01: cases need some time in them, and the same seed has to give the same bytes.
const EPOCH_S: i64 = 1_767_225_600;

#[cfg(test)]
mod tests {
    use feldakte_core::{
        change::Change,
        ids::{CaseId, Part},
    };
    use uuid::Uuid;

    use super::*;
    use crate::load::workload::tests::script;

    fn spec(case: u128, steps: usize) -> CaseSpec {
        let document = DocumentId { case: CaseId(Uuid::from_u128(case)), part: Part::Clinical };
        CaseSpec { document, actor: ActorId([case as u8; 16]), script: script(), steps }
    }

    #[test]
    fn every_change_names_the_one_before_and_passes_admission() {
        let log = CaseLog::write(&spec(1, 4)).unwrap();
        assert_eq!(log.len(), 5);
        let parsed: Vec<Change> = log.changes.iter().map(|bytes| Change::parse(bytes.clone()).unwrap()).collect();
        for (index, change) in parsed.iter().enumerate() {
            assert_eq!(change.hash, log.hashes[index]);
            assert_eq!(change.deps, log.hashes[..index].last().copied().into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_same_cases_give_the_same_bytes_in_the_order_asked_for() {
        let specs: Vec<CaseSpec> = (1..20).map(|case| spec(case, 3)).collect();
        let logs = write_all(&specs, &ProgressBar::hidden()).unwrap();
        let again = write_all(&specs, &ProgressBar::hidden()).unwrap();
        for ((log, other), spec) in logs.iter().zip(&again).zip(&specs) {
            assert_eq!((log.document, log.len()), (spec.document, 4));
            assert_eq!(log.changes, other.changes);
        }
    }

    #[test]
    fn a_replica_that_loads_the_changes_has_the_heads() {
        let log = CaseLog::write(&spec(1, 4)).unwrap();
        let mut replica = Document::load(&log.changes.concat(), ActorId([9; 16])).unwrap();
        assert_eq!(replica.heads(), log.heads());
    }
}

//! Turns scripts into change bytes before a clock is started: the timed part only sends and compares.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use feldakte_core::{
    case,
    crdt::{CrdtError, Document, Stamp},
    ids::{ActorId, ChangeHash, DocumentId},
};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

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
            if let Some(change) = replica.edit(Stamp::at(time_s * 1000), |edits| step.apply(edits))? {
                log.changes.push(change.bytes);
                log.hashes.push(change.hash);
            }
        }
        Ok(log)
    }

    /// All but its last changes.
    pub fn beginning(&self, without: usize) -> Self {
        let at = self.changes.len().saturating_sub(without);
        self.between(0, at)
    }

    /// Its last changes.
    pub fn end(&self, count: usize) -> Self {
        let at = self.changes.len().saturating_sub(count);
        self.between(at, self.changes.len())
    }

    fn between(&self, from: usize, to: usize) -> Self {
        let (changes, hashes) = (self.changes[from..to].to_vec(), self.hashes[from..to].to_vec());
        Self { document: self.document, changes, hashes }
    }

    /// The same case as document `document` under another actor: the bytes it would have been written with.
    ///
    /// # Errors
    /// When a change is not as [`CaseLog::write`] makes it.
    fn rewritten(&self, from: ActorId, document: DocumentId, to: ActorId) -> Result<Self> {
        let mut log = Self { document, changes: vec![self.changes[0].clone()], hashes: vec![self.hashes[0]] };
        for (bytes, dep) in self.changes[1..].iter().zip(&self.hashes) {
            let new_dep = *log.hashes.last().expect("there is always a genesis");
            let (bytes, hash) = rewrite(bytes, (from, to), (*dep, new_dep))?;
            log.changes.push(bytes);
            log.hashes.push(hash);
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

/// Puts a change under another actor and after another change; checksum and hash follow.
fn rewrite(
    bytes: &[u8],
    (from, to): (ActorId, ActorId),
    (dep, new_dep): (ChangeHash, ChangeHash),
) -> Result<(Bytes, ChangeHash)> {
    let len_bytes = bytes.iter().skip(LENGTH_AT).take_while(|byte| **byte >= 0x80).count() + 1;
    let deps = LENGTH_AT + len_bytes;
    let (dep_at, actor_at) = (deps + 1, deps + 1 + HASH_LEN + 1);
    let expected = [&[1][..], &dep.0, &[16], &from.0].concat();
    let found = bytes.get(deps..deps + expected.len()).context("a change is too short")?;
    ensure!(found == expected, "a change does not name the one before it and its writer");
    let mut new = bytes.to_vec();
    new[dep_at..dep_at + HASH_LEN].copy_from_slice(&new_dep.0);
    new[actor_at..actor_at + to.0.len()].copy_from_slice(&to.0);
    let hash: [u8; HASH_LEN] = Sha256::digest(&new[HASHED_FROM..]).into();
    new[CHECKSUM_AT..HASHED_FROM].copy_from_slice(&hash[..4]);
    Ok((new.into(), ChangeHash(hash)))
}

/// Writes all cases; the order of `specs` is kept. What several devices write alike is written once, on one of two
/// threads, and then put under each one's actor.
///
/// # Errors
/// When a script does not fit.
pub fn write_all(specs: &[CaseSpec], progress: &ProgressBar) -> Result<Vec<Arc<CaseLog>>> {
    let mut originals: HashMap<(*const Script, usize), usize> = HashMap::new();
    let mut firsts: Vec<&CaseSpec> = Vec::new();
    for spec in specs {
        originals.entry((Arc::as_ptr(&spec.script), spec.steps)).or_insert_with(|| {
            firsts.push(spec);
            firsts.len() - 1
        });
    }
    let written = write_each(&firsts, progress)?;
    let log_of = |spec: &CaseSpec| {
        let original = originals[&(Arc::as_ptr(&spec.script), spec.steps)];
        progress.inc(1);
        written[original].rewritten(firsts[original].actor, spec.document, spec.actor).map(Arc::new)
    };
    specs.iter().map(log_of).collect()
}

fn write_each(specs: &[&CaseSpec], progress: &ProgressBar) -> Result<Vec<CaseLog>> {
    let next = AtomicUsize::new(0);
    let logs: Vec<OnceLock<CaseLog>> = specs.iter().map(|_| OnceLock::new()).collect();
    let write = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(index) else { return Ok(()) };
            let log = CaseLog::write(spec).with_context(|| format!("case {index} cannot be written"))?;
            logs[index].set(log).expect("every index is given out once");
            progress.tick();
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(write)).collect();
        let mut results = workers.into_iter().map(|worker| worker.join().expect("generation does not panic"));
        results.try_for_each(|result| result)
    })?;
    Ok(logs.into_iter().map(|log| log.into_inner().expect("every index was written")).collect())
}

// A change chunk: magic, checksum, type, length, then dependencies and actor.
const CHECKSUM_AT: usize = 4;
const HASHED_FROM: usize = 8;
const LENGTH_AT: usize = 9;
const HASH_LEN: usize = 32;

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
    fn cases_written_together_have_the_bytes_they_would_have_alone() {
        let shared = script();
        let with = |case| CaseSpec { script: shared.clone(), ..spec(case, 1 + case as usize % 4) };
        let specs: Vec<CaseSpec> = (1..20).map(with).collect();
        let logs = write_all(&specs, &ProgressBar::hidden()).unwrap();
        for (log, spec) in logs.iter().zip(&specs) {
            let alone = CaseLog::write(spec).unwrap();
            assert_eq!((log.document, log.len()), (spec.document, 1 + spec.steps));
            assert_eq!((&log.changes, &log.hashes), (&alone.changes, &alone.hashes));
        }
    }

    #[test]
    fn long_changes_are_rewritten_too() {
        let long = "x".repeat(20_000);
        let script = format!(
            "{{\"changes\":1}}\n{{\"c\":0,\"t\":0,\"ops\":[{{\"o\":\"mkmap\",\"k\":\"a\"}},\
             {{\"o\":\"put\",\"k\":\"a\",\"f\":\"b\",\"v\":\"{long}\"}}]}}"
        );
        let script = Arc::new(Script::parse(script.as_bytes()).unwrap());
        let specs = [1, 2].map(|case| CaseSpec { script: script.clone(), ..spec(case, 1) });
        let logs = write_all(&specs, &ProgressBar::hidden()).unwrap();
        assert_eq!(logs[1].changes, CaseLog::write(&specs[1]).unwrap().changes);
        assert!(logs[1].changes[1].len() > 20_000);
    }

    #[test]
    fn a_replica_that_loads_the_changes_has_the_heads() {
        let log = CaseLog::write(&spec(1, 4)).unwrap();
        let mut replica = Document::load(&log.changes.concat(), ActorId([9; 16])).unwrap();
        assert_eq!(replica.heads(), log.heads());
    }
}

//! The gateway's audit store in memory: it is the disk, not the process, and goes on after a crash.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use feldakte_core::audit::{Act, Chain, Checkpoint, Head, Record, Row};
use feldakte_gateway::store::{
    StoreError,
    audit::{AuditStore, Batch},
};
use tokio::sync::watch;

/// Rows that are durable as soon as they are added, unless a test wants otherwise.
#[derive(Debug)]
pub struct MemoryAuditStore {
    state: Mutex<BTreeMap<Chain, State>>,
    /// Commits fail: the disk is full.
    pub full: AtomicBool,
    /// The next commit is written, and its caller hears that nobody knows.
    pub lose_next_outcome: AtomicBool,
    /// Commits with such an act wait until there is another.
    pub held: watch::Sender<Option<Act>>,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<u64, Row>,
    checkpoints: Vec<Checkpoint>,
}

/// Nobody knows what became of the commit.
#[derive(Debug, thiserror::Error)]
#[error("the outcome is lost")]
struct Lost;

impl MemoryAuditStore {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            full: AtomicBool::new(false),
            lose_next_outcome: AtomicBool::new(false),
            held: watch::Sender::new(None),
            commits: AtomicU64::new(0),
        })
    }

    /// All records of a chain.
    pub fn records(&self, chain: &Chain) -> Vec<Record> {
        let state = self.state();
        let rows = state.get(chain).into_iter().flat_map(|state| state.rows.values());
        rows.map(|row| Record::decode(&row.record).expect("what the gateway wrote")).collect()
    }

    /// How many commits have succeeded.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<Chain, State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AuditStore for MemoryAuditStore {
    async fn chains(&self) -> Result<Vec<Chain>, StoreError> {
        Ok(self.state().keys().cloned().collect())
    }

    async fn head(&self, chain: &Chain) -> Result<Head, StoreError> {
        let state = self.state();
        let last = state.get(chain).and_then(|state| state.rows.values().next_back());
        Ok(last.map_or(Head::START, |row| Head { seq: row.seq, hash: row.hash }))
    }

    async fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let has =
            |held: Act| batch.rows.iter().any(|(_, row)| Record::decode(&row.record).is_ok_and(|it| it.act == held));
        let _ = self.held.subscribe().wait_for(|held| !held.is_some_and(has)).await;
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        let mut state = self.state();
        let is_there =
            |(chain, row): &(Chain, Row)| state.get(chain).is_some_and(|state| state.rows.contains_key(&row.seq));
        if batch.rows.iter().any(is_there) {
            return Err(StoreError::Unknown(Box::new(Lost)));
        }
        for (chain, row) in batch.rows.iter().cloned() {
            state.entry(chain).or_default().rows.insert(row.seq, row);
        }
        for checkpoint in batch.checkpoints.iter().cloned() {
            state.entry(checkpoint.chain.clone()).or_default().checkpoints.push(checkpoint);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        match self.lose_next_outcome.swap(false, Ordering::Relaxed) {
            true => Err(StoreError::Unknown(Box::new(Lost))),
            false => Ok(()),
        }
    }

    async fn rows(&self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Row>, StoreError> {
        let state = self.state();
        let rows = state.get(chain).into_iter().flat_map(|state| state.rows.range(after + 1..));
        Ok(rows.take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn checkpoints(&self, chain: &Chain) -> Result<Vec<Checkpoint>, StoreError> {
        let mut checkpoints = self.state().get(chain).map(|state| state.checkpoints.clone()).unwrap_or_default();
        checkpoints.sort_by_key(|checkpoint| checkpoint.head.seq);
        Ok(checkpoints)
    }

    async fn close(&self) {}
}

//! Ledgers of documents that are being written, under a byte budget.
//!
//! A ledger runs ahead of the disk by what waits in the sequencer. It may be forgotten only while nobody holds it:
//! then everything it knows is durable and can be read again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use feldakte_core::{
    admission::{Ledger, Refusal},
    ids::{DocumentId, TenantId},
};
use feldakte_proto::{DecodeError, decode_entry};
use tokio::sync::OnceCell;

use crate::{
    metrics::Metrics,
    store::{DocumentLog, SharedStore, StoreError},
};

/// The cache.
#[derive(Debug)]
pub struct Ledgers {
    cells: Mutex<HashMap<DocumentId, Arc<LedgerCell>>>,
    budget: usize,
    clock: AtomicU64,
}

/// One document's ledger, loaded or being loaded.
#[derive(Debug)]
pub struct LedgerCell {
    ledger: OnceCell<Mutex<Ledger>>,
    weight: AtomicUsize,
    used: AtomicU64,
}

/// A ledger that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored entry is not one.
    #[error("a stored entry does not decode")]
    Decode(#[from] DecodeError),
    /// A stored change is not one that admission would have let in.
    #[error("a stored change does not replay")]
    Replay(#[from] Refusal),
}

impl Ledgers {
    /// Keeps at most about `budget` bytes of ledgers that nobody is using.
    pub fn new(budget: usize) -> Self {
        Self { cells: Mutex::default(), budget, clock: AtomicU64::new(0) }
    }

    /// The document's ledger, read from the store when it is not in memory. A document nobody has written belongs
    /// to `tenant` from its first change on.
    pub async fn open(
        &self,
        store: &SharedStore,
        metrics: &Metrics,
        tenant: &TenantId,
        document: DocumentId,
    ) -> Result<Arc<LedgerCell>, LedgerError> {
        let cell = self.cell(document);
        cell.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        cell.ledger.get_or_try_init(|| load(store, metrics, tenant, document)).await?;
        Ok(cell)
    }

    /// The ledger of a document that somebody has written; `None` for any other, of which nothing is remembered.
    pub async fn open_known(
        &self,
        store: &SharedStore,
        metrics: &Metrics,
        document: DocumentId,
    ) -> Result<Option<Arc<LedgerCell>>, LedgerError> {
        let cell = self.lock().get(&document).cloned();
        if let Some(cell) = cell.filter(|cell| cell.ledger.initialized()) {
            let is_new = cell.with(|ledger| ledger.is_new());
            return Ok((!is_new).then_some(cell));
        }
        let Some(DocumentLog { tenant, .. }) = store.document(document).await? else { return Ok(None) };
        self.open(store, metrics, &tenant, document).await.map(Some)
    }

    /// Forgets a document that was shredded, whoever may still hold its ledger.
    pub fn forget(&self, document: DocumentId) {
        self.lock().remove(&document);
    }

    /// Forgets the least recently used ledgers when there are too many.
    pub fn trim(&self) {
        let mut cells = self.lock();
        let weight = |cell: &LedgerCell| cell.weight.load(Ordering::Relaxed);
        let mut total: usize = cells.values().map(|cell| weight(cell)).sum();
        if total <= self.budget {
            return;
        }
        // Held by the map alone: nothing of it waits in the sequencer.
        let mut idle: Vec<_> = cells
            .iter()
            .filter(|(_, cell)| Arc::strong_count(cell) == 1)
            .map(|(document, cell)| (cell.used.load(Ordering::Relaxed), *document))
            .collect();
        idle.sort_unstable();
        for (_, document) in idle {
            if total <= self.budget - self.budget / 8 {
                break;
            }
            total -= cells.remove(&document).map_or(0, |cell| weight(&cell));
        }
    }

    /// Bytes of all ledgers in memory.
    pub fn weight(&self) -> usize {
        self.lock().values().map(|cell| cell.weight.load(Ordering::Relaxed)).sum()
    }

    fn cell(&self, document: DocumentId) -> Arc<LedgerCell> {
        let new = || LedgerCell { ledger: OnceCell::new(), weight: AtomicUsize::new(0), used: AtomicU64::new(0) };
        self.lock().entry(document).or_insert_with(|| Arc::new(new())).clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentId, Arc<LedgerCell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LedgerCell {
    /// Works on the ledger; nothing may be awaited meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        let ledger = self.ledger.get().expect("open() hands out loaded cells only");
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut ledger);
        self.weight.store(ledger.weight(), Ordering::Relaxed);
        result
    }
}

async fn load(
    store: &SharedStore,
    metrics: &Metrics,
    tenant: &TenantId,
    document: DocumentId,
) -> Result<Mutex<Ledger>, LedgerError> {
    let Some(DocumentLog { tenant, entries }) = store.document(document).await? else {
        return Ok(Mutex::new(Ledger::new(tenant.clone(), document)));
    };
    metrics.ledger_loads.inc();
    let mut ledger = Ledger::new(tenant, document);
    for stored in entries {
        ledger.replay(&decode_entry(stored.encoded)?)?;
    }
    Ok(Mutex::new(ledger))
}

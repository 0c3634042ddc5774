//! Matters in memory: it is the disk, not the process, and goes on after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    change::Change,
    ids::{ChangeHash, DeviceId, DocumentId, TenantId},
};
use feldakte_gateway::store::{
    StoreError,
    matters::{Decision, KeptCall, Matter, MatterStore, Review, Wipe},
};
use feldakte_proto::decode_entry;
use uuid::Uuid;

/// Reviews and wipe orders, durable as soon as they are kept.
#[derive(Debug, Default)]
pub struct MemoryMatterStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reviews: BTreeMap<Uuid, Review>,
    wipes: BTreeMap<DeviceId, Wipe>,
    calls: BTreeMap<String, String>,
}

impl MemoryMatterStore {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Every change that is kept, and its document.
    pub fn evidence(&self) -> BTreeSet<(DocumentId, ChangeHash)> {
        let named = self.late_changes().into_iter().flat_map(|(document, changes)| {
            let changes = changes.into_iter().filter_map(|bytes| Change::parse(bytes).ok());
            changes.map(move |change| (document, change.hash))
        });
        named.collect()
    }

    /// The bytes of those changes, by document.
    pub fn late_changes(&self) -> BTreeMap<DocumentId, Vec<Bytes>> {
        let state = self.state();
        let kept = state.reviews.values().filter(|review| matches!(review.matter, Matter::Evidence { .. }));
        let mut by_document: BTreeMap<DocumentId, Vec<Bytes>> = BTreeMap::new();
        for entry in kept.filter_map(|review| decode_entry(review.content.clone()?).ok()) {
            by_document.entry(entry.document).or_default().extend(entry.changes);
        }
        by_document
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MatterStore for MemoryMatterStore {
    async fn keep(&self, review: &Review) -> Result<(), StoreError> {
        self.state().reviews.entry(review.id).or_insert_with(|| Review { decision: None, ..review.clone() });
        Ok(())
    }

    async fn review(&self, id: Uuid) -> Result<Option<Review>, StoreError> {
        Ok(self.state().reviews.get(&id).cloned())
    }

    async fn waiting(&self, log: Option<&TenantId>, limit: usize) -> Result<Vec<Review>, StoreError> {
        let state = self.state();
        let is_wanted = |review: &&Review| review.decision.is_none() && log.is_none_or(|log| *log == review.log);
        let mut waiting: Vec<Review> = state.reviews.values().filter(is_wanted).cloned().collect();
        waiting.sort_by_key(|review| (review.at_ms, review.id));
        waiting.truncate(limit);
        Ok(waiting)
    }

    async fn decide(&self, id: Uuid, decision: &Decision) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(review) = state.reviews.get_mut(&id).filter(|review| review.decision.is_none()) else {
            return Ok(false);
        };
        review.decision = Some(decision.clone());
        Ok(true)
    }

    async fn order_wipe(&self, wipe: &Wipe) -> Result<(), StoreError> {
        self.state().wipes.insert(wipe.device, *wipe);
        Ok(())
    }

    async fn wipe_of(&self, device: DeviceId) -> Result<Option<Wipe>, StoreError> {
        Ok(self.state().wipes.get(&device).copied())
    }

    async fn wipes(&self) -> Result<Vec<Wipe>, StoreError> {
        Ok(self.state().wipes.values().copied().collect())
    }

    async fn wiped(&self, device: DeviceId, order: Uuid, now_ms: i64) -> Result<bool, StoreError> {
        let mut state = self.state();
        let pending = |wipe: &&mut Wipe| wipe.order == order && wipe.done_ms.is_none();
        let Some(wipe) = state.wipes.get_mut(&device).filter(pending) else { return Ok(false) };
        wipe.done_ms = Some(now_ms);
        Ok(true)
    }

    async fn keep_calls(&self, changed: &[KeptCall]) -> Result<(), StoreError> {
        let mut state = self.state();
        for KeptCall { name, state: kept } in changed {
            match kept {
                Some(kept) => drop(state.calls.insert(name.clone(), kept.clone())),
                None => drop(state.calls.remove(name)),
            }
        }
        Ok(())
    }

    async fn calls(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state().calls.values().cloned().collect())
    }

    async fn close(&self) {}
}

//! Matters in memory: it is the disk, not the process, and goes on after a crash.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use feldakte_core::ids::{DeviceId, TenantId};
use feldakte_gateway::store::{
    StoreError,
    matters::{Decision, MatterStore, Review, Wipe},
};
use uuid::Uuid;

/// Reviews and wipe orders, durable as soon as they are kept.
#[derive(Debug, Default)]
pub struct MemoryMatterStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reviews: BTreeMap<Uuid, Review>,
    wipes: BTreeMap<DeviceId, Wipe>,
}

impl MemoryMatterStore {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
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

    async fn pending_wipes(&self) -> Result<Vec<Wipe>, StoreError> {
        Ok(self.state().wipes.values().filter(|wipe| wipe.done_ms.is_none()).copied().collect())
    }

    async fn wiped(&self, device: DeviceId, order: Uuid, now_ms: i64) -> Result<bool, StoreError> {
        let mut state = self.state();
        let pending = |wipe: &&mut Wipe| wipe.order == order && wipe.done_ms.is_none();
        let Some(wipe) = state.wipes.get_mut(&device).filter(pending) else { return Ok(false) };
        wipe.done_ms = Some(now_ms);
        Ok(true)
    }

    async fn close(&self) {}
}

//! Matters with their content sealed: what a supervisor is to decide on is content of a case.

use std::sync::Arc;

use async_trait::async_trait;
use feldakte_core::ids::{DeviceId, Position, TenantId};
use uuid::Uuid;

use super::{
    cipher::{Kind, Place, document_of},
    writing_key,
};
use crate::store::{
    StoreError,
    keyring::{Held, Keyring},
    matters::{Decision, KeptCall, MatterStore, Review, SharedMatterStore, Wipe},
};

/// Matters and the keys of what is in them.
pub struct SealedMatters {
    inner: SharedMatterStore,
    keyring: Arc<Keyring>,
}

impl SealedMatters {
    /// Seals what goes into `inner` with the keys of `keyring`.
    pub fn new(inner: SharedMatterStore, keyring: Arc<Keyring>) -> Arc<Self> {
        Arc::new(Self { inner, keyring })
    }

    async fn open(&self, mut review: Review) -> Result<Review, StoreError> {
        let Some(sealed) = &review.content else { return Ok(review) };
        if document_of(sealed)?.is_none() {
            return Ok(review);
        }
        review.content = match self.keyring.held(review.matter.case()).await? {
            Some(Held::Key(cipher)) => Some(cipher.open(place(&review), sealed)?),
            Some(Held::Shredded) => None,
            None => return Err(StoreError::Damaged("a case's key: the keyring does not have it")),
        };
        Ok(review)
    }
}

#[async_trait]
impl MatterStore for SealedMatters {
    async fn keep(&self, review: &Review) -> Result<(), StoreError> {
        let Some(content) = &review.content else { return self.inner.keep(review).await };
        let case = review.matter.case();
        let held = self.keyring.held_or_new([(case, &review.log)]).await?;
        let content = writing_key(held.get(&case))?.seal(place(review), content)?;
        self.inner.keep(&Review { content: Some(content), ..review.clone() }).await
    }

    async fn review(&self, id: Uuid) -> Result<Option<Review>, StoreError> {
        match self.inner.review(id).await? {
            Some(review) => self.open(review).await.map(Some),
            None => Ok(None),
        }
    }

    async fn waiting(&self, log: Option<&TenantId>, limit: usize) -> Result<Vec<Review>, StoreError> {
        let mut opened = Vec::new();
        for review in self.inner.waiting(log, limit).await? {
            opened.push(self.open(review).await?);
        }
        Ok(opened)
    }

    async fn decide(&self, id: Uuid, decision: &Decision) -> Result<bool, StoreError> {
        self.inner.decide(id, decision).await
    }

    async fn order_wipe(&self, wipe: &Wipe) -> Result<(), StoreError> {
        self.inner.order_wipe(wipe).await
    }

    async fn wipe_of(&self, device: DeviceId) -> Result<Option<Wipe>, StoreError> {
        self.inner.wipe_of(device).await
    }

    async fn wipes(&self) -> Result<Vec<Wipe>, StoreError> {
        self.inner.wipes().await
    }

    async fn wiped(&self, device: DeviceId, order: Uuid, now_ms: i64) -> Result<bool, StoreError> {
        self.inner.wiped(device, order, now_ms).await
    }

    /// The keyring is the log's, which closes it.
    async fn keep_calls(&self, changed: &[KeptCall]) -> Result<(), StoreError> {
        self.inner.keep_calls(changed).await
    }

    async fn calls(&self) -> Result<Vec<String>, StoreError> {
        self.inner.calls().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A review has no place in the log: its content is bound to the beginning of its id.
fn place(review: &Review) -> Place {
    let (number, _) = review.id.as_u64_pair();
    Place { kind: Kind::Review, document: review.matter.document(), position: Position(number) }
}

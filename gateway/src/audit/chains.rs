//! Where every chain ends, and when it is to be signed next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use feldakte_core::{
    audit::{Chain, Checkpoint, Head, Record},
    hex::hex,
    limits,
};
use tokio::time::Instant;
use tracing::info;

use super::AuditKey;
use crate::store::{
    StoreError,
    audit::{Batch, SharedAuditStore},
};

/// The chains as they are after the last commit that is known to have succeeded.
pub(super) struct Chains {
    key: Arc<AuditKey>,
    open: BTreeMap<Chain, Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    head: Head,
    /// The row under the last checkpoint.
    signed: u64,
    /// When the oldest row without one was written.
    unsigned_since: Option<Instant>,
}

/// A batch and where its chains end with it.
pub(super) struct Planned {
    pub batch: Batch,
    after: BTreeMap<Chain, Open>,
}

impl Chains {
    pub fn new(key: Arc<AuditKey>) -> Self {
        Self { key, open: BTreeMap::new() }
    }

    /// Gives each record its place. Chains of which no row is known yet are looked up.
    pub async fn plan(
        &mut self,
        store: &SharedAuditStore,
        records: &[Record],
        signing: Signing,
        when_ms: i64,
    ) -> Result<Planned, StoreError> {
        let touched: BTreeSet<&Chain> = records.iter().map(|record| &record.chain).collect();
        for chain in touched {
            if !self.open.contains_key(chain) {
                let open = open_chain(store, chain).await?;
                self.open.insert(chain.clone(), open);
            }
        }
        let (mut batch, mut after, now) = (Batch::default(), self.open.clone(), Instant::now());
        for record in records {
            let open = after.get_mut(&record.chain).expect("looked up above");
            let (row, head) = open.head.append(record);
            open.head = head;
            open.unsigned_since.get_or_insert(now);
            batch.rows.push((record.chain.clone(), row));
        }
        for (chain, open) in after.iter_mut().filter(|(_, open)| open.is_to_be_signed(signing, now)) {
            match self.key.sign(chain, open.head, when_ms) {
                Ok(checkpoint) => {
                    batch.checkpoints.push(checkpoint);
                    (open.signed, open.unsigned_since) = (open.head.seq, None);
                }
                // The rows stand without; the next batch tries again.
                Err(error) => tracing::error!(%error, %chain, "no audit checkpoint"),
            }
        }
        Ok(Planned { batch, after })
    }

    /// The batch is durable.
    pub fn advance(&mut self, planned: Planned) {
        let Planned { batch, after } = planned;
        self.open = after;
        for Checkpoint { chain, head, .. } in batch.checkpoints {
            // Written down elsewhere, this is what a shortened log can be told by.
            info!(%chain, row = head.seq, hash = %hex(&head.hash), "audit checkpoint");
        }
    }

    /// Whether a batch whose commit failed is durable all the same.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_durable(&self, store: &SharedAuditStore, planned: &Planned) -> Result<bool, StoreError> {
        let Some((chain, last)) = planned.batch.rows.last() else { return Ok(false) };
        Ok(store.head(chain).await?.seq >= last.seq)
    }

    /// When the next checkpoint is due for its age.
    pub fn due(&self) -> Option<Instant> {
        let since = self.open.values().filter_map(|open| open.unsigned_since).min()?;
        Some(since + limits::AUDIT_CHECKPOINT_WITHIN)
    }
}

/// Which chains are to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing {
    /// Those with many rows or old ones since their last checkpoint.
    Due,
    /// All that have grown since.
    All,
}

impl Open {
    fn is_to_be_signed(&self, signing: Signing, now: Instant) -> bool {
        let Some(since) = self.unsigned_since else { return false };
        signing == Signing::All
            || self.head.seq - self.signed >= limits::AUDIT_CHECKPOINT_ROWS
            || since + limits::AUDIT_CHECKPOINT_WITHIN <= now
    }
}

async fn open_chain(store: &SharedAuditStore, chain: &Chain) -> Result<Open, StoreError> {
    let head = store.head(chain).await?;
    let signed = store.checkpoints(chain).await?.last().map_or(0, |checkpoint| checkpoint.head.seq);
    if signed > head.seq {
        // What follows makes it no worse: the checkpoint will never match again, and a check names the first row.
        tracing::error!(%chain, row = head.seq, signed, "the audit log is shorter than it was: run `feldakte audit verify`");
    }
    let unsigned_since = (signed < head.seq).then(Instant::now);
    Ok(Open { head, signed: signed.min(head.seq), unsigned_since })
}

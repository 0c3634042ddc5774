//! Where audit rows are kept: they are added and read, never changed.
//!
//! The chain is worked out by [`crate::audit`]; a store keeps rows in order and gives them back as they are, also when
//! somebody has changed them behind its back: finding that is what the chain is for. Two implementations stand behind
//! this trait: [`sqlite`] and, in the tests, a memory; one conformance suite runs over both.

use std::sync::Arc;

use async_trait::async_trait;
use feldakte_core::audit::{Chain, Checkpoint, Head, Row};

use super::StoreError;

pub mod sqlite;

/// A shared audit store.
pub type SharedAuditStore = Arc<dyn AuditStore>;

/// Rows and checkpoints of all chains.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// All chains, by name.
    async fn chains(&self) -> Result<Vec<Chain>, StoreError>;

    /// The chain's last row; [`Head::START`] when it has none.
    async fn head(&self, chain: &Chain) -> Result<Head, StoreError>;

    /// Makes the batch durable in one commit.
    ///
    /// # Errors
    /// After [`StoreError::Full`] none of it is there. After any other the outcome is not known: ask for the heads
    /// before trying again, which opens the file anew.
    async fn append(&self, batch: &Batch) -> Result<(), StoreError>;

    /// At most `limit` rows of the chain after the row `after`, ascending.
    async fn rows(&self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// All checkpoints of the chain, by ascending row. There is one for many rows.
    async fn checkpoints(&self, chain: &Chain) -> Result<Vec<Checkpoint>, StoreError>;

    /// Lets go of files. Nothing may be called afterwards.
    async fn close(&self);
}

/// What one commit adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Rows, ascending in each chain.
    pub rows: Vec<(Chain, Row)>,
    /// Checkpoints over them or over rows before them.
    pub checkpoints: Vec<Checkpoint>,
}

impl Batch {
    /// Whether it adds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.checkpoints.is_empty()
    }
}

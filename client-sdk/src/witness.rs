//! For tests and audits: what this device was told about each change, by name and never by content.
//!
//! A harness that records these can later prove that nothing that was told saved or durable has been lost.

use feldakte_core::ids::{ChangeHash, DocumentId, Position};

/// A fact about one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeEvent {
    /// The document it belongs to.
    pub document: DocumentId,
    /// Its name.
    pub change: ChangeHash,
    /// What is known about it.
    pub fact: ChangeFact,
}

/// What is known about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeFact {
    /// Made and saved on this device.
    Saved,
    /// Made on this device, and durable at the gateway.
    Durable(Position),
    /// Read from the gateway's log, this device's own among others; as of that position it is durable there.
    Received(Position),
}

/// Implemented by the harness.
pub trait Witness: Send + Sync + 'static {
    /// Called after the commit that makes the fact true and before anybody else is told. Must not block: the whole
    /// device waits.
    fn on_change(&self, event: ChangeEvent);
}

//! What waits for somebody beside the log: work and emergency access for a supervisor, wipe orders for lost devices.
//!
//! What a call has taken is on the disk when it returns: a device forgets what it was told is kept. Two implementations
//! stand behind [`MatterStore`]: [`sqlite`] and, in the tests, a memory; [`super::sealed`] seals the content of either.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    access::{BreakGlassReason, Principal},
    ids::{CaseId, DeviceId, DocumentId, OperatorName, Part, TenantId},
};
use uuid::Uuid;

use super::StoreError;

pub mod sqlite;

/// A shared store of matters.
pub type SharedMatterStore = Arc<dyn MatterStore>;

/// Reviews and wipe orders.
#[async_trait]
pub trait MatterStore: Send + Sync + 'static {
    /// Keeps something for a supervisor. The same once more is nothing new.
    async fn keep(&self, review: &Review) -> Result<(), StoreError>;

    /// One of them.
    async fn review(&self, id: Uuid) -> Result<Option<Review>, StoreError>;

    /// What waits, oldest first, at most `limit` of them; in one tenant's log or in all.
    async fn waiting(&self, log: Option<&TenantId>, limit: usize) -> Result<Vec<Review>, StoreError>;

    /// Decides one, once: false when that has been done, or it is not there.
    async fn decide(&self, id: Uuid, decision: &Decision) -> Result<bool, StoreError>;

    /// Orders that a device destroys what it holds; an older order of the device is replaced.
    async fn order_wipe(&self, wipe: &Wipe) -> Result<(), StoreError>;

    /// The device's last order.
    async fn wipe_of(&self, device: DeviceId) -> Result<Option<Wipe>, StoreError>;

    /// The last order of every device that ever got one, carried out or not.
    async fn wipes(&self) -> Result<Vec<Wipe>, StoreError>;

    /// The device has carried out that order: false when that was known, or there is no such order.
    async fn wiped(&self, device: DeviceId, order: Uuid, now_ms: i64) -> Result<bool, StoreError>;

    /// Keeps things of calls by name, or forgets them: all of that or nothing.
    async fn keep_calls(&self, changed: &[KeptCall]) -> Result<(), StoreError>;

    /// All things of calls that are kept.
    async fn calls(&self) -> Result<Vec<String>, StoreError>;

    /// Lets go of files. Nothing may be called afterwards.
    async fn close(&self);
}

/// Something of calls, as [`crate::exchange`] names and writes it. No content of cases stands in it.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct KeptCall {
    /// Names it.
    pub name: String,
    /// How it stands; `None` to forget it.
    pub state: Option<String>,
}

/// Something that a supervisor decides.
#[derive(Clone, PartialEq, Eq)]
pub struct Review {
    /// Names it. The same matter has the same name, however often a device tells it.
    pub id: Uuid,
    /// Whose log the case is in.
    pub log: TenantId,
    /// Who did it.
    pub who: Principal,
    /// When, by the gateway's clock, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// What it is.
    pub matter: Matter,
    /// Evidence: an entry of the log that holds the changes alone. Emergency access: what the user wrote, which may hold
    /// names. Never printed, never logged. `None` when the case was shredded.
    pub content: Option<Bytes>,
    /// What came of it; `None` while it waits.
    pub decision: Option<Decision>,
}

/// What is to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// Changes of a device whose access had ended: merged into the case, or rejected.
    Evidence {
        /// Where they belong.
        document: DocumentId,
        /// How many there are.
        changes: u32,
    },
    /// A case was opened in an emergency: rightly or not.
    BreakGlass {
        /// Which.
        case: CaseId,
        /// Why.
        reason: BreakGlassReason,
        /// Until when, by the gateway's clock; `None` when it was without network, on what the device held.
        until_ms: Option<i64>,
    },
}

/// A supervisor's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which way.
    pub verdict: Verdict,
    /// Who.
    pub by: OperatorName,
    /// When, by the gateway's clock, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
}

/// Which way it was decided. Numbers are disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Merged; justified.
    Accepted = 1,
    /// Rejected; not justified.
    Rejected = 2,
}

/// An order to destroy what a lost device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wipe {
    /// Names it in the receipt.
    pub order: Uuid,
    /// Which device.
    pub device: DeviceId,
    /// When it was given, by the gateway's clock, milliseconds since 1970-01-01 UTC.
    pub ordered_ms: i64,
    /// When the device confirmed it.
    pub done_ms: Option<i64>,
}

impl Verdict {
    /// The verdict of that number.
    pub fn from_number(number: i64) -> Option<Verdict> {
        [Verdict::Accepted, Verdict::Rejected].into_iter().find(|verdict| *verdict as i64 == number)
    }
}

impl Matter {
    /// The case it is about.
    pub fn case(&self) -> CaseId {
        self.document().case
    }

    /// The document it is about; of emergency access to a whole case its first one.
    pub fn document(&self) -> DocumentId {
        match self {
            Matter::Evidence { document, .. } => *document,
            Matter::BreakGlass { case, .. } => DocumentId { case: *case, part: Part::Operations },
        }
    }
}

impl fmt::Debug for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, log, who, at_ms, matter, content: _, decision } = self;
        write!(f, "Review({id}, {log}, {}, {at_ms}, {matter:?}, {decision:?})", who.device)
    }
}

feldakte_core::hide_content! { KeptCall { name } }

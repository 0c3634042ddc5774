//! What every store of the gateway must do, one function per behaviour, through the trait alone.
//!
//! `for_each_store_behaviour!` names them all; the test file runs the list once per implementation.

use anyhow::Result;
use bytes::Bytes;
use feldakte_core::{
    access::{Access, Grant, PartSet, Subject},
    ids::{ActorId, CaseId, DeviceId, DocumentId, Part, Position, TenantId, UnitId},
    log::{Binding, Entry, Quarantine},
};
use feldakte_gateway::store::{Append, Changed, Reader, SharedStore, Store, Stored, StoredSnapshot};
use uuid::Uuid;

mod authority;
mod changes;
mod differential;
mod log;
mod snapshots;

pub use authority::*;
pub use changes::*;
pub use differential::{Operation, compare, operations};
pub use log::*;
pub use snapshots::*;

/// Calls the macro `$then` with the names of all behaviours.
#[macro_export]
macro_rules! for_each_store_behaviour {
    ($then:ident) => {
        $then! {
            an_empty_log_has_a_head_and_an_epoch
            positions_are_gap_free_and_independent_between_tenants
            a_batch_keeps_its_order
            concurrent_appends_are_all_there
            a_document_shows_all_its_entries
            entries_after_a_position_are_those_after_it
            a_document_of_another_tenant_is_never_appended_to
            reading_positions_leaves_out_what_is_not_there
            positions_of_documents_lie_in_the_range
            reopening_keeps_everything
            grants_reach_units_and_devices
            grants_end_and_begin_again
            an_entry_that_ends_and_begins_a_grant_leaves_it_valid
            the_same_unit_in_another_tenant_reads_nothing
            nothing_new_is_nothing_changed
            a_new_grant_is_a_change
            changes_are_counted_within_the_range
            an_end_is_told_once
            a_grant_ends_by_itself
            another_subject_keeps_a_document_readable
            a_new_grant_after_an_end_begins_there
            a_grant_beyond_the_range_is_not_told_yet
            changed_documents_come_by_their_last_position
            a_snapshot_is_what_was_put
            an_older_snapshot_replaces_nothing
            a_snapshot_needs_a_document
            documents_behind_their_log_are_unprojected
        }
    };
}

/// A store that can be opened again.
pub trait Fixture {
    /// The store.
    fn store(&self) -> SharedStore;

    /// Ends the process that had the store open and opens it again. What was acknowledged must be there.
    fn reopen(&mut self) -> impl Future<Output = Result<()>>;
}

/// When behaviours ask, unless they say otherwise.
const NOW: i64 = 1_000;

/// A tenant by name.
pub fn tenant(name: &str) -> TenantId {
    name.parse().expect("a slug")
}

/// A document of a case of that number.
pub fn document(number: u128) -> DocumentId {
    let part = Part::ALL[usize::try_from(number % 3).expect("below 3")];
    DocumentId { case: CaseId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + number)), part }
}

/// A unit as a subject.
pub fn unit(name: &str) -> Subject {
    Subject::Unit(unit_id(name))
}

/// A device as a subject.
pub fn device(number: u128) -> Subject {
    Subject::Device(DeviceId(Uuid::from_u128(number)))
}

fn unit_id(name: &str) -> UnitId {
    name.parse().expect("a slug")
}

/// A reader of tenant `dortmund`.
fn reader(subjects: &[Subject]) -> Reader {
    Reader { tenant: tenant("dortmund"), subjects: subjects.to_vec(), parts: PartSet::ALL }
}

/// An entry on its way into the log, put together step by step.
#[derive(Debug, Clone)]
pub struct Draft {
    tenant: TenantId,
    entry: Entry,
}

/// An entry of tenant `dortmund`.
pub fn about(document: DocumentId) -> Draft {
    Draft { tenant: tenant("dortmund"), entry: Entry::new(document) }
}

impl Draft {
    /// Makes it another tenant's.
    pub fn of(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Adds changes; a store does not look into them.
    pub fn changes(mut self, count: usize) -> Self {
        let next = self.entry.changes.len();
        self.entry.changes.extend((next..next + count).map(|n| Bytes::from(format!("change {n}"))));
        self
    }

    /// Adds one change of these bytes.
    pub fn change(mut self, bytes: &[u8]) -> Self {
        self.entry.changes.push(Bytes::copy_from_slice(bytes));
        self
    }

    /// Begins a grant.
    pub fn grant(mut self, subject: &Subject) -> Self {
        self.entry.grants.push(Grant::new(subject.clone(), Access::Write));
        self
    }

    /// Begins a grant that ends by itself.
    pub fn grant_until(mut self, subject: &Subject, until_ms: i64) -> Self {
        self.entry.grants.push(Grant { until: Some(until_ms), ..Grant::new(subject.clone(), Access::Read) });
        self
    }

    /// Ends a grant.
    pub fn revoke(mut self, subject: &Subject) -> Self {
        self.entry.revoked.push(subject.clone());
        self
    }

    /// What the store takes.
    pub fn append(self) -> Append {
        let Self { tenant, entry } = self;
        let encoded = feldakte_proto::encode_entry(&entry);
        Append { tenant, entry, encoded }
    }
}

/// Appends the drafts in one batch.
async fn append<const N: usize>(store: &dyn Store, drafts: [Draft; N]) -> Result<Vec<u64>> {
    let appends: Vec<_> = drafts.into_iter().map(Draft::append).collect();
    let positions = store.append(&appends).await?;
    Ok(positions.into_iter().map(|position| position.0).collect())
}

fn places(entries: &[Stored]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.0).collect()
}

fn change(document: DocumentId, created: u64, granted: u64, changes: u64) -> Changed {
    Changed { document, created: Position(created), granted: Position(granted), ended: None, until: None, changes }
}

fn snapshot(position: u64, chunks: &'static [u8]) -> StoredSnapshot {
    let (bindings, quarantined): (Vec<Binding>, Vec<Quarantine>) = (Vec::new(), Vec::new());
    StoredSnapshot { position: Position(position), chunks: Bytes::from_static(chunks), bindings, quarantined }
}

fn actor(number: u8) -> ActorId {
    ActorId([number; 16])
}

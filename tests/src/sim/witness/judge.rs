//! What the witness demands of entries: when they are committed, and when they reach a tablet.

use bytes::Bytes;
use feldakte_core::{
    case,
    change::Change,
    ids::{ChangeHash, DocumentId, Position, TenantId},
    log::{Binding, Entry},
};

use super::{Invariant, Suspect, Witness};
use crate::sim::authority::Span;

impl Witness {
    pub(super) fn note_entry(&self, tenant: &TenantId, position: Position, entry: &Entry) {
        let Entry { document, grants, revoked, bindings, quarantined, changes } = entry;
        let hashes: Vec<_> = changes.iter().filter_map(|bytes| Change::parse(bytes.clone()).ok()).collect();
        let hashes: Vec<_> = hashes.iter().map(|change| change.hash).collect();
        self.trace.note(format_args!(
            "log {tenant} {position}: {document} changes {hashes:?} +{} -{} bindings {} quarantined {}",
            grants.len(),
            revoked.len(),
            bindings.len(),
            quarantined.len()
        ));
    }

    /// An honest world has honest entries only.
    pub(super) fn judge_entry(&self, tenant: &TenantId, position: Position, entry: &Entry) {
        if !entry.quarantined.is_empty() {
            let what = format!("{} at {position}: an honest change is quarantined", entry.document);
            self.violate(Invariant::Converge, what);
        }
        for binding in &entry.bindings {
            if !self.is_true(tenant, entry.document, binding) {
                let what =
                    format!("{} at {position}: a binding names {}, who is not it", entry.document, binding.device);
                self.violate(Invariant::Authority, what);
            }
        }
    }

    /// Whether the actor is the one that this device makes for this document.
    pub(super) fn is_true(&self, tenant: &TenantId, document: DocumentId, binding: &Binding) -> bool {
        let suspect = self.tablets.iter().find(|tablet| tablet.principal.device == binding.device);
        suspect.is_some_and(|Suspect { principal, store }| {
            let actor = |generation| case::actor(principal.device, document, *store, generation);
            principal.tenant == *tenant
                && (&principal.unit, principal.role) == (&binding.unit, binding.role)
                && (0..GENERATIONS_MAX).any(|generation| actor(generation) == binding.actor)
        })
    }

    /// Whether the tablet may be shown something of the document that stands at `position`.
    pub(super) fn judge_sight(&self, tablet: usize, document: DocumentId, position: Option<Position>, what: &str) {
        let principal = &self.tablets[tablet].principal;
        let is_allowed = {
            let state = self.state();
            let dialled = state.devices[tablet].dialled;
            let truth = state.documents.get(&document);
            let truth = truth.filter(|truth| truth.tenant.as_ref() == Some(&principal.tenant));
            let spans =
                truth.map(|truth| truth.grants.spans(&principal.subjects_in(&principal.tenant))).unwrap_or_default();
            let in_force = spans.iter().any(|span| span.is_in_force_since(dialled));
            in_force && position.is_none_or(|position| spans.iter().any(|span: &Span| span.shows(position)))
        };
        if !is_allowed {
            let position = position.map_or_else(String::new, |position| format!(" at {position}"));
            let what = format!("tablet {tablet} was sent {what} of {document}{position} without a grant");
            self.violate(Invariant::Authority, what);
        }
    }

    pub(super) fn judge_content(
        &self,
        tablet: usize,
        document: DocumentId,
        position: Position,
        changes: &[(ChangeHash, Bytes)],
    ) {
        let is_same = {
            let state = self.state();
            let logged = state.documents.get(&document).and_then(|truth| truth.at.get(&position));
            logged.is_some_and(|hashes| hashes.iter().eq(changes.iter().map(|(hash, _)| hash)))
        };
        if !is_same {
            let what = format!("tablet {tablet} was sent {document} at {position} other than it is in the log");
            self.violate(Invariant::Durable, what);
        }
    }
}

/// Actors a device can have used in one document: one more after each refusal.
const GENERATIONS_MAX: u32 = 64;

//! What is true in a run: the log as commits returned, and what each tablet has been told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use feldakte_core::{
    access::{Grant, Subject},
    change::Change,
    ids::{ChangeHash, DocumentId, Position, TenantId},
    log::{Binding, Entry},
};

use super::Violation;
use crate::sim::authority::{GrantHistory, Moment};

#[derive(Default)]
pub(super) struct State {
    pub(super) violation: Option<Violation>,
    pub(super) logs: BTreeMap<TenantId, BTreeMap<Position, Committed>>,
    pub(super) documents: BTreeMap<DocumentId, DocumentTruth>,
    pub(super) told_durable: BTreeMap<(DocumentId, ChangeHash), usize>,
    pub(super) told_authority: Vec<AuthorityPromise>,
    pub(super) devices: Vec<DeviceTruth>,
}

pub(super) struct Committed {
    pub(super) at: Duration,
    pub(super) document: DocumentId,
}

/// One document as the log has it.
#[derive(Default)]
pub(in crate::sim) struct DocumentTruth {
    pub(super) tenant: Option<TenantId>,
    pub(super) grants: GrantHistory,
    pub(in crate::sim) hashes: BTreeSet<ChangeHash>,
    pub(in crate::sim) changes: Vec<Bytes>,
    pub(in crate::sim) bindings: Vec<Binding>,
    pub(super) at: BTreeMap<Position, Vec<ChangeHash>>,
}

/// What a tablet has been told and has told.
#[derive(Default)]
pub(super) struct DeviceTruth {
    pub(super) dialled: Duration,
    /// Own changes that its store has acknowledged.
    pub(super) saved: BTreeSet<(DocumentId, ChangeHash)>,
    /// Those of them that were refused and done again in others.
    pub(super) replaced: BTreeSet<(DocumentId, ChangeHash)>,
    /// Entries whose save the app was told.
    pub(super) tokens: BTreeSet<String>,
    /// Entries of saves that failed as a whole.
    pub(super) denied: BTreeSet<String>,
}

/// A grant or revocation that the gateway called durable.
#[derive(Debug, Clone)]
pub struct AuthorityPromise {
    /// The document.
    pub document: DocumentId,
    /// Where it stands.
    pub position: Position,
    /// What began.
    pub grants: Vec<Grant>,
    /// What ended.
    pub revoked: Vec<Subject>,
}

impl State {
    pub(super) fn record(&mut self, tenant: &TenantId, moment: Moment, entry: &Entry) {
        let Moment { position, at } = moment;
        let log = self.logs.entry(tenant.clone()).or_default();
        log.insert(position, Committed { at, document: entry.document });
        let truth = self.documents.entry(entry.document).or_default();
        truth.tenant.get_or_insert_with(|| tenant.clone());
        truth.grants.record(moment, entry);
        let parsed: Vec<_> = entry.changes.iter().filter_map(|bytes| Change::parse(bytes.clone()).ok()).collect();
        let hashes: Vec<_> = parsed.iter().map(|change| change.hash).collect();
        truth.hashes.extend(hashes.iter().copied());
        truth.changes.extend(entry.changes.iter().cloned());
        truth.bindings.extend(entry.bindings.iter().cloned());
        truth.at.insert(position, hashes);
    }

    pub(super) fn first_broken_promise(&self) -> Option<String> {
        let is_stored = |document: &DocumentId, hash: &ChangeHash| {
            self.documents.get(document).is_some_and(|truth| truth.hashes.contains(hash))
        };
        let lost = self.told_durable.iter().find(|((document, hash), _)| !is_stored(document, hash));
        if let Some(((document, hash), tablet)) = lost {
            return Some(format!("tablet {tablet} was told {hash:?} of {document} is durable, and it is gone"));
        }
        let lost = self.told_authority.iter().find(|promise| !self.has_authority(promise));
        lost.map(|promise| format!("authority over {} at {} is gone", promise.document, promise.position))
    }

    pub(super) fn has_authority(&self, promise: &AuthorityPromise) -> bool {
        let AuthorityPromise { document, position, grants, revoked } = promise;
        let Some(truth) = self.documents.get(document) else { return false };
        let tenant = truth.tenant.as_ref().and_then(|tenant| self.logs.get(tenant));
        let is_there = tenant.and_then(|log| log.get(position)).is_some_and(|entry| entry.document == *document);
        is_there && truth.grants.has(*position, grants, revoked)
    }
}

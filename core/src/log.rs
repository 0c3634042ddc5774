//! One entry of a tenant's log: what became durable about one document at one position.
//!
//! Grants and actor bindings are part of the log, so a reader that resumes from its cursor misses none of them.

use bytes::Bytes;

use crate::{
    access::{Grant, Principal, Role, Subject},
    ids::{ActorId, DeviceId, DocumentId, Position, TenantId, UnitId, UserId},
};

/// What happened to one document. Stored once, sent to every reader as it was stored.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The document it is about.
    pub document: DocumentId,
    /// Grants that begin here.
    pub grants: Vec<Grant>,
    /// Subjects whose grants end here.
    pub revoked: Vec<Subject>,
    /// Actors that wrote for the first time.
    pub bindings: Vec<Binding>,
    /// Changes the projector could not apply: kept, marked, and not to be applied by readers either.
    pub quarantined: Vec<Quarantine>,
    /// Automerge changes, uncompressed chunks, in an order that satisfies their dependencies.
    pub changes: Vec<Bytes>,
}

crate::hide_content! { Entry { document, grants, revoked, quarantined } }

impl Entry {
    /// An entry about `document` in which nothing has happened yet.
    pub fn new(document: DocumentId) -> Self {
        let (grants, revoked, bindings, quarantined) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { document, grants, revoked, bindings, quarantined, changes: Vec::new() }
    }
}

/// Which certified device and user an automerge actor belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The actor inside changes.
    pub actor: ActorId,
    /// The device whose certificate the gateway saw.
    pub device: DeviceId,
    /// Its tenant, when that is not the log's own: a guest's.
    pub home: Option<TenantId>,
    /// Its unit at that time.
    pub unit: UnitId,
    /// As what it acted: the user's role, else the device's.
    pub role: Role,
    /// Who used it, when somebody had proved himself.
    pub user: Option<UserId>,
}

impl Binding {
    /// What the gateway certifies of `principal` in the log of `log`.
    pub fn of(principal: &Principal, log: &TenantId, actor: ActorId) -> Self {
        let Principal { tenant, unit, device, role, user } = principal;
        let home = (tenant != log).then(|| tenant.clone());
        Self { actor, device: *device, home, unit: unit.clone(), role: *role, user: *user }
    }

    /// Whether the same speaks as when the actor was bound. Unit and role may have changed since.
    pub fn is_of(&self, principal: &Principal, log: &TenantId) -> bool {
        let home = self.home.as_ref().unwrap_or(log);
        self.device == principal.device && self.user == principal.user && *home == principal.tenant
    }
}

/// A durable change that must not be applied, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quarantine {
    /// The change.
    pub change: crate::ids::ChangeHash,
    /// What the projector saw.
    pub reason: QuarantineReason,
}

/// Why a change is quarantined. Numbers are wire and disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuarantineReason {
    /// Applying it panicked.
    Panicked = 1,
    /// The library refused it.
    Rejected = 2,
    /// The document would nest deeper than [`crate::limits::DEPTH_MAX`].
    TooDeep = 3,
}

impl QuarantineReason {
    /// The reason of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Panicked, Self::Rejected, Self::TooDeep].into_iter().find(|reason| *reason as u32 == number)
    }
}

/// An entry and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positioned {
    /// Where it stands in the tenant's log.
    pub position: Position,
    /// What stands there.
    pub entry: Entry,
}

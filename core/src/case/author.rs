//! Who really wrote: the gateway's bindings give the actors inside a document their certified device and role.

use std::collections::BTreeMap;

use crate::{
    access::{Principal, Role},
    crdt::Origin,
    ids::{ActorId, DeviceId, TenantId, UnitId, UserId},
    log::Binding,
};

/// A certified author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
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

/// The authors of a document by actor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authors(BTreeMap<ActorId, Author>);

/// Where a value comes from, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Actor, change, device time and clock offset, as the writer wrote them.
    pub origin: Origin,
    /// Who that is; `None` until the gateway has certified it.
    pub author: Option<Author>,
}

impl Authors {
    /// From the log's bindings.
    pub fn of<'a>(bindings: impl IntoIterator<Item = &'a Binding>) -> Self {
        let mut authors = Self::default();
        bindings.into_iter().for_each(|binding| authors.add(binding));
        authors
    }

    /// Adds a binding. The first one of an actor stays: the gateway never gives an actor to somebody else.
    pub fn add(&mut self, Binding { actor, device, home, unit, role, user }: &Binding) {
        let author = || Author { device: *device, home: home.clone(), unit: unit.clone(), role: *role, user: *user };
        self.0.entry(*actor).or_insert_with(author);
    }

    /// What this device writes is its own before the gateway says so.
    pub fn add_own(&mut self, actor: ActorId, principal: &Principal, log: &TenantId) {
        self.add(&Binding::of(principal, log, actor));
    }

    /// The author of that actor.
    pub fn of_actor(&self, actor: ActorId) -> Option<&Author> {
        self.0.get(&actor)
    }

    /// Whose that is.
    pub fn provenance(&self, origin: Origin) -> Provenance {
        Provenance { origin, author: self.0.get(&origin.actor).cloned() }
    }
}

/// Whether the role may give orders (DOMAIN, rule 2).
pub fn may_order(role: Role) -> bool {
    matches!(role, Role::TelePhysician | Role::EmergencyPhysician)
}

//! Who may do what on a document. Authority is a value: only this module makes a [`Permit`].
//!
//! A permit needs two things: a grant on the document, and a role that may do so much at all ([`policy`]). Admission
//! decides by permits; the gateway's fetches take a permit of their own kind, so that a forgotten check does not
//! compile. A catch-up sends what a query by grants has found, and is planned anew when a grant ends.

use crate::ids::{DeviceId, DocumentId, Part, TenantId, UnitId, UserId};

mod emergency;
pub mod policy;
mod role;
mod sharing;

pub use emergency::BreakGlassReason;
pub use policy::{Ceiling, PartSet, Policy};
pub use role::Role;
pub use sharing::TakesAway;

/// Who speaks: what the device's certificate proves, and the user who has proved himself on the device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant the device belongs to.
    pub tenant: TenantId,
    /// The unit whose grants the device shares.
    pub unit: UnitId,
    /// The device itself.
    pub device: DeviceId,
    /// As what it acts: the user's role, else the device's own.
    pub role: Role,
    /// Who uses it.
    pub user: Option<UserId>,
}

impl Principal {
    /// The subjects whose grants this principal may use in the log of `tenant`: in a foreign one only what was shared
    /// with its unit by name.
    pub fn subjects_in(&self, tenant: &TenantId) -> Vec<Subject> {
        if self.tenant != *tenant {
            return vec![Subject::Guest { tenant: self.tenant.clone(), unit: self.unit.clone() }];
        }
        let own = [Subject::Unit(self.unit.clone()), Subject::Device(self.device)];
        own.into_iter().chain(self.user.map(Subject::User)).collect()
    }

    fn holds(&self, tenant: &TenantId, subject: &Subject) -> bool {
        let is_home = self.tenant == *tenant;
        match subject {
            Subject::Unit(unit) => is_home && *unit == self.unit,
            Subject::Device(device) => is_home && *device == self.device,
            Subject::User(user) => is_home && Some(*user) == self.user,
            Subject::Guest { tenant, unit } => !is_home && *tenant == self.tenant && *unit == self.unit,
        }
    }
}

/// Whom a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Every device of a unit.
    Unit(UnitId),
    /// One device.
    Device(DeviceId),
    /// One user, on every device of the tenant.
    User(UserId),
    /// Every device of a unit of another tenant: a share of one case.
    Guest {
        /// The other tenant.
        tenant: TenantId,
        /// Its unit.
        unit: UnitId,
    },
}

/// What a grant allows. `Write` includes `Read`; numbers are wire and disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// May receive the document's changes.
    Read = 1,
    /// May also append changes.
    Write = 2,
}

impl Access {
    /// The access of that number.
    pub fn from_number(number: u32) -> Option<Access> {
        [Access::Read, Access::Write].into_iter().find(|access| *access as u32 == number)
    }
}

/// One row of authority: `subject` has `access` on the document the grant is stored with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// For whom.
    pub subject: Subject,
    /// What.
    pub access: Access,
    /// Until when by the gateway's clock, milliseconds since 1970-01-01 UTC; `None` until somebody ends it.
    pub until: Option<i64>,
}

impl Grant {
    /// A grant without an end of its own.
    pub fn new(subject: Subject, access: Access) -> Self {
        Self { subject, access, until: None }
    }

    /// Whether it is valid at that moment.
    pub fn covers(&self, now_ms: i64) -> bool {
        self.until.is_none_or(|until| now_ms < until)
    }
}

/// Proof that a check of the document's grants allowed `access` at the moment it was made.
///
/// It is deliberately neither `Clone` nor constructible elsewhere: take it, use it, drop it.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    document: DocumentId,
    access: Access,
    until: Option<i64>,
}

impl Permit {
    /// The document it is for.
    pub fn document(&self) -> DocumentId {
        self.document
    }

    /// Whether writing is allowed as well.
    pub fn may_write(&self) -> bool {
        self.access == Access::Write
    }
}

/// What a check stands on besides who asks.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What each role may do at all.
    pub policy: &'a Policy,
    /// The tenant in whose log the session is: documents of others are none of its business.
    pub log: &'a TenantId,
    /// The gateway's clock, milliseconds since 1970-01-01 UTC.
    pub now_ms: i64,
}

/// What `principal` may do on `document` under these grants; `None` is nothing at all.
///
/// `tenant` is the one the document is stored under. A grant never reaches further than the principal's role.
pub fn decide(
    rules: Rules<'_>,
    principal: &Principal,
    tenant: &TenantId,
    document: DocumentId,
    grants: &[Grant],
) -> Option<Permit> {
    if tenant != rules.log {
        return None;
    }
    let valid = grants.iter().filter(|grant| grant.covers(rules.now_ms) && principal.holds(tenant, &grant.subject));
    let granted = valid.clone().map(|grant| grant.access).max()?;
    let lasting = valid.filter(|grant| grant.access == granted).map(|grant| grant.until.unwrap_or(i64::MAX)).max()?;
    let access = rules.policy.ceiling(principal.role, document.part).limit(granted)?;
    Some(Permit { document, access, until: (lasting < i64::MAX).then_some(lasting) })
}

/// The grants of a document that `principal` opens by its first change; `None` when its role may not, or the log is not
/// its own tenant's.
pub fn opening_grants(rules: Rules<'_>, principal: &Principal, part: Part) -> Option<Vec<Grant>> {
    let may = principal.tenant == *rules.log && rules.policy.may_create(principal.role, part);
    may.then(|| vec![Grant::new(Subject::Unit(principal.unit.clone()), Access::Write)])
}

#[cfg(test)]
mod tests;

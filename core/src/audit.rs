//! The audit log: who did what to which record, in one chain of hashes per tenant.
//!
//! A record holds ids, counts and words from closed sets. There is no field that free text, a name or content would fit
//! into, so none can be put there by mistake.

use std::fmt;

use crate::{
    access::{Principal, Subject},
    call::Party,
    ids::{CaseId, DeviceId, DocumentId, IdError, OperatorName, Position, SessionId, TenantId, UnitId, UserId},
};

mod act;
mod chain;
mod checkpoint;
mod codec;
mod reason;
mod verify;

#[cfg(test)]
mod tests;

pub use self::{
    act::Act,
    chain::{Head, Row},
    checkpoint::Checkpoint,
    codec::RecordError,
    reason::Reason,
    verify::{Fault, Verifier, Whole, verify},
};

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Whose chain it stands in.
    pub chain: Chain,
    /// When the gateway learned of it, milliseconds since 1970 by its own clock. Says nothing about order.
    pub when_ms: i64,
    /// Who did it.
    pub who: Actor,
    /// What was done.
    pub act: Act,
    /// To what.
    pub about: About,
    /// How often, when several of one kind were put together; else 1.
    pub count: u64,
    /// Which part of the tenant's log it concerns.
    pub positions: Option<Span>,
    /// Why.
    pub reason: Option<Reason>,
    /// When a device says that it happened: set for what was done offline and told later.
    pub claimed_ms: Option<i64>,
}

/// A chain of records: each tenant has one, and one is about the gateway as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// Start and stop, and whoever knocked without saying for whom.
    Gateway,
    /// What concerns one tenant.
    Tenant(TenantId),
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// The gateway by itself.
    Gateway,
    /// A certified device, and who had signed in on it.
    Device {
        /// The device its certificate names.
        device: DeviceId,
        /// The pseudonym of the user; `None` when nobody had signed in.
        user: Option<UserId>,
    },
    /// Somebody at the command line.
    Operator(OperatorName),
    /// A peer whose certificate proved nothing.
    Unknown,
}

/// What an act is about. Every field is optional; [`About::case`] is set with [`About::document`] as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct About {
    /// The case.
    pub case: Option<CaseId>,
    /// One of its documents.
    pub document: Option<DocumentId>,
    /// A device, when it is not the one that acts.
    pub device: Option<DeviceId>,
    /// A unit: whose device, or for whom a grant is.
    pub unit: Option<UnitId>,
    /// A user, when it is not the one that acts.
    pub user: Option<UserId>,
    /// The session in which it happened.
    pub session: Option<SessionId>,
    /// Another tenant: with whom a case is shared, or from where a guest comes.
    pub tenant: Option<TenantId>,
    /// An operator, when it is not the one that acts.
    pub operator: Option<OperatorName>,
}

/// A part of a tenant's log, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first position.
    pub first: Position,
    /// The last one.
    pub last: Position,
}

impl Record {
    /// An act that happened once and is about nothing yet; `Audit` of the gateway says when.
    pub fn new(chain: Chain, who: Actor, act: Act) -> Self {
        let (when_ms, count, about) = (0, 1, About::default());
        Self { chain, when_ms, who, act, about, count, positions: None, reason: None, claimed_ms: None }
    }

    /// The same about something.
    pub fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    /// The same for a reason.
    pub fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// The same concerning a part of the log.
    pub fn at(self, span: Span) -> Self {
        Self { positions: Some(span), ..self }
    }
}

impl Actor {
    /// The device and user of a party of a call.
    pub fn of_party(party: &Party) -> Self {
        Actor::Device { device: party.device, user: party.user }
    }

    /// The device and user of a session.
    pub fn of(principal: &Principal) -> Self {
        Actor::Device { device: principal.device, user: principal.user }
    }
}

impl About {
    /// A document and its case.
    pub fn document(document: DocumentId) -> Self {
        Self { case: Some(document.case), document: Some(document), ..Self::default() }
    }

    /// A case.
    pub fn case(case: CaseId) -> Self {
        Self { case: Some(case), ..Self::default() }
    }

    /// A device.
    pub fn device(device: DeviceId) -> Self {
        Self { device: Some(device), ..Self::default() }
    }

    /// A document and whom a grant on it is for.
    pub fn grant(document: DocumentId, subject: &Subject) -> Self {
        let about = Self::document(document);
        match subject {
            Subject::Unit(unit) => Self { unit: Some(unit.clone()), ..about },
            Subject::Device(device) => Self { device: Some(*device), ..about },
            Subject::User(user) => Self { user: Some(*user), ..about },
            Subject::Guest { tenant, unit } => Self { tenant: Some(tenant.clone()), unit: Some(unit.clone()), ..about },
        }
    }

    /// The same in a session.
    pub fn in_session(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }
}

impl Span {
    /// One position.
    pub fn of(position: Position) -> Self {
        Self { first: position, last: position }
    }

    /// The smallest part that holds both.
    pub fn with(self, other: Span) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl Chain {
    /// The tenant's name; empty, which no tenant is called, for the gateway's own chain. Stands on the disk.
    pub fn name(&self) -> &str {
        match self {
            Chain::Gateway => "",
            Chain::Tenant(tenant) => tenant.as_str(),
        }
    }

    /// The chain of that name.
    ///
    /// # Errors
    /// When it is no tenant's.
    pub fn from_name(name: &str) -> Result<Self, IdError> {
        match name {
            "" => Ok(Chain::Gateway),
            name => name.parse().map(Chain::Tenant),
        }
    }
}

impl From<TenantId> for Chain {
    fn from(tenant: TenantId) -> Self {
        Chain::Tenant(tenant)
    }
}

/// For people; no tenant is called `(gateway)`.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chain::Gateway => f.write_str("(gateway)"),
            Chain::Tenant(tenant) => tenant.fmt(f),
        }
    }
}

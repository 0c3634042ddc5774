//! Where calls of a tenant go, and how long for: what an operator configures.

use super::{Centre, Phone};
use crate::ids::TenantId;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One per tenant whose crews may call.
    pub routes: Vec<Route>,
    /// How long a group is rung, in milliseconds.
    pub ring_for_ms: i64,
    /// How long a call waits for a physician in all, in milliseconds, before dispatch is next.
    pub wait_for_ms: i64,
    /// How long a party that cannot be reached is waited for, in milliseconds.
    pub grace_ms: i64,
}

/// Where calls of one tenant go, in order; after the last one dispatch is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose crews.
    pub tenant: TenantId,
    /// In the order in which they are rung. Those of other tenants are partners.
    pub groups: Vec<Group>,
    /// The telephone of dispatch.
    pub dispatch: Option<Phone>,
}

/// Desks that are rung together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their tele-centre.
    pub centre: Centre,
    /// Its telephone.
    pub phone: Option<Phone>,
}

impl Plan {
    /// With nobody to ring anywhere: times are those of a first installation.
    pub fn empty() -> Self {
        Self { routes: Vec::new(), ring_for_ms: RING_FOR_MS, wait_for_ms: WAIT_FOR_MS, grace_ms: GRACE_MS }
    }

    /// Where calls of that tenant go.
    pub fn route(&self, tenant: &TenantId) -> Option<&Route> {
        self.routes.iter().find(|route| route.tenant == *tenant)
    }

    /// The telephone of a tele-centre, whichever route names it.
    pub fn phone_of(&self, centre: &Centre) -> Option<&Phone> {
        let mut groups = self.routes.iter().flat_map(|route| &route.groups);
        groups.find(|group| group.centre == *centre).and_then(|group| group.phone.as_ref())
    }
}

/// See [`Plan::ring_for_ms`].
const RING_FOR_MS: i64 = 20_000;
/// See [`Plan::wait_for_ms`]: three groups that are rung in turn, and as long again.
const WAIT_FOR_MS: i64 = 120_000;
/// See [`Plan::grace_ms`]: gaps on the road last 5 to 60 s (DOMAIN, network profile R).
const GRACE_MS: i64 = 60_000;

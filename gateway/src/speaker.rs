//! Who speaks in a session: the device of the certificate, the user who has signed in on it, and those whose unsent work it
//! delivers.
//!
//! All of it is decided once, by the device's `Hello`: another user is another session.

use feldakte_core::{
    access::{Principal, Rules},
    ids::{TenantId, UserId},
};
use feldakte_proto::{Hello, SignInRefusal, SignedIn};

use crate::{gateway::Shared, store::Reader};

/// Everybody in whose name a session may act.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// The device and its active user: whose grants count.
    pub principal: Principal,
    /// The tenant whose log the session reads and writes.
    pub log: TenantId,
    /// What the device is told about its credentials.
    pub active: Option<SignedIn>,
    /// The same about those whose work it delivers.
    pub delivers: Vec<SignedIn>,
}

impl Speaker {
    /// Judges the credentials of a `Hello` from the device that the certificate names.
    pub fn of(device: Principal, hello: &Hello) -> Self {
        let log = hello.tenant.clone().unwrap_or_else(|| device.tenant.clone());
        let refused = SignedIn::Refused(SignInRefusal::NotTrusted);
        let active = hello.active.as_ref().map(|_| refused.clone());
        let delivers = hello.delivers.iter().map(|_| refused.clone()).collect();
        Self { principal: device, log, active, delivers }
    }

    /// In whose name a push is made; `None` when that user has not signed in with this session.
    pub fn author(&self, user: Option<UserId>) -> Option<Principal> {
        let Some(user) = user else { return Some(self.principal.clone()) };
        if self.principal.user == Some(user) {
            return Some(self.principal.clone());
        }
        self.delivers.iter().find_map(|signed_in| match signed_in {
            SignedIn::As { user: known, role, .. } if *known == user => {
                Some(Principal { user: Some(user), role: *role, ..self.principal.clone() })
            }
            _ => None,
        })
    }

    /// What the session may read.
    pub fn reader(&self, shared: &Shared) -> Reader {
        Reader {
            tenant: self.log.clone(),
            subjects: self.principal.subjects_in(&self.log),
            parts: shared.policy.readable(self.principal.role),
        }
    }

    /// What a check at this moment stands on.
    pub fn rules<'a>(&'a self, shared: &'a Shared) -> Rules<'a> {
        Rules { policy: &shared.policy, log: &self.log, now_ms: shared.environment.now_ms() }
    }
}

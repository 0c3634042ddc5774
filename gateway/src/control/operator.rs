//! Who asks: an operator with a token, or the user the gateway runs as.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{header::AUTHORIZATION, request::Parts},
};
use feldakte_core::{
    hex::hex,
    ids::{OperatorName, TenantId},
};

use super::{Control, ControlError, socket::Peer};
use crate::store::registry::{Operator, OperatorRole, TokenHash};

/// What an operator proves himself with: shown once, kept by nobody but him.
#[derive(Clone)]
pub struct Token(String);

/// A text that is no token. Never contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token must be `{PREFIX}` and 64 hexadecimal digits, as `feldakte operator add` prints it")]
pub struct TokenError;

/// An operator whose token is good. Extract it, then ask it for the role that the act needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised(pub Operator);

/// The user the gateway runs as, or root: may name operators.
#[derive(Debug, Clone, Copy)]
pub struct Owner;

impl Authorised {
    /// His name, for the audit log.
    pub fn name(&self) -> &OperatorName {
        &self.0.name
    }

    /// The tenant whose affairs alone he may see; everybody's when `None`.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.0.tenant.as_ref()
    }

    /// Demands a role.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`].
    pub fn require(&self, role: OperatorRole) -> Result<(), ControlError> {
        let needs = match role {
            OperatorRole::Operator => "this needs the role `operator`",
            OperatorRole::Auditor => "this needs the role `auditor`",
            OperatorRole::Supervisor => "this needs the role `supervisor`",
        };
        self.0.roles.contains(role).then_some(()).ok_or(ControlError::Forbidden(needs))
    }

    /// Demands a role in the affairs of a tenant.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`].
    pub fn require_in(&self, role: OperatorRole, tenant: &TenantId) -> Result<(), ControlError> {
        self.require(role)?;
        let is_bound_elsewhere = self.tenant().is_some_and(|own| own != tenant);
        match is_bound_elsewhere {
            true => Err(ControlError::Forbidden("this operator may not touch the affairs of that tenant")),
            false => Ok(()),
        }
    }

    /// The tenant that a list is about: the one asked for, else his own, else all.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] when he asks for another than his own.
    pub fn scope<'a>(&'a self, asked: Option<&'a TenantId>) -> Result<Option<&'a TenantId>, ControlError> {
        match (self.tenant(), asked) {
            (Some(own), Some(asked)) if own != asked => {
                Err(ControlError::Forbidden("this operator may not see the affairs of that tenant"))
            }
            (own, asked) => Ok(asked.or(own)),
        }
    }
}

impl FromRequestParts<Arc<Control>> for Authorised {
    type Rejection = ControlError;
    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, ControlError> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(ControlError::Unauthorised)?;
        let token: Token = token.parse().map_err(|_| ControlError::Unauthorised)?;
        // Asked every time: a removed operator's token is worth nothing at once.
        let operator = control.registry.operator_of(token.hash()).await?;
        operator.map(Authorised).ok_or(ControlError::Unauthorised)
    }
}

impl FromRequestParts<Arc<Control>> for Owner {
    type Rejection = ControlError;
    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, ControlError> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(peer)| peer.user);
        match peer {
            Some(user) if user == control.owner || user == ROOT => Ok(Self),
            _ => Err(ControlError::Forbidden("only root and the user the gateway runs as may name operators")),
        }
    }
}

impl Token {
    /// A token of these random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", hex(&random)))
    }

    /// As it is shown and typed.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TokenError)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (digits.len() == 64 && is_hex).then(|| Self(text.trim().to_owned())).ok_or(TokenError)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Lets scanners of repositories and logs find tokens that have leaked.
const PREFIX: &str = "feldakte_op_";

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn bound_to(tenant: Option<&str>) -> Authorised {
        let tenant = tenant.map(|tenant| tenant.parse().expect("a slug"));
        let roles = [OperatorRole::Operator].into_iter().collect();
        Authorised(Operator { name: "anna".parse().expect("a slug"), roles, tenant })
    }

    #[test]
    fn tokens_round_trip_and_are_never_printed() {
        let token = Token::new([0xab; 32]);
        assert_eq!(token.reveal().parse::<Token>().expect("its own text").reveal(), token.reveal());
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        for bad in ["", "feldakte_op_", "abab", &token.reveal()[1..], &format!("{}0", token.reveal())] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operator_of_one_tenant_touches_no_other() {
        let [dortmund, essen]: [TenantId; 2] = ["dortmund", "essen"].map(|tenant| tenant.parse().expect("a slug"));
        let (bound, free) = (bound_to(Some("dortmund")), bound_to(None));
        assert!(bound.require_in(OperatorRole::Operator, &dortmund).is_ok());
        assert!(bound.require_in(OperatorRole::Operator, &essen).is_err());
        assert!(free.require_in(OperatorRole::Operator, &essen).is_ok());
        assert!(free.require_in(OperatorRole::Auditor, &essen).is_err(), "without the role");
        assert_eq!(bound.scope(None).expect("his own"), Some(&dortmund));
        assert!(bound.scope(Some(&essen)).is_err());
        assert_eq!(free.scope(None).expect("all"), None);
    }
}

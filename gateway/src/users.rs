//! Who uses a device: judges what a device shows for its users, and says as what they act.
//!
//! Of a token nothing is kept but the user's id here; subject, names and addresses reach no log, metric, error or record.

use std::{io, sync::Arc};

use bytes::Bytes;
use feldakte_core::{
    access::{Principal, Role},
    ids::UserId,
};
use feldakte_proto::{Credential, SignedIn};
use tokio_util::sync::CancellationToken;

pub(crate) use self::config::{RawUsers, TICKET_KEY};
pub use self::{
    config::{IssuerConfig, KeysAt, UsersConfig},
    issuer::{Profile, RoleRule},
    keys::TokenAlgorithm,
    refusal::Refusal,
    token::ClaimPath,
};
use self::{
    issuer::Issuer,
    source::{At, KeySource},
    ticket::{Bearer, Tickets},
    ticket_key::{Keys, TicketKeyError},
    token::Token,
};
use crate::gateway::Shared;

mod config;
mod https;
mod issuer;
mod json;
mod keys;
mod refusal;
mod source;
mod ticket;
mod ticket_key;
mod token;

/// Whom a gateway believes about users.
pub struct Users {
    issuers: Vec<Issuer>,
    local_roles: Vec<Role>,
    required_roles: Vec<Role>,
    tickets: Tickets,
}

/// What a credential is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To use the device.
    Use,
    /// To deliver work that was done before.
    Deliver,
}

/// A user who is believed.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
    /// Until when, milliseconds since 1970-01-01 UTC.
    pub until_ms: Option<i64>,
    /// For later deliveries.
    pub ticket: Bytes,
    /// Who says so.
    pub voucher: Voucher,
}

feldakte_core::hide_content! { SignIn { role, until_ms, voucher } }

/// Who says that a user is who he is. Numbers are wire format, in tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voucher {
    /// An issuer of tokens.
    Issuer = 1,
    /// The device alone: it can give nobody more than it has itself.
    Device = 2,
}

impl Voucher {
    fn from_number(number: u8) -> Option<Self> {
        [Voucher::Issuer, Voucher::Device].into_iter().find(|voucher| *voucher as u8 == number)
    }
}

/// Users cannot be told apart with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The keys of tickets.
    #[error("configuration key `users.ticket_key`")]
    TicketKey(#[from] TicketKeyError),
    /// The keys of an issuer.
    #[error("configuration key `users.issuers.jwks`: the keys of {issuer}")]
    Keys {
        /// Whose.
        issuer: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The roots to reach an issuer under.
    #[error("configuration key `users.issuers.jwks_ca`: the roots for {issuer}")]
    Roots {
        /// Whose.
        issuer: String,
        /// Why.
        #[source]
        source: https::RootsError,
    },
}

impl Users {
    /// Reads keys and makes those of tickets if there are none.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open(config: &UsersConfig) -> Result<Self, UsersError> {
        let keys = ticket_key::load_or_create(&config.ticket_key)?;
        let mut users = Self::with_keys(config, &keys);
        for issuer in &config.issuers {
            users.issuers.push(open_issuer(issuer)?);
        }
        Ok(users)
    }

    /// Only those whom devices vouch for, with tickets that end with this process.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn local_only() -> io::Result<Self> {
        Ok(Self::with_keys(&UsersConfig::default(), &ticket_key::generate()?))
    }

    fn with_keys(config: &UsersConfig, keys: &Keys) -> Self {
        let UsersConfig { local_roles, required_roles, ticket_key: _, ticket_lifetime, issuers: _ } = config;
        let lifetime_ms = i64::try_from(ticket_lifetime.as_millis()).unwrap_or(i64::MAX);
        let tickets = Tickets::new(keys, lifetime_ms);
        let (local_roles, required_roles) = (local_roles.clone(), required_roles.clone());
        Self { issuers: Vec::new(), local_roles, required_roles, tickets }
    }

    /// Whether devices of this role are of no use without a user.
    pub fn requires_user(&self, role: Role) -> bool {
        self.required_roles.contains(&role)
    }

    /// Who that is who uses `device`, or has used it.
    ///
    /// # Errors
    /// Why the credential is not believed.
    pub async fn judge(
        &self,
        credential: &Credential,
        purpose: Purpose,
        device: &Principal,
        now_ms: i64,
    ) -> Result<SignIn, Refusal> {
        match (credential, purpose) {
            (Credential::Token(token), _) => self.judge_token(token, device, now_ms).await,
            (Credential::Local(user), _) => self.judge_local(*user, device, now_ms),
            (Credential::Ticket(_), Purpose::Use) => Err(Refusal::TicketOpensNothing),
            (Credential::Ticket(bytes), Purpose::Deliver) => {
                let ticket = self.tickets.check(bytes, device, now_ms)?;
                Ok(SignIn {
                    user: ticket.user,
                    role: ticket.role,
                    until_ms: Some(ticket.expires_ms),
                    ticket: bytes.clone(),
                    voucher: ticket.voucher,
                })
            }
        }
    }

    async fn judge_token(&self, token: &str, device: &Principal, now_ms: i64) -> Result<SignIn, Refusal> {
        let token = Token::parse(token)?;
        let name = token.issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.profile.issuer == name).ok_or(Refusal::Issuer)?;
        let (user, role, until_ms) = issuer.judge(token, device, now_ms).await?;
        Ok(self.believe(Bearer { user, role, voucher: Voucher::Issuer }, Some(until_ms), device, now_ms))
    }

    /// Who that is who comes without a device, by an issuer's word alone, and what he stands on.
    ///
    /// # Errors
    /// Why the token is not believed.
    pub async fn judge_alone(&self, token: &str, now_ms: i64) -> Result<(Principal, SignIn), Refusal> {
        let token = Token::parse(token)?;
        let name = token.issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.profile.issuer == name).ok_or(Refusal::Issuer)?;
        let (principal, until_ms) = issuer.judge_alone(token, now_ms).await?;
        let user = principal.user.ok_or(Refusal::Malformed)?;
        let bearer = Bearer { user, role: principal.role, voucher: Voucher::Issuer };
        let sign_in = self.believe(bearer, Some(until_ms), &principal, now_ms);
        Ok((principal, sign_in))
    }

    fn judge_local(&self, user: UserId, device: &Principal, now_ms: i64) -> Result<SignIn, Refusal> {
        if !self.local_roles.contains(&device.role) {
            return Err(Refusal::DeviceMayNotVouch);
        }
        let bearer = Bearer { user, role: device.role, voucher: Voucher::Device };
        Ok(self.believe(bearer, None, device, now_ms))
    }

    fn believe(&self, bearer: Bearer, until_ms: Option<i64>, device: &Principal, now_ms: i64) -> SignIn {
        let ticket = self.tickets.give(device, bearer, now_ms);
        let Bearer { user, role, voucher } = bearer;
        SignIn { user, role, until_ms, ticket, voucher }
    }
}

impl SignIn {
    /// Who speaks when this user uses `device`.
    pub fn principal(&self, device: &Principal) -> Principal {
        Principal { user: Some(self.user), role: self.role, ..device.clone() }
    }

    /// What the device is told.
    pub fn told(&self) -> SignedIn {
        let Self { user, role, until_ms, ticket, voucher: _ } = self;
        SignedIn::As { user: *user, role: *role, until_ms: *until_ms, ticket: ticket.clone() }
    }
}

fn open_issuer(config: &IssuerConfig) -> Result<Issuer, UsersError> {
    let IssuerConfig { profile, jwks, algorithms } = config;
    let issuer = || profile.issuer.clone();
    let at = match jwks {
        KeysAt::File(path) => At::File(path.clone()),
        KeysAt::Address { uri, ca } => {
            let remote = https::Remote::new(uri.clone(), ca.as_deref());
            At::Remote(remote.map_err(|source| UsersError::Roots { issuer: issuer(), source })?)
        }
    };
    let keys = KeySource::open(at, algorithms.clone());
    let keys = keys.map_err(|source| UsersError::Keys { issuer: issuer(), source: source.into() })?;
    Ok(Issuer { profile: profile.clone(), keys })
}

/// Keeps the issuers' keys fresh.
pub(crate) fn watch(shared: &Arc<Shared>, stop: &CancellationToken) {
    for index in 0..shared.users.issuers.len() {
        let (held, stop) = (shared.clone(), stop.clone());
        shared.tasks.spawn(async move { held.users.issuers[index].keys.watch(&held.metrics, &stop).await });
    }
}

#[cfg(test)]
mod tests;

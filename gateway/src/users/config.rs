//! Section `[users]` of the configuration.

use std::{path::PathBuf, time::Duration};

use feldakte_core::access::Role;
use hyper::Uri;
use serde::Deserialize;

use super::{
    issuer::{Profile, RoleRule},
    keys::TokenAlgorithm,
    token::ClaimPath,
};
use crate::config::ConfigError;

/// Whom to believe about users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersConfig {
    /// Roles of devices that may vouch for a user whom they have checked themselves.
    pub local_roles: Vec<Role>,
    /// Roles of devices that get nothing without a user.
    pub required_roles: Vec<Role>,
    /// The file of the keys that tickets are made with.
    pub ticket_key: PathBuf,
    /// How long a device may deliver the work of a user who does not come back.
    pub ticket_lifetime: Duration,
    /// Who issues tokens.
    pub issuers: Vec<IssuerConfig>,
}

/// Somebody who issues tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// What its tokens must say, and what that means here.
    pub profile: Profile,
    /// Where its keys are.
    pub jwks: KeysAt,
    /// What it may sign with.
    pub algorithms: Vec<TokenAlgorithm>,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysAt {
    /// In a file, watched for changes.
    File(PathBuf),
    /// At an `https` address.
    Address {
        /// Which.
        uri: Uri,
        /// Whose certificates are believed there, PEM; the system's roots when `None`.
        ca: Option<PathBuf>,
    },
}

impl Default for UsersConfig {
    fn default() -> Self {
        RawUsers::default().check(PathBuf::from(TICKET_KEY)).expect("the defaults are valid")
    }
}

/// As it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawUsers {
    local_roles: Vec<String>,
    required_roles: Vec<String>,
    ticket_key: Option<PathBuf>,
    ticket_lifetime_days: u64,
    issuers: Vec<RawIssuer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIssuer {
    issuer: String,
    audience: String,
    jwks: String,
    jwks_ca: Option<PathBuf>,
    algorithms: Option<Vec<String>>,
    types: Option<Vec<String>>,
    tenant_claim: Option<String>,
    role_claim: Option<String>,
    roles: Vec<RawRole>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRole {
    tenant: String,
    claim: String,
    role: String,
    unit: Option<String>,
}

impl Default for RawUsers {
    fn default() -> Self {
        // Ambulances have to work where there is no network to sign in over. Sixty days: holidays and sick leave.
        Self {
            local_roles: [Role::AmbulanceCrew, Role::EmergencyPhysician].map(|role| role.name().to_owned()).into(),
            required_roles: Vec::new(),
            ticket_key: None,
            ticket_lifetime_days: 60,
            issuers: Vec::new(),
        }
    }
}

impl RawUsers {
    /// `ticket_key` is where tickets' keys are when the file does not say.
    pub(crate) fn check(self, ticket_key: PathBuf) -> Result<UsersConfig, ConfigError> {
        let Self { local_roles, required_roles, ticket_key: said, ticket_lifetime_days: days, issuers } = self;
        if !(1..=TICKET_DAYS_MAX).contains(&days) {
            let why = format!("{days} is not between 1 and {TICKET_DAYS_MAX}");
            return Err(wrong("users.ticket_lifetime_days", why));
        }
        let issuers: Vec<IssuerConfig> = issuers.into_iter().map(RawIssuer::check).collect::<Result<_, _>>()?;
        for (index, IssuerConfig { profile, .. }) in issuers.iter().enumerate() {
            if issuers[..index].iter().any(|other| other.profile.issuer == profile.issuer) {
                return Err(wrong("users.issuers.issuer", format!("`{}` stands twice", profile.issuer)));
            }
        }
        Ok(UsersConfig {
            local_roles: roles("users.local_roles", &local_roles)?,
            required_roles: roles("users.required_roles", &required_roles)?,
            ticket_key: said.unwrap_or(ticket_key),
            ticket_lifetime: Duration::from_secs(days * 24 * 3600),
            issuers,
        })
    }
}

impl RawIssuer {
    fn check(self) -> Result<IssuerConfig, ConfigError> {
        let Self { issuer, audience, jwks, jwks_ca, algorithms, types, tenant_claim, role_claim, roles } = self;
        let roles = roles.into_iter().map(RawRole::check).collect::<Result<Vec<_>, _>>()?;
        let types = types.unwrap_or_else(|| vec![ACCESS_TOKEN.to_owned()]);
        for (key, is_empty) in [
            ("users.issuers.issuer", issuer.is_empty()),
            ("users.issuers.audience", audience.is_empty()),
            ("users.issuers.types", types.is_empty()),
            ("users.issuers.roles", roles.is_empty()),
        ] {
            if is_empty {
                return Err(wrong(key, "must not be empty".into()));
            }
        }
        let profile = Profile {
            issuer,
            audience,
            types,
            tenant_claim: tenant_claim.map(ClaimPath),
            role_claim: ClaimPath(role_claim.unwrap_or_else(|| ROLE_CLAIM.to_owned())),
            roles,
        };
        Ok(IssuerConfig { profile, jwks: keys_at(jwks, jwks_ca)?, algorithms: allowed(algorithms)? })
    }
}

impl RawRole {
    fn check(self) -> Result<RoleRule, ConfigError> {
        let Self { tenant, claim, role, unit } = self;
        let tenant =
            tenant.parse().map_err(|error| wrong("users.issuers.roles.tenant", format!("`{tenant}`: {error}")))?;
        let unit = unit
            .map(|unit| unit.parse().map_err(|error| wrong("users.issuers.roles.unit", format!("`{unit}`: {error}"))));
        Ok(RoleRule { tenant, claim, role: self::role("users.issuers.roles.role", &role)?, unit: unit.transpose()? })
    }
}

fn keys_at(jwks: String, ca: Option<PathBuf>) -> Result<KeysAt, ConfigError> {
    const KEY: &str = "users.issuers.jwks";
    if !jwks.contains("://") {
        return match ca {
            None => Ok(KeysAt::File(jwks.into())),
            Some(_) => Err(wrong("users.issuers.jwks_ca", "means nothing beside a file".into())),
        };
    }
    let uri: Uri = jwks.parse().map_err(|_| wrong(KEY, format!("`{jwks}` is not an address")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(KeysAt::Address { uri, ca }),
        _ => Err(wrong(KEY, format!("`{jwks}` is not an https address"))),
    }
}

fn allowed(names: Option<Vec<String>>) -> Result<Vec<TokenAlgorithm>, ConfigError> {
    const KEY: &str = "users.issuers.algorithms";
    let Some(names) = names else { return Ok(ALGORITHMS.to_vec()) };
    if names.is_empty() {
        return Err(wrong(KEY, "must not be empty".into()));
    }
    let known = || TokenAlgorithm::ALL.map(TokenAlgorithm::name).join(", ");
    let read = |name: String| name.parse().map_err(|()| wrong(KEY, format!("`{name}` is not one of {}", known())));
    names.into_iter().map(read).collect()
}

fn roles(key: &'static str, names: &[String]) -> Result<Vec<Role>, ConfigError> {
    names.iter().map(|name| role(key, name)).collect()
}

fn role(key: &'static str, name: &str) -> Result<Role, ConfigError> {
    name.parse().map_err(|error| wrong(key, format!("`{name}`: {error}")))
}

fn wrong(key: &'static str, why: String) -> ConfigError {
    ConfigError::Value { key: key.into(), why }
}

/// What an issuer signs with unless it is told otherwise: not with RSA in PKCS#1 padding.
const ALGORITHMS: [TokenAlgorithm; 3] = [TokenAlgorithm::Es256, TokenAlgorithm::Es384, TokenAlgorithm::Ps256];
/// The `typ` of access tokens (RFC 9068, 2.1); ID tokens have another, or none.
const ACCESS_TOKEN: &str = "at+jwt";
const ROLE_CLAIM: &str = "roles";
/// A year: what nobody has delivered by then, nobody will.
const TICKET_DAYS_MAX: u64 = 366;
/// Next to the store.
pub(crate) const TICKET_KEY: &str = "tickets.key";

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "issuer = 'https://id.example'\naudience = 'feldakte'\njwks = 'https://id.example/jwks'\n";
    const ROLE: &str = "tenant = 'dortmund'\nclaim = 'notarzt'\nrole = 'emergency_physician'\n";

    fn load(text: &str) -> Result<UsersConfig, ConfigError> {
        let raw: RawUsers = toml::from_str(text).map_err(|error| ConfigError::Parse(error.to_string()))?;
        raw.check("tickets.key".into())
    }

    fn issuer(more: &str) -> String {
        format!("[[issuers]]\n{ISSUER}{more}[[issuers.roles]]\n{ROLE}")
    }

    #[test]
    fn an_issuer_has_defaults_that_are_strict() {
        let config = load(&issuer("")).expect("loads");
        let IssuerConfig { profile, jwks, algorithms } = &config.issuers[0];
        assert_eq!(profile.types, ["at+jwt"]);
        assert_eq!(profile.role_claim, ClaimPath("roles".into()));
        assert_eq!(profile.roles[0].role, Role::EmergencyPhysician);
        assert!(matches!(jwks, KeysAt::Address { uri, ca: None } if uri.path() == "/jwks"));
        assert!(!algorithms.contains(&TokenAlgorithm::Rs256));
        assert_eq!(config.ticket_lifetime.as_secs(), 60 * 24 * 3600);
    }

    #[test]
    fn a_wrong_key_or_value_names_itself() {
        let twice = format!("{}{}", issuer(""), issuer(""));
        for (text, named) in [
            ("local_role = []", "local_role"),
            ("local_roles = ['crew']", "users.local_roles"),
            ("required_roles = ['']", "users.required_roles"),
            ("ticket_lifetime_days = 0", "users.ticket_lifetime_days"),
            ("ticket_lifetime_days = 400", "users.ticket_lifetime_days"),
            (&issuer("algorithms = ['HS256']\n"), "users.issuers.algorithms"),
            (&issuer("algorithms = ['none']\n"), "users.issuers.algorithms"),
            (&issuer("algorithms = []\n"), "users.issuers.algorithms"),
            (&issuer("types = []\n"), "users.issuers.types"),
            (&issuer("audiense = 'x'\n"), "audiense"),
            (&issuer("").replace("https://id.example/jwks", "http://id.example/jwks"), "users.issuers.jwks"),
            (&issuer("jwks_ca = 'ca.pem'\n").replace("https://id.example/jwks", "jwks.json"), "users.issuers.jwks_ca"),
            (&issuer("").replace("'feldakte'", "''"), "users.issuers.audience"),
            (&issuer("").replace("emergency_physician", "doctor"), "users.issuers.roles.role"),
            (&issuer("").replace("dortmund", "Dortmund"), "users.issuers.roles.tenant"),
            (&twice, "users.issuers.issuer"),
            (&format!("[[issuers]]\n{ISSUER}"), "roles"),
        ] {
            let error = load(text).expect_err(named).to_string();
            assert!(error.contains(named), "{named}: {error}");
        }
    }
}

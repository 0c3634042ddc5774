//! Configuration: a TOML file, then environment variables, checked into [`Config`] before anything starts.
//!
//! Everything has a default. A key that does not exist stops the start and is named, so that a typing error in
//! `deny_list` cannot silently open the door. `FELDAKTE__STORE__PATH=…` overrides `[store] path`.

use std::{
    borrow::Cow,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use feldakte_core::{access::Policy, call::Plan, limits::Shares};
use serde::Deserialize;

use self::{ca::RawCa, calls::RawCalls, control::RawControl, policy::RawPolicy, shares::RawShares};
pub use self::{
    ca::{CaSettings, parse_duration},
    control::ControlSettings,
};
use crate::{
    relay::{RawRelay, RelayConfig},
    users::{RawUsers, TICKET_KEY, UsersConfig},
    web::{RawWeb, WebConfig},
};

mod ca;
mod calls;
mod control;
mod policy;
mod shares;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where devices connect.
    pub quic: SocketAddr,
    /// Where they connect over TCP; beside [`Config::quic`] when `None`.
    pub grpc: Option<SocketAddr>,
    /// Where operators and probes connect; no case data is reachable there.
    pub ops: SocketAddr,
    /// Where devices get their certificates, if this gateway issues any.
    pub enrol: SocketAddr,
    /// The SQLite file.
    pub store: PathBuf,
    /// What waits for supervisors and lost devices, a SQLite file.
    pub matters: PathBuf,
    /// Where operators ask, and the registry.
    pub control: ControlSettings,
    /// The audit log, a SQLite file.
    pub audit: PathBuf,
    /// The key that signs it, PEM; made when it is not there.
    pub audit_key: PathBuf,
    /// The keys of cases, wrapped, a SQLite file.
    pub keyring: PathBuf,
    /// The keys of tenants; made when they are not there.
    pub tenant_keys: PathBuf,
    /// The gateway's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Roots that issue device certificates, PEM.
    pub device_ca: PathBuf,
    /// The authority that certifies devices.
    pub ca: CaSettings,
    /// Denied certificates and devices, one per line; watched for changes.
    pub deny_list: Option<PathBuf>,
    /// Revocation lists of the device authorities, PEM; watched for changes.
    pub crl: Option<PathBuf>,
    /// What each role may do at all. A restart takes up another one: every session is judged anew then.
    pub policy: Policy,
    /// What an address, a device and a tenant may use.
    pub shares: Shares,
    /// Where calls go.
    pub calls: Plan,
    /// Whom to believe about users.
    pub users: UsersConfig,
    /// Where browsers connect; `None` for nowhere.
    pub web: Option<WebConfig>,
    /// TURN servers for calls; `None` when there are none.
    pub relay: Option<RelayConfig>,
    /// How logs look.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `tracing` (`info`, `feldakte_gateway=debug`).
    pub log_level: String,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key does not exist, or a value has the wrong type. The message names key and place.
    #[error("configuration: {0}")]
    Parse(String),
    /// A value cannot be used.
    #[error("configuration key `{key}`: {why}")]
    Value {
        /// Which key.
        key: Cow<'static, str>,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    listen: RawListen,
    store: RawStore,
    control: RawControl,
    ca: RawCa,
    audit: RawAudit,
    keys: RawKeys,
    tls: RawTls,
    policy: RawPolicy,
    limits: RawShares,
    calls: RawCalls,
    users: RawUsers,
    relay: RawRelay,
    web: RawWeb,
    log: RawLog,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawListen {
    quic: String,
    grpc: Option<String>,
    ops: String,
    enrol: String,
}

impl Default for RawListen {
    fn default() -> Self {
        // 4433 is the customary QUIC port besides 443; operators' port 9464 is Prometheus' own, on loopback only:
        // metrics are not for the internet.
        // Devices know one port, and try it over UDP and TCP.
        Self { quic: "0.0.0.0:4433".into(), grpc: None, ops: "127.0.0.1:9464".into(), enrol: "0.0.0.0:4434".into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStore {
    path: PathBuf,
    /// By default next to it.
    matters: Option<PathBuf>,
}

impl Default for RawStore {
    fn default() -> Self {
        Self { path: "feldakte.sqlite".into(), matters: None }
    }
}

/// By default next to the store: one directory to protect.
#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawAudit {
    path: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// By default next to the store.
#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawKeys {
    path: Option<PathBuf>,
    tenant_keys: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    device_ca: PathBuf,
    deny_list: Option<PathBuf>,
    crl: Option<PathBuf>,
}

impl Default for RawTls {
    fn default() -> Self {
        // The names that `feldakte pki create` writes.
        Self {
            certificate: "pki/gateway.pem".into(),
            key: "pki/gateway.key".into(),
            device_ca: "pki/root.pem".into(),
            deny_list: None,
            crl: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    format: LogFormat,
    level: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

impl Config {
    /// Reads `path` (nothing but defaults when `None`), then the environment. Relative paths in the file are
    /// relative to the working directory.
    ///
    /// # Errors
    /// When the file cannot be read, a key does not exist or a value cannot be used.
    pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let text = match path {
            None => String::new(),
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?
            }
        };
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| parse_error(&error))?;
        for (name, value) in environment {
            override_key(&mut table, &name, value)?;
        }
        let raw: RawConfig =
            toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| parse_error(&error))?;
        raw.try_into()
    }
}

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;
    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let RawConfig { listen, store, control, ca, audit, keys, tls, policy, limits, calls, users, relay, web, log } =
            raw;
        let RawListen { quic, grpc, ops, enrol } = listen;
        let RawStore { path: store, matters } = store;
        let matters = matters.unwrap_or_else(|| store.with_file_name("matters.sqlite"));
        let RawAudit { path: audit, key: audit_key } = audit;
        let audit = audit.unwrap_or_else(|| store.with_file_name("audit.sqlite"));
        let audit_key = audit_key.unwrap_or_else(|| audit.with_file_name("audit.key"));
        let RawKeys { path: keyring, tenant_keys } = keys;
        let keyring = keyring.unwrap_or_else(|| store.with_file_name("keys.sqlite"));
        let tenant_keys = tenant_keys.unwrap_or_else(|| keyring.with_file_name("tenant.keys"));
        let RawTls { certificate, key, device_ca, deny_list, crl } = tls;
        let RawLog { format: log_format, level: log_level } = log;
        log_level
            .parse::<tracing_subscriber::EnvFilter>()
            .map_err(|error| ConfigError::Value { key: "log.level".into(), why: error.to_string() })?;
        Ok(Config {
            users: users.check(store.with_file_name(TICKET_KEY))?,
            relay: relay.check()?,
            web: web.check()?,
            quic: address("listen.quic", &quic)?,
            grpc: grpc.map(|grpc| address("listen.grpc", &grpc)).transpose()?,
            ops: address("listen.ops", &ops)?,
            enrol: address("listen.enrol", &enrol)?,
            ca: ca.check(&device_ca)?,
            control: control.check(&store)?,
            store,
            matters,
            audit,
            audit_key,
            keyring,
            tenant_keys,
            certificate,
            key,
            device_ca,
            deny_list,
            crl,
            policy: policy::check(policy)?,
            shares: limits.into(),
            calls: calls.check()?,
            log_format,
            log_level,
        })
    }
}

fn address(key: &'static str, value: &str) -> Result<SocketAddr, ConfigError> {
    let why =
        |_| ConfigError::Value { key: key.into(), why: format!("`{value}` is not an address such as 0.0.0.0:4433") };
    value.parse().map_err(why)
}

fn override_key(table: &mut toml::Table, name: &str, value: String) -> Result<(), ConfigError> {
    let Some(path) = name.strip_prefix("FELDAKTE__") else { return Ok(()) };
    let Some((section, key)) = path.split_once("__") else {
        return Err(ConfigError::Parse(format!("environment variable {name}: expected FELDAKTE__SECTION__KEY")));
    };
    let section = table.entry(section.to_lowercase()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let Some(section) = section.as_table_mut() else {
        return Err(ConfigError::Parse(format!("environment variable {name}: the section is not a table")));
    };
    section.insert(key.to_lowercase(), toml::Value::String(value));
    Ok(())
}

fn parse_error(error: &toml::de::Error) -> ConfigError {
    ConfigError::Parse(error.to_string().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use feldakte_core::access::Role;

    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(file.path()), environment)
    }

    #[test]
    fn everything_has_a_default() {
        let config = Config::load(None, std::iter::empty()).expect("defaults");
        assert_eq!(config.quic.port(), 4433);
        assert!(config.ops.ip().is_loopback());
    }

    #[test]
    fn a_wrong_key_names_itself() {
        for text in ["[tls]\ndeny_lst = 'x'", "[lisen]\nquic = 'x'", "top = 1"] {
            let error = load(text, &[]).expect_err("refused").to_string();
            let key = ["deny_lst", "lisen", "top"].into_iter().find(|key| text.contains(key)).expect("listed");
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        let error = load("[listen]\nquic = 'here'", &[]).expect_err("refused").to_string();
        assert!(error.contains("listen.quic") && error.contains("here"), "{error}");
        let error = load("[log]\nlevel = 'a=b=c'", &[]).expect_err("refused").to_string();
        assert!(error.contains("log.level"), "{error}");
    }

    #[test]
    fn the_environment_wins_over_the_file_and_is_checked_like_it() {
        let config = load("[store]\npath = 'a'", &[("FELDAKTE__STORE__PATH", "b"), ("HOME", "/")]);
        assert_eq!(config.expect("loads").store, PathBuf::from("b"));
        let error = load("", &[("FELDAKTE__STORE__PTH", "b")]).expect_err("refused").to_string();
        assert!(error.contains("pth"), "{error}");
    }

    #[test]
    fn keys_of_tickets_stand_next_to_the_store_unless_it_is_told_otherwise() {
        let config = load("[store]\npath = '/data/log.sqlite'", &[]).expect("loads");
        assert_eq!(config.users.ticket_key, PathBuf::from("/data/tickets.key"));
        let config = load("", &[("FELDAKTE__USERS__TICKET_KEY", "/etc/t.key")]).expect("loads");
        assert_eq!(config.users.ticket_key, PathBuf::from("/etc/t.key"));
    }

    #[test]
    fn the_audit_log_stands_next_to_the_store_unless_it_is_told_otherwise() {
        let config = load("[store]\npath = '/data/log.sqlite'", &[]).expect("loads");
        assert_eq!(config.audit, PathBuf::from("/data/audit.sqlite"));
        assert_eq!(config.audit_key, PathBuf::from("/data/audit.key"));
        let config = load("[audit]\npath = '/other/a.sqlite'\nkey = '/etc/a.key'", &[]).expect("loads");
        assert_eq!((config.audit, config.audit_key), ("/other/a.sqlite".into(), "/etc/a.key".into()));
    }

    #[test]
    fn the_keyring_stands_next_to_the_store_unless_it_is_told_otherwise() {
        let config = load("[store]\npath = '/data/log.sqlite'", &[]).expect("loads");
        assert_eq!(config.keyring, PathBuf::from("/data/keys.sqlite"));
        assert_eq!(config.tenant_keys, PathBuf::from("/data/tenant.keys"));
        let config = load("[keys]\npath = '/other/k.sqlite'\ntenant_keys = '/etc/t.keys'", &[]).expect("loads");
        assert_eq!((config.keyring, config.tenant_keys), ("/other/k.sqlite".into(), "/etc/t.keys".into()));
    }

    #[test]
    fn the_documented_configuration_can_be_loaded() {
        let config = load(include_str!("../../deploy/feldakte.toml"), &[]).expect("every key exists");
        assert_eq!(config.control.socket, PathBuf::from("/run/feldakte/feldakte.sock"));
    }

    #[test]
    fn the_documented_policy_names_every_cell_and_is_the_default() {
        let text = include_str!("../../deploy/feldakte.toml");
        assert_eq!(load(text, &[]).expect("every key exists").policy, Policy::default());
        for role in Role::ALL {
            let row = text.lines().find(|line| line.starts_with(&format!("{role} = {{"))).expect("a row of its own");
            let cells = ["operations", "identity", "clinical", "orders", "vitals", "after_close", "creates"];
            assert!(cells.iter().all(|cell| row.contains(&format!("{cell} = "))), "{role}");
        }
    }

    #[test]
    fn the_environment_is_no_way_around_the_policy_in_the_file() {
        let error = load("", &[("FELDAKTE__POLICY__HOSPITAL__CLINICAL", "read")]).expect_err("refused").to_string();
        assert!(error.contains("hospital__clinical"), "{error}");
        let error = load("", &[("FELDAKTE__POLICY__HOSPITAL", "read")]).expect_err("refused").to_string();
        assert!(error.contains("hospital"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Some(Path::new("no-such.toml")), std::iter::empty()).expect_err("refused");
        assert!(error.to_string().contains("no-such.toml"));
    }
}

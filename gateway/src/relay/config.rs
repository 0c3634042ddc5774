//! Section `[relay]` of the configuration.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::config::{ConfigError, parse_duration};

/// TURN servers and what is shared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// `turn:HOST:PORT?transport=udp`, the same with `tcp`, and `turns:` for TLS, as browsers take them.
    pub urls: Vec<String>,
    /// The file of the shared secrets; watched for changes.
    pub secret_file: PathBuf,
    /// How long credentials are taken after they were given.
    pub lifetime: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawRelay {
    urls: Vec<String>,
    secret_file: Option<PathBuf>,
    lifetime: String,
}

impl Default for RawRelay {
    fn default() -> Self {
        // From when a call is accepted until its browser or tablet has allocated: seconds. Ten minutes forgive a clock that is
        // wrong and a link that is gone for a while; each ICE restart brings new ones.
        Self { urls: Vec::new(), secret_file: None, lifetime: "10m".into() }
    }
}

impl RawRelay {
    /// `None` when there are no servers: calls then have the paths that devices find themselves.
    pub(crate) fn check(self) -> Result<Option<RelayConfig>, ConfigError> {
        let Self { urls, secret_file, lifetime: text } = self;
        if urls.len() > URLS_MAX {
            return Err(wrong("relay.urls", format!("more than {URLS_MAX}")));
        }
        if let Some(url) = urls.iter().find(|url| !is_turn(url)) {
            let why = format!("`{url}` is not an address such as turn:turn.example.org:3478?transport=udp");
            return Err(wrong("relay.urls", why));
        }
        let lifetime = parse_duration(&text).filter(|lifetime| (LIFETIME_MIN..=LIFETIME_MAX).contains(lifetime));
        let lifetime =
            lifetime.ok_or_else(|| wrong("relay.lifetime", format!("`{text}` is not between 60s and 24h")))?;
        match (urls.is_empty(), secret_file) {
            (true, None) => Ok(None),
            (true, Some(_)) => Err(wrong("relay.urls", "must not be empty beside relay.secret_file".into())),
            (false, None) => Err(wrong("relay.secret_file", "is needed for relay.urls".into())),
            (false, Some(secret_file)) => Ok(Some(RelayConfig { urls, secret_file, lifetime })),
        }
    }
}

/// RFC 7065: scheme, host, port, and the transport if it is said.
fn is_turn(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("turn:").or_else(|| url.strip_prefix("turns:")) else { return false };
    let (authority, transport) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (host, port) = match authority.rsplit_once(':') {
        // An IPv6 address without a port ends in its bracket.
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_named = url.len() <= URL_LEN_MAX && !host.is_empty() && host.bytes().all(is_of_a_host);
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    is_named && is_port && transport.is_none_or(|query| ["transport=udp", "transport=tcp"].contains(&query))
}

fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)
}

fn wrong(key: &'static str, why: String) -> ConfigError {
    ConfigError::Value { key: key.into(), why }
}

/// Two servers over UDP, TCP and TLS each, and room. Browsers grow slow beyond five.
const URLS_MAX: usize = 8;
/// The longest name of a host, and the rest.
const URL_LEN_MAX: usize = 300;
/// Under a minute clocks would decide.
const LIFETIME_MIN: Duration = Duration::from_secs(60);
/// More is no short life any more.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(url: &str) -> RawRelay {
        RawRelay { urls: vec![url.into()], secret_file: Some("s".into()), ..RawRelay::default() }
    }

    #[test]
    fn there_are_no_servers_unless_it_is_said() {
        assert_eq!(RawRelay::default().check().unwrap(), None);
    }

    #[test]
    fn addresses_are_those_that_browsers_take() {
        for url in [
            "turn:turn.example.org",
            "turn:192.0.2.1:3478?transport=udp",
            "turn:[2001:db8::1]:3478?transport=tcp",
            "turns:turn.example.org:5349?transport=tcp",
        ] {
            assert_eq!(raw(url).check().unwrap().unwrap().urls, [url]);
        }
        for url in
            ["stun:a", "turn:", "turn::3478", "turn:a:0", "turn:a:b", "turn:a?transport=tls", "turn://a", "turn:a b"]
        {
            let error = raw(url).check().unwrap_err().to_string();
            assert!(error.contains("relay.urls"), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_missing_or_too_long_is_named() {
        let refused = |raw: RawRelay| raw.check().unwrap_err().to_string();
        assert!(refused(RawRelay { secret_file: None, ..raw("turn:a") }).contains("relay.secret_file"));
        assert!(refused(RawRelay { urls: Vec::new(), ..raw("turn:a") }).contains("relay.urls"));
        for lifetime in ["59s", "25h", "soon"] {
            assert!(refused(RawRelay { lifetime: lifetime.into(), ..raw("turn:a") }).contains("relay.lifetime"));
        }
    }
}

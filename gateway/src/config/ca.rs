//! `[ca]`: the authority that certifies devices, and on which terms.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::ConfigError;
use crate::enrolment::Terms;

/// Where the authority is and on which terms it issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaSettings {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Whether a missing key stops the start.
    pub is_demanded: bool,
    /// Roots that devices believe gateways under, PEM.
    pub gateway_roots: PathBuf,
    /// Where devices enrol, `host:port`; by default the first name in the gateway's certificate.
    pub address: Option<String>,
    /// Lifetime, renewal, overlap.
    pub terms: Terms,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCa {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    gateway_roots: Option<PathBuf>,
    address: Option<String>,
    lifetime: String,
    renew_from: String,
    overlap: String,
}

impl Default for RawCa {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            gateway_roots: None,
            address: None,
            // A device that is out of reach for a fortnight is somebody's business; a stolen one ends by itself then.
            lifetime: "14d".into(),
            // Half of it: a week of tries.
            renew_from: "7d".into(),
            // A fortnight on a shelf still heals by itself.
            overlap: "14d".into(),
        }
    }
}

impl RawCa {
    /// By default the authority is the one whose devices the gateway takes, and its key stands beside it, as `feldakte pki
    /// create` writes them.
    pub(super) fn check(self, device_ca: &Path) -> Result<CaSettings, ConfigError> {
        let Self { certificate, key, gateway_roots, address, lifetime, renew_from, overlap } = self;
        let terms = Terms {
            lifetime: duration("ca.lifetime", &lifetime)?,
            renew_from: duration("ca.renew_from", &renew_from)?,
            overlap: duration("ca.overlap", &overlap)?,
        };
        if terms.lifetime.is_zero() || terms.renew_from >= terms.lifetime {
            let why = format!("`{renew_from}` must be shorter than `ca.lifetime`, which is `{lifetime}`");
            return Err(ConfigError::Value { key: "ca.renew_from".into(), why });
        }
        if let Some(address) = &address
            && address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            let why = format!("`{address}` is not HOST:PORT, such as gateway.example.org:4434");
            return Err(ConfigError::Value { key: "ca.address".into(), why });
        }
        let certificate = certificate.unwrap_or_else(|| device_ca.to_owned());
        let is_demanded = key.is_some();
        let key = key.unwrap_or_else(|| certificate.with_extension("key"));
        let gateway_roots = gateway_roots.unwrap_or_else(|| device_ca.to_owned());
        Ok(CaSettings { certificate, key, is_demanded, gateway_roots, address, terms })
    }
}

/// `90s`, `15m`, `24h`, `14d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    Some(Duration::from_secs(u64::from(number.parse::<u32>().ok()?) * seconds))
}

fn duration(key: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let why = || format!("`{text}` is not a time such as 90s, 15m, 24h or 14d");
    parse_duration(text).ok_or_else(|| ConfigError::Value { key: key.into(), why: why() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 60 * 60));
        assert_eq!(["24h", "14d", "90m"].map(parse_duration), [hours(24), hours(14 * 24), hours(1).map(|h| h * 3 / 2)]);
        for bad in ["", "d", "14", "14 d", "-1d", "1.5d", "14D", "99999999999d", "1ä"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_authority_stands_beside_the_one_that_is_trusted() {
        let settings = RawCa::default().check(Path::new("pki/root.pem")).expect("defaults");
        assert_eq!((settings.certificate, settings.key), ("pki/root.pem".into(), "pki/root.key".into()));
        assert!(!settings.is_demanded);
    }

    #[test]
    fn terms_that_make_no_sense_name_their_key() {
        for (key, raw) in [
            ("ca.lifetime", RawCa { lifetime: "soon".into(), ..RawCa::default() }),
            ("ca.renew_from", RawCa { renew_from: "14d".into(), ..RawCa::default() }),
            ("ca.address", RawCa { address: Some("gateway".into()), ..RawCa::default() }),
        ] {
            let error = raw.check(Path::new("root.pem")).expect_err("refused").to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}

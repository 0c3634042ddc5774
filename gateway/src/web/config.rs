//! Section `[web]` of the configuration.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::ConfigError;

/// Where browsers connect, and which pages may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebConfig {
    /// Where.
    pub listen: SocketAddr,
    /// Origins of pages that are let in, as browsers say them: `https://desk.example.org`.
    pub origins: Vec<String>,
    /// Whether the small page for tests is served here.
    pub test_page: bool,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawWeb {
    listen: Option<String>,
    origins: Vec<String>,
    test_page: bool,
}

impl RawWeb {
    /// `None` when browsers are not served.
    pub(crate) fn check(self) -> Result<Option<WebConfig>, ConfigError> {
        let Self { listen, origins, test_page } = self;
        let Some(listen) = listen else {
            return match origins.is_empty() && !test_page {
                true => Ok(None),
                false => Err(wrong("web.listen", "is needed for the rest of [web]".into())),
            };
        };
        let address = listen.parse();
        let listen =
            address.map_err(|_| wrong("web.listen", format!("`{listen}` is not an address such as 0.0.0.0:8443")))?;
        if origins.is_empty() {
            return Err(wrong("web.origins", "must name the pages that are let in".into()));
        }
        if let Some(origin) = origins.iter().find(|origin| !is_origin(origin)) {
            let why = format!(
                "`{origin}` is not an origin such as https://desk.example.org or https://desk.example.org:8443"
            );
            return Err(wrong("web.origins", why));
        }
        Ok(Some(WebConfig { listen, origins, test_page }))
    }
}

/// RFC 6454, 6.2, of pages that came over TLS: in lower case, without a path and without the customary port.
fn is_origin(text: &str) -> bool {
    let Some(authority) = text.strip_prefix("https://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let of_a_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number != 443 && number.to_string() == port);
    !host.is_empty() && host.bytes().all(of_a_host) && port.is_none_or(is_port)
}

fn wrong(key: &'static str, why: String) -> ConfigError {
    ConfigError::Value { key: key.into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(origin: &str) -> RawWeb {
        RawWeb { listen: Some("0.0.0.0:8443".into()), origins: vec![origin.into()], test_page: false }
    }

    #[test]
    fn browsers_are_served_only_when_it_is_said() {
        assert_eq!(RawWeb::default().check().unwrap(), None);
        let error = RawWeb { test_page: true, ..RawWeb::default() }.check().unwrap_err().to_string();
        assert!(error.contains("web.listen"), "{error}");
    }

    #[test]
    fn pages_are_named_as_browsers_name_them() {
        for origin in ["https://desk.example.org", "https://desk.example.org:8443", "https://[2001:db8::1]"] {
            assert_eq!(raw(origin).check().unwrap().unwrap().origins, [origin]);
        }
        for origin in [
            "http://desk.example.org",
            "https://desk.example.org/",
            "https://Desk.example.org",
            "https://desk.example.org:443",
            "https://desk.example.org:0443",
            "https://",
            "https://*",
            "null",
        ] {
            let error = raw(origin).check().unwrap_err().to_string();
            assert!(error.contains("web.origins"), "{origin}: {error}");
        }
        let error = RawWeb { origins: Vec::new(), ..raw("") }.check().unwrap_err().to_string();
        assert!(error.contains("web.origins"), "nobody is let in by leaving it out: {error}");
    }
}

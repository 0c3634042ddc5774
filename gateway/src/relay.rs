//! Credentials for TURN servers, over which media goes where no direct path is to be had.
//!
//! The servers are coturn with `use-auth-secret`: they believe whoever shows the HMAC of an expiry and a name under a secret that
//! they share with the gateway. Nothing of it is stored or told to them, and none outlives its call for long. coturn asks for
//! credentials when an address is allocated and not again: its own `max-allocate-lifetime` ends what it has allocated.

use std::{
    fmt::Display,
    sync::{PoisonError, RwLock},
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};

pub use self::{
    config::RelayConfig,
    secrets::{SecretError, Secrets},
};

mod config;
mod secrets;

pub(crate) use self::config::RawRelay;

/// Gives credentials for the TURN servers of a gateway.
pub struct Relay {
    config: RelayConfig,
    secrets: RwLock<Secrets>,
}

/// What one leg of a call may use TURN servers with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The servers: `turn:` over UDP and TCP, `turns:` over TLS.
    pub urls: Vec<String>,
    /// Expiry in seconds since 1970-01-01 UTC, then the call and its leg.
    pub username: String,
    /// What proves that the gateway has made that name.
    pub password: String,
    /// From then on no server takes them, milliseconds since 1970-01-01 UTC.
    pub until_ms: i64,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

impl Relay {
    /// Reads the secrets.
    ///
    /// # Errors
    /// When their file cannot be used.
    pub fn open(config: RelayConfig) -> Result<Self, SecretError> {
        let secrets = RwLock::new(Secrets::read(&config.secret_file)?);
        Ok(Self { config, secrets })
    }

    /// Takes up the secrets that stand in the file by now. Credentials that were given before are good until they expire, as
    /// long as servers know the secret that they were made with.
    ///
    /// # Errors
    /// When the file cannot be used: the secrets in force stay so.
    pub fn reload(&self) -> Result<(), SecretError> {
        let secrets = Secrets::read(&self.config.secret_file)?;
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
        Ok(())
    }

    /// For one leg of a call, from now on.
    pub fn credentials(&self, call: impl Display, leg: u8, now_ms: i64) -> Credentials {
        let lifetime_ms = i64::try_from(self.config.lifetime.as_millis()).unwrap_or(i64::MAX);
        // Whole seconds: what the server reads.
        let until_s = now_ms.saturating_add(lifetime_ms) / 1000;
        let username = format!("{until_s}:{call}-{leg}");
        let password = {
            let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
            password(secrets.signing(), &username)
        };
        Credentials { urls: self.config.urls.clone(), username, password, until_ms: until_s.saturating_mul(1000) }
    }

    /// Where its settings stand.
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }
}

/// What coturn computes: SHA-1 is its choice; what breaks it as a hash does not break its HMAC (RFC 6194, 3.3).
fn password(secret: &[u8], username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "0f2c5a1db7e64f0c9b9b7a0d6f1f35b2f2b8a1c4";
    const CALL: &str = "0199d4a0-7b3e-7c11-8f6a-2b1d3c4e5f60";

    fn relay(dir: &tempfile::TempDir, secrets: &str) -> Relay {
        let secret_file = dir.path().join("relay.secret");
        std::fs::write(&secret_file, secrets).unwrap();
        let urls = vec!["turn:turn.example.org:3478?transport=udp".to_owned()];
        Relay::open(RelayConfig { urls, secret_file, lifetime: Duration::from_secs(600) }).unwrap()
    }

    #[test]
    fn the_mac_is_that_of_rfc_2202() {
        let digest = |key: &[u8], data: &str| {
            let bytes = BASE64_STANDARD.decode(password(key, data)).unwrap();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(digest(&[0x0b; 20], "Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
        assert_eq!(digest(b"Jefe", "what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let long = "Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(digest(&[0xaa; 80], long), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    #[test]
    fn credentials_are_those_that_a_coturn_has_taken() {
        // coturn 4.6.1 with this secret let `turnutils_uclient` allocate with this name and password.
        let dir = tempfile::tempdir().unwrap();
        let given = relay(&dir, SECRET).credentials(CALL, 1, 1_795_689_000_999);
        assert_eq!(given.username, format!("1795689600:{CALL}-1"));
        assert_eq!(given.password, "WksDAPKhFqb8TKFmtl1nU8NIUq4=");
        assert_eq!(given.until_ms, 1_795_689_600_000);
        assert_eq!(given.urls, ["turn:turn.example.org:3478?transport=udp"]);
        assert!(!format!("{given:?}").contains("Wks"), "nothing of them in logs");
    }

    #[test]
    fn legs_and_calls_have_credentials_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let relay = relay(&dir, SECRET);
        let passwords = [("a", 0), ("a", 1), ("b", 0)].map(|(call, leg)| relay.credentials(call, leg, 0).password);
        assert!(passwords[0] != passwords[1] && passwords[0] != passwords[2] && passwords[1] != passwords[2]);
    }

    #[test]
    fn the_first_secret_signs_and_a_bad_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = ("a".repeat(32), "b".repeat(32));
        let relay = relay(&dir, &old);
        let before = relay.credentials(CALL, 0, 0);
        let file = &relay.config().secret_file;
        std::fs::write(file, format!("# being rotated\n{new}\n{old}\n")).unwrap();
        assert_eq!(relay.credentials(CALL, 0, 0), before, "until it is told");
        relay.reload().unwrap();
        let after = relay.credentials(CALL, 0, 0);
        assert_eq!(after.password, password(new.as_bytes(), &after.username));
        std::fs::write(file, "short").unwrap();
        assert!(relay.reload().is_err());
        assert_eq!(relay.credentials(CALL, 0, 0), after);
    }
}

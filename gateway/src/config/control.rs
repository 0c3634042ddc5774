//! `[control]`: where operators ask, and who may open the socket.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// Where the control plane listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlSettings {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// The registry, a SQLite file.
    pub registry: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawControl {
    socket: Option<PathBuf>,
    mode: String,
    registry: Option<PathBuf>,
}

impl Default for RawControl {
    fn default() -> Self {
        // Nobody but the gateway's own user and root, until somebody decides otherwise.
        Self { socket: None, mode: "0600".into(), registry: None }
    }
}

impl RawControl {
    /// What is not said stands next to the store: one directory to protect.
    pub(super) fn check(self, store: &Path) -> Result<ControlSettings, ConfigError> {
        let Self { socket, mode, registry } = self;
        let mode = match mode.as_str() {
            "0600" => 0o600,
            "0660" => 0o660,
            other => {
                let why = format!("`{other}` is neither 0600 (owner) nor 0660 (owner and group)");
                return Err(ConfigError::Value { key: "control.mode".into(), why });
            }
        };
        Ok(ControlSettings {
            socket: socket.unwrap_or_else(|| store.with_file_name("feldakte.sock")),
            mode,
            registry: registry.unwrap_or_else(|| store.with_file_name("registry.sqlite")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_next_to_the_store_and_strangers_are_kept_out() {
        let settings = RawControl::default().check(Path::new("/data/log.sqlite")).expect("defaults");
        assert_eq!(settings.socket, Path::new("/data/feldakte.sock"));
        assert_eq!(settings.registry, Path::new("/data/registry.sqlite"));
        assert_eq!(settings.mode, 0o600);
        let open = RawControl { mode: "0666".into(), ..RawControl::default() };
        let error = open.check(Path::new("log.sqlite")).expect_err("refused").to_string();
        assert!(error.contains("control.mode"), "{error}");
    }
}

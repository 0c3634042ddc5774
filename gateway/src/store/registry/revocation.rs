//! How devices end, and why.

use std::{fmt, str::FromStr};

use feldakte_core::ids::{IdError, OperatorName};

/// The end of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: i64,
    /// Why.
    pub reason: RevocationReason,
    /// By whom.
    pub by: OperatorName,
}

/// Why a device is taken no more. Numbers stand on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationReason {
    /// Nobody knows where it is.
    Lost = 1,
    /// Somebody has it who should not.
    Stolen = 2,
    /// Its key may be in other hands.
    KeyCompromised = 3,
    /// It was used for what it is not for.
    Misused = 4,
    /// Another device takes its place.
    Replaced = 5,
    /// It is needed no more.
    Retired = 6,
}

impl RevocationReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [RevocationReason; 6] = [
        RevocationReason::Lost,
        RevocationReason::Stolen,
        RevocationReason::KeyCompromised,
        RevocationReason::Misused,
        RevocationReason::Replaced,
        RevocationReason::Retired,
    ];

    /// The reason's name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            RevocationReason::Lost => "lost",
            RevocationReason::Stolen => "stolen",
            RevocationReason::KeyCompromised => "key-compromised",
            RevocationReason::Misused => "misused",
            RevocationReason::Replaced => "replaced",
            RevocationReason::Retired => "retired",
        }
    }

    pub(super) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as i64 == number)
    }
}

impl FromStr for RevocationReason {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let why = "must be lost, stolen, key-compromised, misused, replaced or retired";
        Self::ALL.into_iter().find(|reason| reason.name() == text).ok_or(IdError { what: "reason", why })
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! Users whom the device checks itself: a PIN instead of a token, for crews who start their shift without a network.
//!
//! A PIN has few values, so it is guarded by how often it may be tried: after [`FREE_TRIES`] wrong ones every further try
//! has to wait, longer each time. The wait is measured by time that the app has run: no clock shortens it, and a restart
//! begins it anew. The number of wrong tries is stored before a try is judged.

use std::{fmt, num::NonZeroU32, time::Duration};

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};

/// What a PIN is checked against. Never leaves the encrypted store.
#[derive(Clone, PartialEq, Eq)]
pub struct PinRecord {
    /// Random, of this user alone.
    pub salt: [u8; 16],
    /// PBKDF2-HMAC-SHA256 of the PIN.
    pub hash: [u8; 32],
    /// Wrong tries since the last right one, the one under way among them.
    pub wrong: u32,
}

/// Why a PIN is not taken as a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a PIN has at least {PIN_LEN_MIN} characters, and not all of them the same")]
pub struct WeakPin;

impl PinRecord {
    /// For a new PIN. Takes as long as a try does.
    ///
    /// # Errors
    /// When it is too easy.
    pub fn new(pin: &str, salt: [u8; 16]) -> Result<Self, WeakPin> {
        let first = pin.chars().next().ok_or(WeakPin)?;
        if pin.chars().count() < PIN_LEN_MIN || pin.chars().all(|digit| digit == first) {
            return Err(WeakPin);
        }
        let mut hash = [0; 32];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, &salt, pin.as_bytes(), &mut hash);
        Ok(Self { salt, hash, wrong: 0 })
    }

    /// Whether it is that one. Takes a moment on purpose.
    pub fn is(&self, pin: &str) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA256, ROUNDS, &self.salt, pin.as_bytes(), &self.hash).is_ok()
    }

    /// How long the app must have run since the last wrong try, or since it was started, before the next one.
    pub fn wait(&self) -> Duration {
        match self.wrong.checked_sub(FREE_TRIES) {
            None => Duration::ZERO,
            Some(more) => WAIT.saturating_mul(1 << more.min(20)).min(WAIT_MAX),
        }
    }
}

impl fmt::Debug for PinRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinRecord({} wrong)", self.wrong)
    }
}

/// Characters a PIN has at least.
pub const PIN_LEN_MIN: usize = 6;
/// Wrong tries before the first wait.
pub const FREE_TRIES: u32 = 5;
/// The first wait; doubled with every further wrong try.
const WAIT: Duration = Duration::from_secs(30);
/// About a hundred tries a day: ten years for a tenth of all PINs of six digits.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// A fifth of a second on a tablet.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_itself_and_nothing_else() {
        let record = PinRecord::new("493817", [1; 16]).unwrap();
        assert!(record.is("493817"));
        for other in ["493818", "", "4938170", "49381"] {
            assert!(!record.is(other));
        }
        assert_ne!(record.hash, PinRecord::new("493817", [2; 16]).unwrap().hash, "the salt counts");
        assert_eq!(format!("{record:?}"), "PinRecord(0 wrong)");
    }

    #[test]
    fn easy_pins_are_not_taken() {
        for easy in ["", "1", "12345", "111111", "ääääää"] {
            assert_eq!(PinRecord::new(easy, [1; 16]), Err(WeakPin), "{easy}");
        }
    }

    #[test]
    fn waits_grow_after_five_wrong_tries() {
        let wait = |wrong| PinRecord { salt: [0; 16], hash: [0; 32], wrong }.wait().as_secs();
        assert_eq!([0, 4, 5, 6, 7, 9, 10, 1_000, u32::MAX].map(wait), [0, 0, 30, 60, 120, 480, 900, 900, 900]);
    }
}

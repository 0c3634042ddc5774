//! How the gateway ends a session: a code, and with [`CloseCode::Busy`] when to come back.
//!
//! What a device makes of it is bounded here: no gateway can silence a device for good.

use std::time::Duration;

use feldakte_core::limits;

use crate::error::CloseCode;

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub code: CloseCode,
    /// How long the device is to stay away; never more than [`limits::RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
}

impl Close {
    /// Too much is going on; there will be room after so long.
    pub fn busy(retry_after: Duration) -> Self {
        Self { code: CloseCode::Busy, retry_after: Some(bounded(retry_after)) }
    }

    /// What travels beside the code: milliseconds in digits, or nothing.
    pub fn reason(&self) -> String {
        self.retry_after.map(|after| after.as_millis().to_string()).unwrap_or_default()
    }

    /// From the wire. A code that a later version added counts as [`CloseCode::Protocol`], a reason that is anything but
    /// digits as none.
    pub fn read(number: u64, reason: &[u8]) -> Self {
        let code = CloseCode::from_number(number).unwrap_or(CloseCode::Protocol);
        let retry_after = (code == CloseCode::Busy).then(|| milliseconds(reason)).flatten();
        Self { code, retry_after: retry_after.map(bounded) }
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self { code, retry_after: None }
    }
}

fn milliseconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_millis)
}

/// In whole milliseconds, as they travel.
fn bounded(retry_after: Duration) -> Duration {
    let retry_after = retry_after.min(limits::RETRY_AFTER_MAX);
    Duration::from_millis(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX))
}

/// Ten digits are four months, which is cut to [`limits::RETRY_AFTER_MAX`] all the same.
const DIGITS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_survives_the_wire() {
        for ms in [0, 1, 999, 1_500, 60_000] {
            let busy = Close::busy(Duration::from_millis(ms));
            assert_eq!(Close::read(CloseCode::Busy as u64, busy.reason().as_bytes()), busy);
        }
        assert_eq!(Close::from(CloseCode::Draining).reason(), "");
    }

    #[test]
    fn nobody_is_told_to_stay_away_for_long() {
        let most = Some(limits::RETRY_AFTER_MAX);
        assert_eq!(Close::read(13, b"9999999999").retry_after, most);
        assert_eq!(Close::busy(Duration::MAX).retry_after, most);
    }

    #[test]
    fn a_reason_that_is_not_digits_is_none() {
        let malformed: [&[u8]; 8] = [b"", b"+5", b"-5", b" 5", b"5 ", b"0x5", b"99999999999", &[0xff; 4]];
        for reason in malformed {
            assert_eq!(Close::read(13, reason), CloseCode::Busy.into(), "{reason:?}");
        }
        assert_eq!(Close::read(7, b"5000"), CloseCode::Draining.into(), "only who is busy says when");
        assert_eq!(Close::read(4_000, b"5000"), CloseCode::Protocol.into());
    }
}

//! The time a device writes into its changes. Never used for order.
//!
//! automerge keeps whole seconds; the rest stands in the change's message, as `MILLISECONDS` or
//! `MILLISECONDS OFFSET`, in decimal.

/// When a device made a change, by its own clock, and how wrong that clock was known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The device's clock, milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// Gateway clock minus device clock, milliseconds; `None` when it had never been measured.
    pub clock_offset_ms: Option<i64>,
}

impl Stamp {
    /// Of a clock whose offset is not known.
    pub fn at(time_ms: i64) -> Self {
        Self { time_ms, clock_offset_ms: None }
    }

    pub(super) fn seconds(self) -> i64 {
        self.time_ms.div_euclid(1000)
    }

    /// What the seconds leave out; `None` when that is nothing.
    pub(super) fn message(self) -> Option<String> {
        match (self.time_ms.rem_euclid(1000), self.clock_offset_ms) {
            (0, None) => None,
            (rest, None) => Some(rest.to_string()),
            (rest, Some(offset)) => Some(format!("{rest} {offset}")),
        }
    }

    /// What a change says. A message of another kind is no time, and the seconds count.
    pub(super) fn of(seconds: i64, message: Option<&str>) -> Self {
        let mut words = message.unwrap_or_default().split(' ');
        let rest = words.next().and_then(|word| word.parse().ok()).filter(|rest| (0..1000).contains(rest));
        let offset = words.next().and_then(|word| word.parse().ok());
        let time_ms = seconds.saturating_mul(1000).saturating_add(rest.unwrap_or(0));
        Self { time_ms, clock_offset_ms: rest.and(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_round_trip_and_other_messages_are_no_times() {
        for time_ms in [0, 1, 999, 1_000, -1, -999, -1_001, 1_760_000_000_123] {
            for clock_offset_ms in [None, Some(0), Some(-37), Some(86_400_000)] {
                let stamp = Stamp { time_ms, clock_offset_ms };
                assert_eq!(Stamp::of(stamp.seconds(), stamp.message().as_deref()), stamp);
            }
        }
        for message in [None, Some(""), Some("fix typo"), Some("1000 3"), Some("-1")] {
            assert_eq!(Stamp::of(7, message), Stamp::at(7_000), "{message:?}");
        }
        assert_eq!(Stamp::of(i64::MAX, Some("5 x")).clock_offset_ms, None);
    }
}

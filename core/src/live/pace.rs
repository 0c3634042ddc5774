//! How much of a path live vitals take: never more than half of what it carries, so that orders and calls, which datagrams go
//! before, always find room.

use std::time::Duration;

/// How long nothing more is sent after `len` bytes, where `window` bytes may be under way for a time of `rtt` there and back.
pub fn pause(len: usize, window: u64, rtt: Duration) -> Duration {
    let share = (window / SHARE).max(1);
    let pause = rtt.as_nanos().saturating_mul(len as u128) / u128::from(share);
    Duration::from_nanos(u64::try_from(pause).unwrap_or(u64::MAX)).min(PAUSE_MAX)
}

/// One in so many bytes.
const SHARE: u64 = 2;
/// However bad the path: numbers once a second get through.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_a_path_carries_is_left_to_others() {
        // 300 kbit/s at 180 ms hold 6,750 bytes.
        let pause = pause(1_150, 6_750, Duration::from_millis(180));
        let bits_a_second = 1_150.0 * 8.0 / pause.as_secs_f64();
        assert!((149_000.0..151_000.0).contains(&bits_a_second), "{bits_a_second}");
    }

    #[test]
    fn nothing_waits_longer_than_a_second() {
        assert_eq!(pause(1_150, 0, Duration::from_secs(9)), Duration::from_secs(1));
        assert_eq!(pause(usize::MAX, u64::MAX, Duration::MAX), Duration::from_secs(1));
        assert_eq!(pause(1_150, 12_000, Duration::ZERO), Duration::ZERO);
    }
}

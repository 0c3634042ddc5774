//! How late it is, by the gateway's clock, whatever anybody does to the device's.
//!
//! Time never goes back: rolled back, the device's clock stands still here while the device is off and runs on while it
//! is on, or sleeps. Rolled forward it counts at most once until the gateway is heard of again, which puts it right.

use std::time::Duration;

use crate::store::ClockState;

/// Time since the last contact.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    state: ClockState,
    /// The uptime when `state` was true.
    read_at: Duration,
}

impl Clock {
    /// As it was kept in the store.
    pub(super) fn restored(state: ClockState, uptime: Duration) -> Self {
        Self { state, read_at: uptime }
    }

    /// The gateway has told the time.
    pub(super) fn told(server_ms: i64, device_ms: i64, uptime: Duration) -> Self {
        let offset_ms = server_ms.saturating_sub(device_ms);
        Self { state: ClockState { offset_ms, contact_ms: server_ms, high_ms: server_ms }, read_at: uptime }
    }

    /// Looks at the device's clock.
    pub(super) fn advance(&mut self, device_ms: i64, uptime: Duration) {
        let shown = device_ms.saturating_add(self.state.offset_ms);
        let passed = uptime.saturating_sub(self.read_at).as_millis();
        let passed = self.state.high_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        self.state.high_ms = shown.max(passed);
        self.read_at = uptime;
    }

    /// The gateway is being heard of.
    pub(super) fn contact(&mut self) {
        self.state.contact_ms = self.state.high_ms;
    }

    /// How long the gateway has not been heard of.
    pub(super) fn silence(&self) -> Duration {
        Duration::from_millis(self.state.high_ms.saturating_sub(self.state.contact_ms).try_into().unwrap_or(0))
    }

    /// For the store.
    pub(super) fn state(&self) -> ClockState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    /// The device's clock is wrong by a day from the start.
    fn told() -> (Clock, Duration) {
        let now = Duration::from_secs(17);
        (Clock::told(100 * DAY_MS, 99 * DAY_MS, now), now)
    }

    fn hours(clock: &Clock) -> u64 {
        clock.silence().as_secs() / 3_600
    }

    #[test]
    fn time_passes_with_the_devices_clock_while_it_is_off() {
        let (clock, now) = told();
        let mut clock = Clock::restored(clock.state(), now);
        clock.advance(99 * DAY_MS + 5 * HOUR_MS, now);
        assert_eq!(hours(&clock), 5);
        clock.contact();
        assert_eq!(hours(&clock), 0);
    }

    #[test]
    fn a_clock_rolled_back_by_24_hours_stops_no_timer() {
        let (mut clock, now) = told();
        clock.advance(99 * DAY_MS + 5 * HOUR_MS, now);
        clock.advance(98 * DAY_MS + 5 * HOUR_MS, now);
        assert_eq!(hours(&clock), 5, "nothing is taken back");
        clock.advance(98 * DAY_MS + 6 * HOUR_MS, now + Duration::from_secs(3_600));
        assert_eq!(hours(&clock), 6, "and it runs on");
        let mut clock = Clock::restored(clock.state(), now);
        clock.advance(98 * DAY_MS, now);
        assert_eq!(hours(&clock), 6, "after a restart, too");
    }

    #[test]
    fn a_clock_rolled_forward_by_24_hours_counts_once_until_the_gateway_is_heard_of() {
        let (mut clock, now) = told();
        for _ in 0..5 {
            clock.advance(100 * DAY_MS, now);
            clock.advance(99 * DAY_MS, now);
        }
        assert_eq!(hours(&clock), 24);
        let mut clock = Clock::told(100 * DAY_MS + HOUR_MS, 100 * DAY_MS + HOUR_MS, now);
        clock.advance(100 * DAY_MS + 3 * HOUR_MS, now);
        assert_eq!(hours(&clock), 2, "and is put right then");
    }

    #[test]
    fn absurd_clocks_do_no_harm() {
        for (server, device) in [(i64::MAX, i64::MIN), (i64::MIN, i64::MAX), (0, 0)] {
            let mut clock = Clock::told(server, device, Duration::ZERO);
            clock.advance(i64::MAX, Duration::MAX);
            clock.advance(i64::MIN, Duration::ZERO);
            let _ = clock.silence();
        }
    }
}

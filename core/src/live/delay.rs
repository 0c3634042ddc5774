//! How much longer than the shortest time something was on its way, by two clocks of which neither is set by the other.

/// The least difference between the clocks, over the last minutes.
#[derive(Debug, Default)]
pub(super) struct Delay {
    since_ms: u64,
    least: Option<i64>,
    least_before: Option<i64>,
}

impl Delay {
    /// Something sent at `sent_ms` by the one clock has come at `now_ms` by the other: how many milliseconds later than the
    /// quickest.
    pub(super) fn note(&mut self, now_ms: u64, sent_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.since_ms) > LOOK_BACK_MS {
            self.since_ms = now_ms;
            self.least_before = self.least.take();
        }
        let difference = now_ms.wrapping_sub(sent_ms) as i64;
        self.least = Some(self.least.map_or(difference, |least| least.min(difference)));
        let least = self.least.into_iter().chain(self.least_before).min().unwrap_or(difference);
        difference.saturating_sub(least) as u64
    }
}

/// Two clocks of 50 ppm each go apart by 30 ms in it; a path that stays worse for longer counts as the way it is.
const LOOK_BACK_MS: u64 = 5 * 60 * 1_000;

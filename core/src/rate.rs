//! How much somebody may use of something: an amount at once, and as much again over a time.
//!
//! Whoever takes more than is left goes into debt, and waits until it is paid: what was taken is never thrown away.

use std::time::Duration;

/// So much at once, refilled evenly over that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much there is when nothing has been taken for as long as `every`.
    pub amount: u64,
    /// How long it takes to have all of it back.
    pub every: Duration,
}

/// What has been taken of a rate. Times are those since a moment that the caller keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// When all of it will be back.
    whole_at: Duration,
}

impl Taken {
    /// Takes `count` at `now`, whether there is so much or not.
    pub fn take(&mut self, rate: Rate, count: u64, now: Duration) {
        let took = rate.every.as_nanos().saturating_mul(count.into()) / u128::from(rate.amount.max(1));
        let took = Duration::from_nanos(u64::try_from(took).unwrap_or(u64::MAX));
        self.whole_at = self.whole_at.max(now).saturating_add(took);
    }

    /// Takes `count` at `now` when something is left; false when nothing is.
    pub fn try_take(&mut self, rate: Rate, count: u64, now: Duration) -> bool {
        let is_left = self.wait(rate, now).is_zero();
        if is_left {
            self.take(rate, count, now);
        }
        is_left
    }

    /// How long from `now` until something is left; zero when something is.
    pub fn wait(&self, rate: Rate, now: Duration) -> Duration {
        // Of an amount of one, the last one is back only when all is.
        self.whole_at.saturating_sub(now.saturating_add(rate.every - rate.every / one_of(rate)))
    }

    /// Whether nothing is missing any more, so that it can be forgotten.
    pub fn is_whole(&self, now: Duration) -> bool {
        self.whole_at <= now
    }

    /// Whether more than one in `parts` is missing.
    pub fn exceeds_part(&self, rate: Rate, parts: u32, now: Duration) -> bool {
        self.whole_at.saturating_sub(now) > rate.every / parts.max(1)
    }
}

/// How many there are, as far as a `Duration` can be divided.
fn one_of(rate: Rate) -> u32 {
    u32::try_from(rate.amount.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TEN_A_SECOND: Rate = Rate { amount: 10, every: SECOND };

    #[test]
    fn the_amount_is_there_at_once_and_comes_back_evenly() {
        let mut taken = Taken::default();
        for count in 0..10 {
            assert_eq!(taken.wait(TEN_A_SECOND, Duration::ZERO), Duration::ZERO, "{count} taken");
            taken.take(TEN_A_SECOND, 1, Duration::ZERO);
        }
        assert_eq!(taken.wait(TEN_A_SECOND, Duration::ZERO), SECOND / 10);
        assert_eq!(taken.wait(TEN_A_SECOND, SECOND / 10), Duration::ZERO);
        assert!(!taken.is_whole(SECOND - Duration::from_nanos(1)) && taken.is_whole(SECOND));
    }

    #[test]
    fn debt_is_paid_before_anything_is_left() {
        let mut taken = Taken::default();
        taken.take(TEN_A_SECOND, 30, Duration::ZERO);
        assert_eq!(taken.wait(TEN_A_SECOND, Duration::ZERO), SECOND * 21 / 10);
    }

    #[test]
    fn parts_of_an_amount_are_told() {
        let mut taken = Taken::default();
        taken.take(TEN_A_SECOND, 5, Duration::ZERO);
        assert!(!taken.exceeds_part(TEN_A_SECOND, 2, Duration::ZERO));
        taken.take(TEN_A_SECOND, 1, Duration::ZERO);
        assert!(taken.exceeds_part(TEN_A_SECOND, 2, Duration::ZERO));
        assert!(!taken.exceeds_part(TEN_A_SECOND, 2, SECOND / 10));
    }

    proptest! {
        #[test]
        fn whoever_waits_gets_no_more_than_the_amount_and_what_came_back(
            amount in 1_u64..1 << 40, every in 1_u64..100_000, counts in prop::collection::vec(0_u64..1 << 22, 1..50),
        ) {
            let rate = Rate { amount, every: Duration::from_secs(every) };
            let (mut taken, mut now, mut sum) = (Taken::default(), Duration::ZERO, 0_u128);
            for count in &counts {
                now += taken.wait(rate, now);
                sum += u128::from(*count);
                taken.take(rate, *count, now);
            }
            let came_back = now.as_nanos() * u128::from(amount) / rate.every.as_nanos();
            // The last one was taken on credit; each step rounds down by less than a nanosecond's worth.
            let rounding = (counts.len() as u128 + 1) * (1 + u128::from(amount) / rate.every.as_nanos());
            prop_assert!(sum <= u128::from(amount) + came_back + u128::from(*counts.last().unwrap()) + rounding);
        }

        #[test]
        fn nothing_overflows(amount: u64, every: u64, count: u64, now: u64) {
            let (rate, now) = (Rate { amount, every: Duration::from_secs(every) }, Duration::from_secs(now));
            let mut taken = Taken::default();
            taken.take(rate, count, now);
            taken.take(rate, u64::MAX, now);
            let _ = (taken.wait(rate, now), taken.is_whole(now), taken.exceeds_part(rate, 0, now));
        }
    }
}

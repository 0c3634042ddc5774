//! What round-trip times tell: the path without a queue, and how much of the delay is queue.
//!
//! Like Copa, the least of the last half round trip stands for the delay, because jitter and acknowledgements in bunches
//! only ever add to it. Unlike Copa, the base is not the least sample of ten seconds: on a path that jitters, one lucky
//! sample would make everything after it look like a queue. It is what a drain has shown, and follows single round trips that
//! were shorter slowly; and the target is longer by what the delay varies by without our doing.

use std::{collections::VecDeque, time::Duration};

/// Round-trip times of a path.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    latest: Duration,
    smoothed: Duration,
    standing: Duration,
    mean: Duration,
    base: Duration,
    /// Of the round trips of the last round.
    average: Duration,
    noise: Duration,
    lows: Extremes,
    peaks: Extremes,
    round: Sum,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u32,
    standing: Duration,
    rtt: Duration,
    off: Duration,
}

impl Delays {
    /// A packet took so long.
    pub fn on_sample(&mut self, now: Duration, rtt: Duration) {
        let rtt = rtt.clamp(RTT_MIN, RTT_MAX);
        if self.smoothed.is_zero() {
            (self.smoothed, self.base) = (rtt, rtt);
            (self.mean, self.average) = (rtt, rtt);
        }
        self.latest = rtt;
        self.round.rtt += rtt;
        self.round.off += rtt.abs_diff(self.average);
        self.smoothed = (self.smoothed * 7 + rtt) / 8;
        self.standing = self.lows.push(now, rtt, self.smoothed / 2, |old, new| old >= new);
        self.peaks.push(now, rtt, self.smoothed * PEAK_ROUNDS, |old, new| old <= new);
        self.round.count += 1;
        self.round.standing += self.standing;
    }

    /// A round trip is over; while the window doubles, what varies is its own doing.
    pub fn end_round(&mut self, doubles: bool) {
        let Sum { count, standing, rtt, off } = std::mem::take(&mut self.round);
        if count == 0 {
            return;
        }
        self.mean = standing / count;
        self.average = rtt / count;
        // The first acknowledgement may have been lost, and what it was for acknowledged late.
        let fall = if doubles { 1.0 } else { FALL };
        self.base -= self.base.saturating_sub(self.mean).mul_f64(fall);
        if !doubles {
            let unexplained = (off / count).saturating_sub(OWN).mul_f64(NOISE);
            self.noise = ((self.noise * 7 + unexplained) / 8).min(self.base / 3);
        }
    }

    /// The path without a queue takes so long, from here on.
    pub fn rebase(&mut self, base: Duration) {
        self.base = base.max(RTT_MIN);
    }

    /// Of the last packet.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// Over the last packets (RFC 6298).
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The least of the last half round trip.
    pub fn standing(&self) -> Duration {
        self.standing
    }

    /// Of the standing delay, over the last round trip.
    pub fn mean(&self) -> Duration {
        self.mean
    }

    /// The path without a queue.
    pub fn base(&self) -> Duration {
        self.base
    }

    /// What the delay varies by within a round trip, and the queue does not cause.
    pub fn noise(&self) -> Duration {
        self.noise
    }

    /// The part of the delay that is queue.
    pub fn queueing(&self) -> Duration {
        self.standing.saturating_sub(self.base)
    }

    /// The same as a share of the delay.
    pub fn queue_share(&self) -> f64 {
        self.queueing().as_secs_f64() / self.standing.max(RTT_MIN).as_secs_f64()
    }

    /// How far above the base the delay has been lately.
    pub fn swing(&self) -> Duration {
        self.peaks.first().saturating_sub(self.base)
    }
}

/// The least or greatest of a sliding span of time. Granules of a sixteenth of it bound what is kept.
#[derive(Debug, Clone, Default)]
struct Extremes {
    kept: VecDeque<(Duration, Duration)>,
}

impl Extremes {
    fn push(
        &mut self,
        now: Duration,
        value: Duration,
        span: Duration,
        gives_way: fn(Duration, Duration) -> bool,
    ) -> Duration {
        while self.kept.back().is_some_and(|(_, old)| gives_way(*old, value)) {
            self.kept.pop_back();
        }
        if self.kept.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= span / 16) {
            self.kept.push_back((now, value));
        }
        while self.kept.len() > 1 && self.kept.front().is_some_and(|(at, _)| now.saturating_sub(*at) > span) {
            self.kept.pop_front();
        }
        self.first()
    }

    fn first(&self) -> Duration {
        self.kept.front().map_or(Duration::ZERO, |(_, value)| *value)
    }
}

/// Of what a round trip was shorter than the base: half of it within ten.
const FALL: f64 = 0.07;
/// Of the mean deviation from the round trip before.
const NOISE: f64 = 1.0;
/// What the window's own swing and acknowledgements in pairs make of it.
const OWN: Duration = Duration::from_millis(4);
/// A full swing around the target takes five.
const PEAK_ROUNDS: u32 = 8;
const RTT_MIN: Duration = Duration::from_micros(10);
/// Beyond it a path is as good as dead.
const RTT_MAX: Duration = Duration::from_secs(60);

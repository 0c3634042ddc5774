//! The part of a link's delay that varies.

use std::time::{Duration, Instant};

use rand::{Rng, rngs::StdRng};

/// How the delay varies on top of its fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// As a function of time between zero and this. Packets keep their order, and a sender sees the same delays
    /// whether it sends much or little.
    Wave(Duration),
    /// Each packet on its own, between zero and this: packets overtake each other.
    Scatter(Duration),
}

/// The delays of one direction.
#[derive(Debug)]
pub struct Jitters {
    rng: StdRng,
    from: f64,
    to: f64,
    since: Instant,
}

impl Jitters {
    /// Delays that follow from this randomness and the moments at which packets pass.
    pub fn new(mut rng: StdRng, now: Instant) -> Self {
        let (from, to) = (rng.random(), rng.random());
        Self { rng, from, to, since: now }
    }

    /// What the packet that passes at this moment is delayed by.
    pub fn at(&mut self, jitter: Jitter, now: Instant) -> Duration {
        match jitter {
            Jitter::None => Duration::ZERO,
            Jitter::Scatter(span) => span.mul_f64(self.rng.random()),
            Jitter::Wave(span) if span.is_zero() => Duration::ZERO,
            Jitter::Wave(span) => span.mul_f64(self.wave(span, now)),
        }
    }

    /// A share of the span, on straight lines between draws that lie one span apart: fast enough to be felt within a
    /// round trip, and no faster than time itself, so that nothing overtakes.
    fn wave(&mut self, span: Duration, now: Instant) -> f64 {
        let mut age = now.saturating_duration_since(self.since).div_duration_f64(span);
        if age >= 1.0 {
            // Where a line ends that nobody has seen does not matter; that it ends where the next begins does.
            let is_adjacent = age < 2.0;
            self.from = if is_adjacent { self.to } else { self.rng.random() };
            self.to = self.rng.random();
            self.since = if is_adjacent { self.since + span } else { now };
            age = now.saturating_duration_since(self.since).div_duration_f64(span);
        }
        self.from + (self.to - self.from) * age.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SPAN: Duration = Duration::from_millis(40);

    fn delays(jitter: Jitter, apart: Duration) -> Vec<(Instant, Duration)> {
        let start = Instant::now();
        let mut jitters = Jitters::new(StdRng::seed_from_u64(3), start);
        (0..20_000).map(|n| start + apart * n).map(|at| (at, jitters.at(jitter, at))).collect()
    }

    fn mean(delays: &[(Instant, Duration)]) -> Duration {
        delays.iter().map(|(_, delay)| *delay).sum::<Duration>() / delays.len() as u32
    }

    #[test]
    fn a_wave_keeps_the_order_and_uses_its_span() {
        let delays = delays(Jitter::Wave(SPAN), Duration::from_micros(900));
        assert!(delays.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0 + pair[1].1));
        let all: Vec<_> = delays.iter().map(|(_, delay)| *delay).collect();
        assert!(*all.iter().min().unwrap() < SPAN / 20 && *all.iter().max().unwrap() > SPAN * 19 / 20);
    }

    #[test]
    fn a_wave_delays_by_half_its_span_however_often_one_looks() {
        for apart in [Duration::from_micros(900), Duration::from_millis(25), Duration::from_millis(500)] {
            let mean = mean(&delays(Jitter::Wave(SPAN), apart));
            assert!(mean.abs_diff(SPAN / 2) < SPAN / 20, "{mean:?} with a packet every {apart:?}");
        }
    }

    #[test]
    fn scattered_packets_overtake() {
        let delays = delays(Jitter::Scatter(SPAN), Duration::from_micros(900));
        assert!(delays.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0 + pair[1].1));
        assert!(mean(&delays).abs_diff(SPAN / 2) < SPAN / 20);
    }
}

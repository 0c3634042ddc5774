//! One direction of an emulated link: what becomes of a packet that is sent into it.
//!
//! Time comes in as an argument; nothing here waits or moves bytes. What is lost follows from seed, count and moment of
//! the packets, whatever the other direction does.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    conditions::Path,
    jitter::{Jitter, Jitters},
    loss::Losses,
};

/// One direction.
#[derive(Debug)]
pub struct Channel {
    losses: Losses,
    jitters: Jitters,
    /// When the last bit of what waits has been sent.
    free_at: Instant,
    /// When the last packet arrives that keeps its place.
    last_arrival: Instant,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at that moment.
    Arrives(Instant),
    /// The air swallows it.
    Lost,
    /// The queue has no room for it.
    Dropped,
}

impl Channel {
    /// An idle one.
    pub fn new(seed: u64, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut part = || StdRng::seed_from_u64(rng.random());
        Self { losses: Losses::new(part(), now), jitters: Jitters::new(part(), now), free_at: now, last_arrival: now }
    }

    /// Takes a packet of that length that is sent now.
    pub fn take(&mut self, path: &Path, len: usize, now: Instant) -> Fate {
        let is_lost = self.losses.is_next_lost(path.loss, now);
        let start = self.free_at.max(now);
        if path.rate.is_some() && path.sends_within(start - now) + len > path.queue {
            return Fate::Dropped;
        }
        self.free_at = start + path.occupies(len);
        if is_lost {
            return Fate::Lost;
        }
        Fate::Arrives(self.arrival(path))
    }

    /// When what is sent by `free_at` arrives.
    fn arrival(&mut self, path: &Path) -> Instant {
        let arrival = self.free_at + path.delay + self.jitters.at(path.jitter, self.free_at);
        if matches!(path.jitter, Jitter::Scatter(_)) {
            return arrival;
        }
        // A delay that was shortened at run time lets nothing overtake either.
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    /// How long a packet sent now would wait for those before it.
    pub fn backlog(&self, now: Instant) -> Duration {
        self.free_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::loss::Loss, *};

    const MS: Duration = Duration::from_millis(1);
    /// One kilobyte takes a millisecond.
    const RATED: Path =
        Path { delay: Duration::from_millis(30), rate: Some(8_000_000), queue: 10_000, ..Path::PERFECT };

    fn idle() -> (Channel, Instant) {
        let now = Instant::now();
        (Channel::new(1, now), now)
    }

    #[test]
    fn packets_leave_one_after_the_other_at_the_links_rate() {
        let (mut channel, now) = idle();
        for n in 1..=5 {
            assert_eq!(channel.take(&RATED, 1_000, now), Fate::Arrives(now + n * MS + RATED.delay));
        }
        assert_eq!(channel.backlog(now), 5 * MS);
        let later = now + 100 * MS;
        assert_eq!(channel.take(&RATED, 500, later), Fate::Arrives(later + MS / 2 + RATED.delay));
    }

    #[test]
    fn a_full_queue_drops_what_comes_and_has_room_again_when_it_drains() {
        let (mut channel, now) = idle();
        let fates: Vec<_> = (0..20).map(|_| channel.take(&RATED, 1_000, now)).collect();
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Dropped).count(), 10);
        assert!(fates[..10].iter().all(|fate| matches!(fate, Fate::Arrives(_))));
        assert!(matches!(channel.take(&RATED, 1_000, now + MS), Fate::Arrives(_)));
        assert_eq!(channel.take(&RATED, 1_000, now + MS), Fate::Dropped);
    }

    #[test]
    fn what_is_lost_has_used_the_link() {
        let (mut channel, now) = idle();
        let lossy = Path { loss: Loss::Random(1.0), ..RATED };
        assert_eq!(channel.take(&lossy, 1_000, now), Fate::Lost);
        assert_eq!(channel.take(&RATED, 1_000, now), Fate::Arrives(now + 2 * MS + RATED.delay));
    }

    #[test]
    fn a_shorter_delay_lets_nothing_overtake() {
        let (mut channel, now) = idle();
        let Fate::Arrives(before) = channel.take(&RATED, 100, now) else { panic!("it has room") };
        let near = Path { delay: Duration::ZERO, ..RATED };
        assert_eq!(channel.take(&near, 100, now), Fate::Arrives(before));
    }
}

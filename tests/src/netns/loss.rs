//! Which packets the air swallows: each on its own, several in a row, or all for a moment.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// How packets are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None is.
    None,
    /// Each on its own, with this probability.
    Random(f64),
    /// In bursts that are counted in packets: the Gilbert-Elliott model with nothing lost in the good state and
    /// everything in the bad one.
    Bursty {
        /// Share of all packets that is lost.
        share: f64,
        /// How many packets in a row are lost on average.
        burst: f64,
    },
    /// In bursts that are counted in time: the same model, and a fade ends whether anything is sent or not. Who sends
    /// little loses no more in a row than who sends much.
    Fading {
        /// Share of the time, and so of all packets; between 0 and 1, neither included.
        share: f64,
        /// How long a fade is on average.
        fade: Duration,
    },
}

/// The fates of one direction's packets, one after the other.
#[derive(Debug)]
pub struct Losses {
    rng: StdRng,
    fades: Fades,
    is_bad: bool,
}

/// Fades, as they follow each other in time.
#[derive(Debug)]
struct Fades {
    rng: StdRng,
    is_fading: bool,
    until: Instant,
}

impl Losses {
    /// Fates that follow from this randomness alone.
    pub fn new(mut rng: StdRng, now: Instant) -> Self {
        let fades = Fades { rng: StdRng::seed_from_u64(rng.random()), is_fading: true, until: now };
        Self { rng, fades, is_bad: false }
    }

    /// Whether the packet that is sent at that moment is lost. Draws once, whatever the model: a change of it shifts no
    /// later draw.
    pub fn is_next_lost(&mut self, loss: Loss, now: Instant) -> bool {
        let draw: f64 = self.rng.random();
        self.is_bad = match loss {
            Loss::None => false,
            Loss::Random(share) => draw < share,
            Loss::Bursty { burst, .. } if self.is_bad => draw >= 1.0 / burst,
            Loss::Bursty { share, burst } => draw < share / (burst * (1.0 - share)),
            Loss::Fading { share, fade } => self.fades.is_fading_at(now, share, fade),
        };
        self.is_bad
    }
}

impl Fades {
    fn is_fading_at(&mut self, now: Instant, share: f64, fade: Duration) -> bool {
        while self.until <= now {
            self.is_fading = !self.is_fading;
            let mean = if self.is_fading { fade } else { fade.mul_f64((1.0 - share) / share) };
            // Exponential: how long it has lasted says nothing about how long it will.
            self.until += mean.mul_f64(-f64::ln(1.0 - self.rng.random::<f64>()));
        }
        self.is_fading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: usize = 400_000;
    const MS: Duration = Duration::from_millis(1);

    /// Of packets that are sent that far apart.
    fn fates(seed: u64, loss: Loss, apart: Duration) -> impl Iterator<Item = bool> {
        let mut now = Instant::now();
        let mut losses = Losses::new(StdRng::seed_from_u64(seed), now);
        std::iter::from_fn(move || {
            now += apart;
            Some(losses.is_next_lost(loss, now))
        })
    }

    /// Share of packets lost, and how many are lost in a row on average.
    fn measured(loss: Loss, apart: Duration) -> (f64, f64) {
        let fates: Vec<bool> = fates(7, loss, apart).take(PACKETS).collect();
        let lost = fates.iter().filter(|is_lost| **is_lost).count() as f64;
        let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        (lost / PACKETS as f64, lost / bursts)
    }

    #[test]
    fn losses_on_their_own_have_their_share() {
        let (share, burst) = measured(Loss::Random(0.03), MS);
        assert!((share - 0.03).abs() < 0.001, "{share}");
        assert!((burst - 1.03).abs() < 0.02, "{burst}");
        assert_eq!(measured(Loss::None, MS).0, 0.0);
    }

    #[test]
    fn bursts_have_the_same_share_and_their_length() {
        for share in [0.01, 0.03] {
            let (found, burst) = measured(Loss::Bursty { share, burst: 5.0 }, MS);
            assert!((found - share).abs() < share / 10.0, "{found}");
            assert!((burst - 5.0).abs() < 0.6, "{burst}");
        }
    }

    #[test]
    fn fades_have_their_share_and_end_for_those_who_send_little_too() {
        let loss = Loss::Fading { share: 0.03, fade: 40 * MS };
        let (share, burst) = measured(loss, MS);
        assert!((share - 0.03).abs() < 0.006, "{share}");
        assert!((burst - 40.0).abs() < 8.0, "{burst}");
        let (share, burst) = measured(loss, 300 * MS);
        assert!((share - 0.03).abs() < 0.003, "{share}");
        assert!(burst < 1.1, "{burst}");
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        for loss in [Loss::Random(0.3), Loss::Fading { share: 0.3, fade: 3 * MS }] {
            let lost = |seed| fates(seed, loss, MS).take(1_000).collect::<Vec<_>>();
            assert_eq!(lost(1), lost(1));
            assert_ne!(lost(1), lost(2));
        }
    }
}

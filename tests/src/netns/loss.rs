//! Which packets the air swallows: each on its own, or several in a row.

use rand::{Rng, rngs::StdRng};

/// How packets are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None is.
    None,
    /// Each on its own, with this probability.
    Random(f64),
    /// In bursts: the Gilbert-Elliott model with nothing lost in the good state and everything in the bad one.
    Bursty {
        /// Share of all packets that is lost.
        share: f64,
        /// How many packets in a row are lost on average.
        burst: f64,
    },
}

/// The fates of one direction's packets, one after the other.
#[derive(Debug)]
pub struct Losses {
    rng: StdRng,
    is_bad: bool,
}

impl Losses {
    /// Fates that follow from this randomness alone.
    pub fn new(rng: StdRng) -> Self {
        Self { rng, is_bad: false }
    }

    /// Whether the next packet is lost. Draws once, whatever the model: a change of it shifts no later draw.
    pub fn is_next_lost(&mut self, loss: Loss) -> bool {
        let draw: f64 = self.rng.random();
        self.is_bad = match loss {
            Loss::None => false,
            Loss::Random(share) => draw < share,
            Loss::Bursty { burst, .. } if self.is_bad => draw >= 1.0 / burst,
            Loss::Bursty { share, burst } => draw < share / (burst * (1.0 - share)),
        };
        self.is_bad
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const PACKETS: usize = 400_000;

    /// Share of packets lost, and how many are lost in a row on average.
    fn measured(loss: Loss) -> (f64, f64) {
        let mut losses = Losses::new(StdRng::seed_from_u64(7));
        let fates: Vec<bool> = (0..PACKETS).map(|_| losses.is_next_lost(loss)).collect();
        let lost = fates.iter().filter(|is_lost| **is_lost).count() as f64;
        let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        (lost / PACKETS as f64, lost / bursts)
    }

    #[test]
    fn losses_on_their_own_have_their_share() {
        let (share, burst) = measured(Loss::Random(0.03));
        assert!((share - 0.03).abs() < 0.001, "{share}");
        assert!((burst - 1.03).abs() < 0.02, "{burst}");
        assert_eq!(measured(Loss::None).0, 0.0);
    }

    #[test]
    fn bursts_have_the_same_share_and_their_length() {
        for share in [0.01, 0.03] {
            let (found, burst) = measured(Loss::Bursty { share, burst: 5.0 });
            assert!((found - share).abs() < share / 10.0, "{found}");
            assert!((burst - 5.0).abs() < 0.6, "{burst}");
        }
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let fates = |seed| {
            let mut losses = Losses::new(StdRng::seed_from_u64(seed));
            (0..1_000).map(|_| losses.is_next_lost(Loss::Random(0.3))).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }
}

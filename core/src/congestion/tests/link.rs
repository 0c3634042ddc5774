//! One direction of a link: a rate, a drop-tail queue, propagation, jitter that keeps the order, random loss.

use std::time::Duration;

/// What a link does to packets.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Bytes per second.
    pub rate: f64,
    /// Bytes that may wait; what comes beyond is dropped.
    pub queue: f64,
    /// Propagation, one way.
    pub delay: Duration,
    /// What the delay varies by.
    pub jitter: Jitter,
    /// Nothing waits, as at a policer: of what would have waited, the queue alone passes.
    pub polices: bool,
    /// How many in one are lost behind the queue, as on the air.
    pub loss: f64,
}

/// How the delay varies. Packets keep their order.
#[derive(Debug, Clone, Copy)]
pub enum Jitter {
    None,
    /// By itself, as a radio's does: on straight lines between draws that lie one span apart.
    Wave(Duration),
    /// Drawn for each packet; those behind wait for it.
    Packets(Duration),
}

/// A link with what waits in it.
#[derive(Debug)]
pub struct Link {
    pub spec: Spec,
    free_at: Duration,
    last_due: Duration,
    random: Random,
    seed: u64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// How long it waits before it is on the air.
    pub queued: Duration,
    /// When it arrives, if it does.
    pub due: Option<Duration>,
}

impl Link {
    pub fn new(spec: Spec, seed: u64) -> Self {
        Self { spec, free_at: Duration::ZERO, last_due: Duration::ZERO, random: Random(seed), seed }
    }

    /// Takes a packet at `now`; times must not go back.
    pub fn carry(&mut self, now: Duration, bytes: u64) -> Carried {
        let queued = self.free_at.saturating_sub(now);
        if queued.as_secs_f64() * self.spec.rate + bytes as f64 > self.spec.queue {
            return Carried { queued, due: None };
        }
        self.free_at = now + queued + Duration::from_secs_f64(bytes as f64 / self.spec.rate);
        let passes_at = if self.spec.polices { now } else { self.free_at };
        let jitter = self.jitter();
        if self.random.uniform() < self.spec.loss {
            return Carried { queued, due: None };
        }
        self.last_due = self.last_due.max(passes_at + self.spec.delay + jitter);
        Carried { queued, due: Some(self.last_due) }
    }
}

impl Link {
    fn jitter(&mut self) -> Duration {
        let draw = self.random.uniform();
        match self.spec.jitter {
            Jitter::None => Duration::ZERO,
            Jitter::Packets(span) => span.mul_f64(draw),
            Jitter::Wave(span) => span.mul_f64(self.wave(self.free_at.div_duration_f64(span))),
        }
    }

    fn wave(&self, at: f64) -> f64 {
        let draw = |n: f64| Random(self.seed ^ (n as u64) << 20).uniform();
        draw(at.floor()) * (1.0 - at.fract()) + draw(at.floor() + 1.0) * at.fract()
    }
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// In `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

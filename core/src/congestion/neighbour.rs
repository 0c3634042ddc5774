//! Somebody else who keeps the queue full: beside him we compete by loss, as he does.
//!
//! What we leave in the queue grows by a packet with each round trip and is halved by loss, as in Copa. A drain says whether
//! he is there; if it says so for long, it may be the path that has become longer.

use std::time::Duration;

use super::drain::Seen;

/// The neighbour, if there is one, and what is known of earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Neighbour {
    rival: Option<Rival>,
    /// What we held beside the last one, and until when he counts as never gone.
    past: Option<(f64, Duration)>,
}

/// What becomes of a queue that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was ours.
    Nobody,
    /// There is none: the path itself takes so long.
    LongerPath,
    /// Somebody keeps it full.
    Rival,
}

#[derive(Debug, Clone)]
struct Rival {
    queue_packets: f64,
    /// When we last gave way.
    halved_at: Duration,
    has_lost: bool,
    /// How the delay has varied since.
    watched_since: Duration,
    least: Duration,
    most: Duration,
}

impl Neighbour {
    /// Packets of ours that may wait in the queue, beside a neighbour.
    pub fn queue_packets(&self) -> Option<f64> {
        self.rival.as_ref().map(|rival| rival.queue_packets)
    }

    /// Packets are lost of which the last was sent then. What was sent before we gave way asks no more of us.
    pub fn on_loss(&mut self, now: Duration, sent: Duration) {
        let Some(rival) = &mut self.rival else { return };
        rival.has_lost = true;
        if sent >= rival.halved_at {
            rival.halved_at = now;
            rival.queue_packets = (rival.queue_packets / 2.0).max(QUEUE_MIN);
        }
    }

    /// A round trip is over; the delay stood so high in it, and packets were so far apart.
    pub fn end_round(&mut self, delay: Duration, spacing: Duration) {
        let Some(rival) = &mut self.rival else { return };
        (rival.least, rival.most) = (rival.least.min(delay), rival.most.max(delay));
        if std::mem::take(&mut rival.has_lost) {
            return;
        }
        let most = QUEUE_TIME_MAX.as_secs_f64() / spacing.as_secs_f64().max(SPACING_MIN);
        rival.queue_packets = (rival.queue_packets + 1.0).min(most.max(QUEUE_MIN));
    }

    /// A drain has left nothing of the queue.
    pub fn leave(&mut self, now: Duration) -> Verdict {
        self.give_up(now);
        Verdict::Nobody
    }

    /// A drain has left a queue.
    pub fn judge(&mut self, now: Duration, base: Duration, seen: Seen) -> Verdict {
        if self.rival.as_mut().is_some_and(|rival| rival.is_flat(now, base)) {
            self.give_up(now);
            return Verdict::LongerPath;
        }
        let held = self.past.filter(|(_, until)| now < *until).map_or(0.0, |(packets, _)| packets);
        self.rival.get_or_insert_with(|| Rival::new(now, seen.own_packets.max(held)));
        Verdict::Rival
    }

    fn give_up(&mut self, now: Duration) {
        if let Some(rival) = self.rival.take() {
            self.past = Some((rival.queue_packets, now.saturating_add(REMEMBERED)));
        }
    }
}

impl Rival {
    fn new(now: Duration, own_packets: f64) -> Self {
        Self {
            queue_packets: own_packets.max(QUEUE_MIN),
            halved_at: now,
            has_lost: false,
            watched_since: now,
            least: Duration::MAX,
            most: Duration::ZERO,
        }
    }

    /// Whether the delay stands still: whoever fills a buffer backs off when it overflows.
    fn is_flat(&mut self, now: Duration, base: Duration) -> bool {
        if now.saturating_sub(self.watched_since) < WATCH {
            return false;
        }
        let above = |delay: Duration| delay.saturating_sub(base).as_secs_f64();
        let is_flat = above(self.least) > above(self.most) * FLAT;
        (self.watched_since, self.least, self.most) = (now, Duration::MAX, Duration::ZERO);
        is_flat
    }
}

const QUEUE_MIN: f64 = 2.0;
/// Beside whoever lets more than this wait we give way: a small message waits behind both.
const QUEUE_TIME_MAX: Duration = Duration::from_millis(500);
/// Seconds.
const SPACING_MIN: f64 = 1e-4;
/// CUBIC at the speed of a radio comes back to a full buffer within so long.
const WATCH: Duration = Duration::from_secs(10);
/// CUBIC gives up 0.3 of its window: of a queue longer than the path itself, at least a fifth.
const FLAT: f64 = 0.8;
/// A neighbour who is found again within it was never gone.
const REMEMBERED: Duration = Duration::from_secs(30);

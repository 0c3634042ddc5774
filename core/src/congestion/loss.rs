//! Loss that no radio explains: a policer, or a buffer too short to show as delay.

use std::time::Duration;

/// Bytes that arrived and that did not.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    acked: u64,
    lost: u64,
    since: Duration,
    heavy_at: Option<Duration>,
}

impl Losses {
    /// So much has arrived.
    pub fn on_acked(&mut self, bytes: u64) {
        self.acked = self.acked.saturating_add(bytes);
    }

    /// So much has not.
    pub fn on_lost(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_add(bytes);
    }

    /// The share that was lost, if it is too much; asked after each round trip, it answers once enough was sent to tell.
    pub fn heavy(&mut self, now: Duration, packet: f64) -> Option<f64> {
        let sent = self.acked.saturating_add(self.lost) as f64;
        if sent < PACKETS * packet || now.saturating_sub(self.since) < SPAN {
            return None;
        }
        let heavy = Some(self.lost as f64 / sent).filter(|share| *share > SHARE);
        let heavy_at = if heavy.is_some() { Some(now) } else { self.heavy_at };
        *self = Self { since: now, heavy_at, ..Self::default() };
        heavy
    }

    /// Whether too much was lost lately.
    pub fn was_heavy(&self, now: Duration) -> bool {
        self.heavy_at.is_some_and(|at| now.saturating_sub(at) < LATELY)
    }
}

/// Radio loss comes in bursts: fewer would take one burst for a policer.
const PACKETS: f64 = 64.0;
/// Three times what the worst radio of the field loses.
const SHARE: f64 = 0.15;
const SPAN: Duration = Duration::from_millis(200);
/// A policer does not go away.
const LATELY: Duration = Duration::from_secs(10);

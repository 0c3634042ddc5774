//! The neighbour: CUBIC (RFC 9438), which fills whatever queue there is.

use std::time::Duration;

use super::flow::{MTU, Window};

#[derive(Debug, Clone)]
pub struct Cubic {
    window: f64,
    threshold: f64,
    peak: f64,
    reno: f64,
    reduced_at: Option<Duration>,
    rtt: Duration,
}

impl Cubic {
    pub fn new() -> Self {
        let window = 10.0 * MTU as f64;
        let rtt = Duration::from_millis(100);
        Self { window, threshold: f64::MAX, peak: window, reno: window, reduced_at: None, rtt }
    }

    /// What the window would be so long after the last reduction, in packets.
    fn curve(&self, since: Duration) -> f64 {
        let peak = self.peak / MTU as f64;
        let turn = (peak * (1.0 - BETA) / 0.4).cbrt();
        0.4 * (since.as_secs_f64() - turn).powi(3) + peak
    }
}

impl Window for Cubic {
    fn on_ack(&mut self, now: Duration, sent: Duration, bytes: u64, app_limited: bool) {
        self.rtt = (self.rtt * 7 + now.saturating_sub(sent)) / 8;
        if app_limited {
            return;
        }
        if self.window < self.threshold {
            self.window += bytes as f64;
            return;
        }
        let since = now.saturating_sub(self.reduced_at.unwrap_or_default());
        self.reno += 3.0 * (1.0 - BETA) / (1.0 + BETA) * MTU as f64 * bytes as f64 / self.window;
        let target = self.curve(since + self.rtt) * MTU as f64;
        let grown = self.window + (target - self.window).clamp(0.0, self.window / 2.0) * bytes as f64 / self.window;
        self.window = grown.max(self.reno);
    }

    fn on_loss(&mut self, now: Duration, sent: Duration, _bytes: u64) {
        if self.reduced_at.is_some_and(|reduced| sent <= reduced) {
            return;
        }
        self.reduced_at = Some(now);
        self.peak = if self.window < self.peak { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(2.0 * MTU as f64);
        (self.threshold, self.reno) = (self.window, self.window);
    }

    fn bytes(&self) -> u64 {
        self.window as u64
    }
}

const BETA: f64 = 0.7;

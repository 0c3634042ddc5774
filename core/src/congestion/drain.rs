//! Who fills the queue? For a round trip we send no more than fits without one, and look at what is left of it.
//!
//! Copa takes a queue that is not nearly empty once in five round trips for a neighbour's. With windows of a few packets,
//! after a radio has become slower, and while a receiver keeps acknowledgements back, it would be wrong.

use std::time::Duration;

use super::delay::Delays;

/// A drain that is going on.
#[derive(Debug, Clone)]
pub struct Drain {
    window_before: f64,
    window_empty: f64,
    own_packets: f64,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// What was sent before it began is still on its way.
    Emptying { since: Duration },
    /// What is acknowledged was sent when the queue held nothing of ours.
    Looking { since: Duration, until: Option<Duration>, looks: Looks },
}

#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    least: Duration,
    sum: Duration,
    count: u32,
}

/// What a drain has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The shortest round trip.
    pub least: Duration,
    /// The mean of what stood for the delay.
    pub mean: Duration,
    /// The window when it began.
    pub window_before: f64,
    /// What of it fits without a queue.
    pub window_empty: f64,
    /// Packets of ours that waited in the queue then.
    pub own_packets: f64,
}

impl Drain {
    /// Begins; the caller makes the window small.
    pub fn begin(now: Duration, window_before: f64, window_empty: f64, own_packets: f64) -> Self {
        Self { window_before, window_empty, own_packets, stage: Stage::Emptying { since: now } }
    }

    /// A packet that was sent then is acknowledged; an answer when enough is seen.
    pub fn on_sample(&mut self, now: Duration, sent: Duration, delays: &Delays) -> Option<Seen> {
        match &mut self.stage {
            Stage::Emptying { since } if sent >= *since => {
                self.stage = Stage::Looking { since: now, until: None, looks: Looks::default() };
                None
            }
            Stage::Looking { since, until, looks } if sent >= *since => {
                let until = *until.get_or_insert(now.saturating_add(delays.smoothed()));
                looks.add(delays);
                let Self { window_before, window_empty, own_packets, .. } = *self;
                let (least, mean) = (looks.least, looks.sum / looks.count);
                (now >= until).then_some(Seen { least, mean, window_before, window_empty, own_packets })
            }
            _ => None,
        }
    }
}

impl Looks {
    fn add(&mut self, delays: &Delays) {
        self.least = if self.count == 0 { delays.latest() } else { self.least.min(delays.latest()) };
        self.sum = self.sum.saturating_add(delays.standing());
        self.count += 1;
    }
}

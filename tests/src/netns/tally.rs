//! What has become of the packets of one direction.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::channel::Fate;

/// Packets by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sent into the link.
    pub offered: u64,
    /// Arrived at the other end.
    pub delivered: u64,
    /// Their bytes, IP headers included.
    pub delivered_bytes: u64,
    /// Swallowed by the air.
    pub lost: u64,
    /// Dropped by a full queue.
    pub dropped: u64,
    /// Cut off: the link or UDP was off, the packet was too large, or the address translation knew nobody for it.
    pub cut: u64,
}

/// By how much packets arrived later than they should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// Half of them by less.
    pub p50: Duration,
    /// All but one in a hundred by less.
    pub p99: Duration,
    /// None by more.
    pub max: Duration,
}

/// Counts and lateness.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub counts: Counts,
    late_us: Option<Histogram<u64>>,
}

impl Tally {
    /// Of a packet that was sent into the link; no fate for one that is cut off at once.
    pub fn on_fate(&mut self, fate: Option<Fate>) {
        self.counts.offered += 1;
        match fate {
            Some(Fate::Arrives(_)) => {}
            Some(Fate::Lost) => self.counts.lost += 1,
            Some(Fate::Dropped) => self.counts.dropped += 1,
            None => self.counts.cut += 1,
        }
    }

    /// Of a packet that was under way, and is cut off.
    pub fn on_cut(&mut self) {
        self.counts.cut += 1;
    }

    pub fn on_delivered(&mut self, len: usize, late_by: Duration) {
        self.counts.delivered += 1;
        self.counts.delivered_bytes += len as u64;
        let late_us = u64::try_from(late_by.as_micros()).unwrap_or(u64::MAX);
        self.late_us.get_or_insert_with(histogram).saturating_record(late_us);
    }

    pub fn lateness(&self) -> Lateness {
        let at = |share| Duration::from_micros(self.late_us.as_ref().map_or(0, |late| late.value_at_quantile(share)));
        Lateness { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// Up to a minute, to within one percent.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are in order")
}

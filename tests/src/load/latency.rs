//! Latencies in fixed memory, from any thread.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;

/// A histogram of durations from 1 µs to 2 minutes, three significant digits.
#[derive(Debug)]
pub struct Latencies(Mutex<Histogram<u64>>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are valid");
        Self(Mutex::new(histogram))
    }
}

impl Latencies {
    /// Adds one; what is longer than the range counts as its end.
    pub fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us.max(1));
    }

    /// The latency that this share of all did not exceed, in milliseconds; 0 when there are none.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if histogram.is_empty() { 0.0 } else { histogram.value_at_quantile(share) as f64 / 1000.0 }
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

const MAX_US: u64 = 120_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latencies = Latencies::default();
        assert_eq!(latencies.quantile_ms(0.5), 0.0);
        (1..=100).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let near = |share, ms: f64| (latencies.quantile_ms(share) - ms).abs() <= ms / 500.0;
        assert!(near(0.5, 50.0) && near(0.99, 99.0));
        latencies.record(Duration::from_secs(3600));
        assert!(latencies.quantile_ms(1.0) >= 120_000.0);
        assert_eq!(latencies.count(), 101);
    }
}

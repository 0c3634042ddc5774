//! The links that are measured, and what is asked of them.

use std::time::Duration;

use crate::netns::{
    conditions::{Conditions, Path},
    jitter::Jitter,
    loss::Loss,
    profile::Profile,
};

/// A link, who else is on it, and the bars.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its name in the table.
    pub name: String,
    /// What it is like.
    pub conditions: Conditions,
    /// Somebody else uploads over the same link: one TCP connection with CUBIC.
    pub has_neighbour: bool,
    /// What is asked of QUIC with our congestion control.
    pub bars: Bars,
}

/// The most that an echo may take, and the least of the link that must be used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars {
    /// Half of them.
    pub p50: Option<Duration>,
    /// All but one in twenty.
    pub p95: Option<Duration>,
    /// All but one in a hundred.
    pub p99: Option<Duration>,
    /// A share of one.
    pub used: Option<f64>,
}

impl Cell {
    /// Every one, in the table's order.
    pub fn all() -> Vec<Self> {
        let mut all: Vec<_> = [0.0, 0.01, 0.03, 0.05].map(Self::lossy).into();
        all.extend([Self::slow(), Self::moving(), Self::shared()]);
        all
    }

    /// Bits per second from the device.
    pub fn rate(&self) -> f64 {
        self.conditions.up.rate.map_or(f64::INFINITY, |rate| rate as f64)
    }

    fn lossy(share: f64) -> Self {
        let ms = |ms| Some(Duration::from_millis(ms));
        Self {
            name: format!("10 Mbit/s, 60 ms, {:.0} %", share * 100.0),
            conditions: Conditions::symmetric(path(10_000_000, 60, share)),
            has_neighbour: false,
            bars: Bars { p50: ms(75), p99: ms(170), used: Some(0.85), p95: None },
        }
    }

    fn slow() -> Self {
        let (up, down) = (path(300_000, 80, 0.01), path(1_000_000, 80, 0.01));
        Self {
            name: "0.3 Mbit/s, 80 ms, 1 %".to_owned(),
            conditions: Conditions { up, down, ..Conditions::PERFECT },
            has_neighbour: false,
            bars: Bars { p95: Some(Duration::from_millis(80 + 250)), ..Bars::default() },
        }
    }

    /// Without the gaps: they would hide what congestion control does.
    fn moving() -> Self {
        Self {
            name: "profile M".to_owned(),
            conditions: Profile::MOVING.conditions(),
            has_neighbour: false,
            bars: Bars::default(),
        }
    }

    fn shared() -> Self {
        Self {
            name: "10 Mbit/s, 60 ms, TCP CUBIC beside it".to_owned(),
            has_neighbour: true,
            bars: Bars { used: Some(0.15), ..Bars::default() },
            ..Self::lossy(0.0)
        }
    }
}

fn path(rate: u64, round_trip_ms: u64, share: f64) -> Path {
    Path {
        delay: Duration::from_millis(round_trip_ms) / 2,
        jitter: Jitter::None,
        loss: if share > 0.0 { Loss::Random(share) } else { Loss::None },
        rate: Some(rate),
        queue: QUEUE,
    }
}

/// Bytes: a tenth of a second at 10 Mbit/s, three seconds at 0.3.
const QUEUE: usize = 128 * 1024;

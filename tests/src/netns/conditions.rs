//! What a link is like at the moment.

use std::time::Duration;

use super::{jitter::Jitter, loss::Loss};

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device to the gateway.
    Up,
    /// From the gateway to the device.
    Down,
}

/// A link as both ends feel it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// From the device to the gateway.
    pub up: Path,
    /// From the gateway to the device.
    pub down: Path,
    /// Whether anything passes. What is under way when it ceases to is lost.
    pub is_up: bool,
    /// Whether UDP passes.
    pub passes_udp: bool,
    /// The largest packet that passes, IP header included. A larger one is lost, and nobody is told.
    pub mtu: u16,
}

/// One direction of a link. A packet first waits for those before it at the link's rate, then may be lost, then travels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// How long the last bit travels.
    pub delay: Duration,
    /// What varies on top of it.
    pub jitter: Jitter,
    /// What is lost on the way. It has used the link all the same.
    pub loss: Loss,
    /// Bits per second, IP headers included; `None` for no limit.
    pub rate: Option<u64>,
    /// How many bytes may wait, the packet that is being sent included. What does not fit is dropped.
    pub queue: usize,
}

impl Direction {
    /// Both, up first.
    pub const BOTH: [Direction; 2] = [Direction::Up, Direction::Down];

    /// The place of its own in a pair.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down => 1,
        }
    }
}

impl Conditions {
    /// A cable: everything arrives at once.
    pub const PERFECT: Conditions =
        Conditions { up: Path::PERFECT, down: Path::PERFECT, is_up: true, passes_udp: true, mtu: 1_500 };

    /// The same path both ways.
    pub const fn symmetric(path: Path) -> Self {
        Self { up: path, down: path, ..Self::PERFECT }
    }

    /// One of the two directions.
    pub fn path(&self, direction: Direction) -> &Path {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl Path {
    /// Everything arrives at once.
    pub const PERFECT: Path =
        Path { delay: Duration::ZERO, jitter: Jitter::None, loss: Loss::None, rate: None, queue: usize::MAX };

    /// How long a packet of that length occupies the link.
    pub(super) fn occupies(&self, len: usize) -> Duration {
        let bits = len as u64 * 8;
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_nanos(bits * 1_000_000_000 / rate.max(1)))
    }

    /// How many bytes are sent within that time.
    pub(super) fn sends_within(&self, span: Duration) -> usize {
        self.rate.map_or(0, |rate| (span.as_secs_f64() * rate as f64 / 8.0) as usize)
    }
}

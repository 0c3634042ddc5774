//! Packets that are under way, ordered by the moment they arrive.

use std::{cmp::Ordering, collections::BinaryHeap, time::Instant};

use super::{conditions::Direction, packet::Packet};

/// A packet that is under way.
#[derive(Debug)]
pub struct Flight {
    /// When it arrives.
    pub due: Instant,
    /// Where it goes.
    pub direction: Direction,
    /// What it is.
    pub packet: Packet,
    number: u64,
}

/// All packets that are under way.
#[derive(Debug, Default)]
pub struct Flights {
    heap: BinaryHeap<Flight>,
    taken_off: u64,
}

impl Flights {
    /// Sends a packet on its way. Of two that are due at once the first to leave arrives first.
    pub fn take_off(&mut self, due: Instant, direction: Direction, packet: Packet) {
        self.taken_off += 1;
        self.heap.push(Flight { due, direction, packet, number: self.taken_off });
    }

    /// When the next packet arrives.
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|flight| flight.due)
    }

    /// The next packet that is due.
    pub fn land(&mut self, now: Instant) -> Option<Flight> {
        if self.next_due()? <= now { self.heap.pop() } else { None }
    }
}

impl Ord for Flight {
    /// The greatest is the first to arrive: the heap gives its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flight {}

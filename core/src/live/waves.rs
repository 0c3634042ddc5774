//! Pieces of waves in their order, however they came.

use std::collections::BTreeMap;

use super::{Counts, Waves};
use crate::limits;

/// A piece, and how old its first sample was at some moment.
pub(super) struct Came {
    pub(super) waves: Waves,
    pub(super) at_ms: u64,
    pub(super) age_ms: u64,
}

/// Puts them in order.
#[derive(Default)]
pub(super) struct InOrder {
    /// The one that is to come; `None` before the first.
    next: Option<u32>,
    /// Which of those before it have come; the lowest bit is the last one.
    came: u64,
    /// Beyond it.
    early: BTreeMap<u32, Came>,
}

impl InOrder {
    /// Takes one; gives those whose turn it is.
    pub(super) fn take(&mut self, piece: Came, counts: &mut Counts) -> Vec<Came> {
        let sequence = piece.waves.sequence;
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            self.take_late(next - sequence, counts);
            return Vec::new();
        }
        if self.early.contains_key(&sequence) {
            counts.repeated += 1;
            return Vec::new();
        }
        counts.received += 1;
        self.early.insert(sequence, piece);
        match self.early.len() > limits::LIVE_EARLY_MAX {
            true => self.go_on(counts),
            false => self.in_turn(),
        }
    }

    /// Gives up what was waited for too long.
    pub(super) fn poll(&mut self, now_ms: u64, counts: &mut Counts) -> Vec<Came> {
        match self.give_up_at() {
            Some(at) if at <= now_ms => self.go_on(counts),
            _ => Vec::new(),
        }
    }

    /// When that will be.
    pub(super) fn give_up_at(&self) -> Option<u64> {
        self.early.values().map(|came| came.at_ms.saturating_add(limits::LIVE_GAP_WAIT_MS)).min()
    }

    fn take_late(&mut self, ago: u32, counts: &mut Counts) {
        let bit = if ago <= u64::BITS { 1 << (ago - 1) } else { 0 };
        match self.came & bit {
            0 => counts.late += 1,
            _ => counts.repeated += 1,
        }
        self.came |= bit;
    }

    /// What is missing is missing.
    fn go_on(&mut self, counts: &mut Counts) -> Vec<Came> {
        let (Some(next), Some(first)) = (self.next, self.early.keys().next().copied()) else { return Vec::new() };
        let missing = first - next;
        counts.lost += u64::from(missing);
        self.came = self.came.checked_shl(missing).unwrap_or(0);
        self.next = Some(first);
        self.in_turn()
    }

    fn in_turn(&mut self) -> Vec<Came> {
        let mut given = Vec::new();
        while let Some(next) = self.next
            && let Some(piece) = self.early.remove(&next)
        {
            given.push(piece);
            self.came = self.came << 1 | 1;
            self.next = Some(next.saturating_add(1));
        }
        given
    }
}

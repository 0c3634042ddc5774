//! A session among those that send and watch.

use std::sync::Arc;

use bytes::Bytes;
use feldakte_core::{
    ids::SessionId,
    limits,
    rate::{Rate, Taken},
};
use tokio::time::Instant;

use super::{Came, Fate, Live, Outbox};

/// A session; it leaves when this is dropped.
#[derive(Debug)]
pub struct Member {
    live: Arc<Live>,
    session: SessionId,
    outbox: Arc<Outbox>,
    since: Instant,
    taken: Taken,
    excess: Taken,
    /// The probes that come at the moment, and when the first of them did.
    train: Option<(u32, Instant)>,
}

/// More comes than any monitor measures: somebody floods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a flood of datagrams")]
pub struct Flood;

impl Member {
    pub(super) fn new(live: Arc<Live>, session: SessionId, outbox: Arc<Outbox>) -> Self {
        let since = Instant::now();
        Self { live, session, outbox, since, taken: Taken::default(), excess: Taken::default(), train: None }
    }

    /// What waits for it.
    pub fn outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// Takes what came from its device. What is beyond its share is dropped.
    ///
    /// # Errors
    /// [`Flood`] when that is far beyond it.
    pub fn take(&mut self, datagram: Bytes) -> Result<(), Flood> {
        let at = Instant::now();
        let fate = match self.has_room(datagram.len(), at) {
            true => self.live.take(self.session, &self.outbox, datagram, Came { at, train: &mut self.train }),
            false => Fate::Excess,
        };
        self.live.note(fate);
        match fate {
            Fate::Excess if !self.excess.wait(EXCESS, at - self.since).is_zero() => Err(Flood),
            _ => Ok(()),
        }
    }

    fn has_room(&mut self, len: usize, at: Instant) -> bool {
        let (cost, now) = ((len + PACKET_COST) as u64, at - self.since);
        let has_room = self.taken.try_take(limits::LIVE_RATE, cost, now);
        if !has_room {
            self.excess.take(EXCESS, cost, now);
        }
        has_room
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.live.leave(self.session);
    }
}

/// What an empty datagram costs us all the same.
const PACKET_COST: usize = 100;
/// Dropped on top of its share before a device is cut off: four times as much at once, and nothing for long.
const EXCESS: Rate = Rate { amount: 4 * limits::LIVE_RATE.amount, every: limits::LIVE_RATE.every.saturating_mul(4) };

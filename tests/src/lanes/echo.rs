//! The small messages: sent by the clock, whether the one before has come back or not.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Messages that are out, and how long those took that are back.
#[derive(Debug, Default)]
pub struct Echoes {
    out: BTreeMap<u64, Instant>,
    took: Vec<Duration>,
}

/// A message: its number, and padding.
pub type Message = [u8; 200];

impl Echoes {
    /// The next message, which goes out at that moment.
    pub fn next(&mut self, now: Instant) -> Message {
        let number = (self.out.len() + self.took.len()) as u64;
        self.out.insert(number, now);
        let mut message = [0; size_of::<Message>()];
        message[..8].copy_from_slice(&number.to_be_bytes());
        message
    }

    /// A message is back.
    pub fn on_back(&mut self, message: &Message, now: Instant) {
        let [a, b, c, d, e, f, g, h, ..] = *message;
        if let Some(sent) = self.out.remove(&u64::from_be_bytes([a, b, c, d, e, f, g, h])) {
            self.took.push(now - sent);
        }
    }

    /// How long each took, shortest first; one that is not back counts as long as it has been out.
    pub fn into_latencies(self, now: Instant) -> Vec<Duration> {
        let mut took = self.took;
        took.extend(self.out.values().map(|sent| now - *sent));
        took.sort_unstable();
        took
    }
}

/// Between two messages.
pub const EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_never_comes_back_counts_as_long_as_one_waits() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut echoes = Echoes::default();
        let (first, second) = (echoes.next(at(0)), echoes.next(at(100)));
        echoes.on_back(&second, at(160));
        echoes.on_back(&second, at(170));
        assert_ne!(first, second);
        assert_eq!(echoes.into_latencies(at(1_000)), [at(60) - start, at(1_000) - start]);
    }
}

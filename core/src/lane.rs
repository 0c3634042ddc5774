//! What goes before what between a device and the gateway.

use std::time::Duration;

/// A lane: streams of a lower number go first, whatever waits on the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Calls and orders.
    Urgent,
    /// The session: requests, changes of cases in use, and the log in its order.
    Session,
    /// Changes of other cases: what was written offline and nobody looks at now.
    Background,
    /// Documents as snapshots.
    Snapshots,
    /// Attachments.
    Blobs,
}

impl Lane {
    /// All of them, most urgent first.
    pub const ALL: [Lane; 5] = [Lane::Urgent, Lane::Session, Lane::Background, Lane::Snapshots, Lane::Blobs];

    /// As the wire names it.
    pub fn number(self) -> u32 {
        match self {
            Lane::Urgent => 0,
            Lane::Session => 1,
            Lane::Background => 2,
            Lane::Snapshots => 3,
            Lane::Blobs => 4,
        }
    }

    /// The lane of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.number() == number)
    }

    /// As transports count: more goes first, and a stream of which nothing is said is the session's.
    pub fn priority(self) -> i32 {
        match self {
            Lane::Urgent => 10,
            Lane::Session => 0,
            Lane::Background => -10,
            Lane::Snapshots => -20,
            Lane::Blobs => -30,
        }
    }
}

/// How long after a message that is alone on the urgent lane its tail follows: far enough not to share its packet.
///
/// A lost packet is noticed when a later one is confirmed, about a round trip after it was sent (RFC 9002, 6.1; RFC 8985). Of a
/// lone one nothing is heard before a timer of several round trips, of 0.2 s and more over TCP.
pub const TAIL_AFTER: Duration = Duration::from_millis(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_named_in_the_order_in_which_they_go() {
        for (number, lane) in (0..).zip(Lane::ALL) {
            assert_eq!((lane.number(), Lane::from_number(number)), (number, Some(lane)));
        }
        assert_eq!(Lane::from_number(5), None);
        assert!(Lane::ALL.is_sorted_by_key(|lane| -lane.priority()));
    }
}
